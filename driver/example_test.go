package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver"
)

// By name, as existing code and most tools open a database.
func Example() {
	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	log.Println(db.Ping())
}

// With what only Go can say: a credential of one's own, and a logger.
func ExampleNewConnector() {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := driver.NewConnector("host=app.postgres.database.azure.com user=app dbname=app",
		driver.WithCredential(cred), driver.WithLogger(slog.Default()))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	log.Println(db.Ping())
}

// pgx without database/sql. A pool wants the same two:
// pool.ConnConfig, pool.BeforeConnect = c.Config(), c.BeforeConnect.
func ExampleConnector_BeforeConnect() {
	ctx := context.Background()
	c, err := driver.NewConnector("aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli")
	if err != nil {
		log.Fatal(err)
	}
	config := c.Config()
	if err := c.BeforeConnect(ctx, config); err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
}

// A name of one's own, for tools that open by name.
func ExampleRegister() {
	driver.Register("aadpostgres-logged", driver.WithLogger(slog.Default()))
	db, err := sql.Open("aadpostgres-logged", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	fmt.Println(slices.Contains(sql.Drivers(), driver.Name), slices.Contains(sql.Drivers(), "aadpostgres-logged"))
	// Output: true true
}

// Each step, and what to do about the one that fails: it is the last.
func ExampleDiagnose() {
	for check := range driver.Diagnose(context.Background(), "host=app.postgres.database.azure.com sslmode=disable aad_auth=azure-cli") {
		fmt.Println(check.Status, check.Name+":", check.Found)
		if check.Status == driver.StatusFail {
			fmt.Println(check.Hint)
		}
	}
	// Output:
	// fail options: without TLS to host "app.postgres.database.azure.com" the token would be sent in the clear
	// remove sslmode=disable (or PGSSLMODE), or set aad_insecure=plaintext if you control the network
}

// The SQL that makes a role, for an Entra administrator of the server to run.
func ExampleRole() {
	statements, err := driver.Role{Name: "me@contoso.com", Kind: "user"}.SQL()
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range statements {
		fmt.Println(s)
	}
	// Output: SELECT * FROM pg_catalog.pgaadauth_create_principal('me@contoso.com', false, false);
}

// An error says what to do. A program that wants to do it asks for the step, or for
// what is behind it.
func ExampleError() {
	_, err := driver.NewConnector("host=app.postgres.database.azure.com aad_atuh=azure-cli")
	fmt.Println(err)
	var failed *driver.Error
	if errors.As(err, &failed) && failed.Step == driver.StepDSN {
		fmt.Println("not worth another try")
	}
	var pg *pgconn.PgError
	fmt.Println(errors.As(err, &pg))
	// Output:
	// aadpostgres: dsn: key "aad_atuh" is not known; did you mean aad_auth?
	// not worth another try
	// false
}

// Counters, as the page /debug/vars shows them. Nothing is asked for before somebody
// connects.
func ExampleConnector_Stats() {
	c, err := driver.NewConnector("host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	expvar.Publish("aadpostgres", expvar.Func(func() any { return c.Stats() }))
	fmt.Println(expvar.Get("aadpostgres"))
	// Output: {"SignIns":0,"Rejected":0,"Retried":0,"TokenRequests":0,"TokenFailures":0,"TokenWaits":0,"TokenRenewals":0,"TokenExpires":"0001-01-01T00:00:00Z"}
}
