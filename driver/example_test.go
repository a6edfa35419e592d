package driver_test

import (
	"context"
	"database/sql"
	"log"
	"log/slog"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"

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
