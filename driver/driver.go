// Package driver registers "aadpostgres" with database/sql: pgx, with every new
// physical connection signed in to Azure Database for PostgreSQL with a Microsoft
// Entra token.
//
//	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
//
// Or with what only Go can say, such as a credential of one's own:
//
//	c, err := driver.NewConnector("host=app.postgres.database.azure.com user=app dbname=app", driver.WithCredential(cred))
//	if err != nil {
//		return err
//	}
//	db := sql.OpenDB(c)
//
// Or the same for a tool that knows nothing but the driver's name:
//
//	driver.Register("aadpostgres-mine", driver.WithCredential(cred))
//
// Or for pgx without database/sql, with the same token source:
//
//	config := c.Config()
//	if err := c.BeforeConnect(ctx, config); err != nil {
//		return err
//	}
//	conn, err := pgx.ConnectConfig(ctx, config)
//
// Or for pgxpool:
//
//	config, err := pgxpool.ParseConfig("")
//	if err != nil {
//		return err
//	}
//	config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
//	pool, err := pgxpool.NewWithConfig(ctx, config)
//
// The connections are pgx's own [*stdlib.Conn]: a query costs what it costs
// with pgx, and db.Conn().Raw yields what pgx yields. The keys of a DSN are
// those of package dsn.
//
// A token travels over verified TLS only, whatever sslmode says; see
// [NewConnector].
//
// What fails is an [*Error], one line that ends in what to do. [Diagnose] walks a
// sign-in step by step, as the command aadpostgres doctor does.
package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"time"
)

// Name is what the driver is registered as.
const Name = "aadpostgres"

func init() {
	// Two major versions of this module may meet in one program, and a second
	// sql.Register would panic.
	if !slices.Contains(sql.Drivers(), Name) {
		Register(Name)
	}
}

// Register makes a driver with options available to sql.Open by name, for tools
// that know nothing but names: "aadpostgres" itself has none. Like sql.Register
// it panics if the name is taken; call it once, in init or main.
func Register(name string, opts ...Option) { sql.Register(name, &Driver{opts}) }

// Driver implements driver.Driver and driver.DriverContext of database/sql: a DSN is
// parsed once for each sql.Open, not for each connection. The zero Driver has no
// options; [Register] makes one with options. It is safe for concurrent use.
type Driver struct{ opts []Option }

var _ driver.DriverContext = (*Driver)(nil)

// Open connects once. database/sql calls OpenConnector instead; wrappers that
// know no connectors call this. It gives up after a minute, as pgx does.
func (d *Driver) Open(dsn string) (driver.Conn, error) {
	c, err := d.connector(dsn)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Connect(ctx)
}

// OpenConnector is [NewConnector] with the driver's options. It returns a [*Connector].
func (d *Driver) OpenConnector(dsn string) (driver.Connector, error) {
	c, err := d.connector(dsn)
	if err != nil {
		return nil, err // not a typed nil
	}
	return c, nil
}
