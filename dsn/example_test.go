package dsn_test

import (
	"fmt"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// The same sign-in to another database of the server. What is printed may be
// logged; what DSN writes is for sql.Open.
func ExampleParse() {
	c, err := dsn.Parse("postgres://app.postgres.database.azure.com/app?aad_auth=client-secret&aad_tenant_id=contoso.com&aad_client_id=billing&aad_client_secret=hush")
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Params["dbname"] = "reports"
	fmt.Println(c)
	// Output:
	// aad_auth=client-secret aad_client_id=billing aad_client_secret=xxxxx aad_tenant_id=contoso.com dbname=reports host=app.postgres.database.azure.com
}
