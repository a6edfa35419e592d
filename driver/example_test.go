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
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
)

// Existing code and most tools open a database by the driver's name.
func Example() {
	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	log.Println(db.Ping())
}

// NewConnector takes options for settings that a DSN cannot express, such as a credential of
// the program's own and a logger.
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

// BeforeConnect serves pgx without database/sql. For a pgxpool.Config, set its ConnConfig to
// c.Config() and its BeforeConnect to c.BeforeConnect.
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

// A Connector serves pgx's own stdlib.OpenDB too, with its options. If the program has a
// BeforeConnect, it must call the Connector's: otherwise connects fail, because there is no
// token to send.
func ExampleConnector_BeforeConnect_stdlib() {
	c, err := driver.NewConnector("host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	db := stdlib.OpenDB(*c.Config(),
		stdlib.OptionBeforeConnect(func(ctx context.Context, config *pgx.ConnConfig) error {
			slog.Info("connecting", "host", config.Host)
			return c.BeforeConnect(ctx, config)
		}),
		stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET statement_timeout = '5s'")
			return err
		}))
	defer db.Close()
	log.Println(db.Ping())
}

// Register gives a name to a driver with options, for tools that open a database by name.
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

// Diagnose yields each step of a sign-in. If a step fails, it is the last, and its Hint says
// what to do.
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

// Role.SQL returns the statements that make a role. An Entra administrator of the server runs
// them.
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

// An Error says what to do. A program finds the failed step in its Step, and the cause with
// errors.As and errors.Is.
func ExampleError() {
	_, err := driver.NewConnector("host=app.postgres.database.azure.com aad_atuh=azure-cli")
	fmt.Println(err)
	var failed *driver.Error
	if errors.As(err, &failed) && failed.Step == driver.StepDSN {
		fmt.Println("fix the DSN; a retry will fail too")
	}
	var pg *pgconn.PgError
	fmt.Println(errors.As(err, &pg))
	// Output:
	// aadpostgres: dsn: key "aad_atuh" is not known; did you mean aad_auth?
	// fix the DSN; a retry will fail too
	// false
}

// Stats can be published as an expvar, which the page /debug/vars shows. No token is
// requested before the first connect.
func ExampleConnector_Stats() {
	c, err := driver.NewConnector("host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	expvar.Publish("aadpostgres", expvar.Func(func() any { return c.Stats() }))
	fmt.Println(expvar.Get("aadpostgres"))
	// Output: {"SignIns":0,"Rejected":0,"Retried":0,"TokenRequests":0,"TokenFailures":0,"TokenWaits":0,"TokenRefreshes":0,"TokenExpires":"0001-01-01T00:00:00Z"}
}
