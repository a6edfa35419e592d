package dsn_test

import (
	"fmt"
	"os"
	"slices"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// Changes the database. The secret is masked in print: pass c.DSN() to sql.Open.
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

// Reads the host and the client ID from the environment, because the DSN does not set
// them.
func ExampleParseEnv() {
	env := map[string]string{"PGHOST": "app.postgres.database.azure.com", "AZURE_CLIENT_ID": "billing"}
	c, err := dsn.ParseEnv("dbname=app aad_auth=client-secret aad_tenant_id=contoso.com aad_client_secret=hush",
		dsn.Env{Getenv: func(name string) string { return env[name] }, ReadFile: os.ReadFile}) // or dsn.OS
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c)
	// Output: aad_auth=client-secret aad_client_id=billing aad_client_secret=xxxxx aad_tenant_id=contoso.com dbname=app host=app.postgres.database.azure.com
}

// Finds the authority and the scope of tokens for a server.
func ExampleCloudOf() {
	name := dsn.CloudOf("app.privatelink.postgres.database.usgovcloudapi.net")
	for _, c := range dsn.Clouds() {
		if c.Name == name {
			fmt.Println(c.Name, c.Authority, c.Scope())
		}
	}
	// Output: usgov https://login.microsoftonline.us/ https://ossrdbms-aad.database.usgovcloudapi.net/.default
}

// Checks that the authority of a configuration belongs to the server's cloud, before
// a secret is sent there.
func ExampleCloudOfAuthority() {
	server := dsn.CloudOf("app.postgres.database.usgovcloudapi.net")
	authority := dsn.CloudOfAuthority("https://login.microsoftonline.com/contoso.com")
	fmt.Println(server, authority, server == authority)
	// Output: usgov public false
}

// Finds the cloud that a token was issued for, by the token's audience.
func ExampleCloudOfResource() {
	fmt.Println(dsn.CloudOfResource("https://ossrdbms-aad.database.windows.net"))
	fmt.Println(dsn.CloudOfResource("https://ossrdbms-aad.database.chinacloudapi.cn/.default"))
	// Output:
	// public
	// china
}

// Lists the modes that require a client secret.
func ExampleModes() {
	for _, m := range dsn.Modes() {
		if slices.Contains(m.Required, "aad_client_secret") {
			fmt.Println(m.Name, "requires", m.Required)
		}
	}
	// Output: client-secret requires [aad_tenant_id aad_client_id aad_client_secret]
}

// Prints the documentation of a key.
func ExampleKeys() {
	for _, k := range dsn.Keys() {
		if k.Name == "aad_token_max_age" {
			fmt.Printf("%s: %s [%s]\n", k.Name, k.Doc, k.Default)
		}
	}
	// Output: aad_token_max_age: maximum age of a presented token, as in 5m [0 (until it expires); 5m for single]
}
