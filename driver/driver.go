// Package driver registers the driver "aadpostgres" with database/sql. It opens
// connections with pgx, and signs each of them in to Azure Database for PostgreSQL with a
// Microsoft Entra token. Import it and call sql.Open:
//
//	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
//
// Or call [NewConnector] with an option for what a DSN cannot express, such as a custom credential:
//
//	c, err := driver.NewConnector("host=app.postgres.database.azure.com user=app dbname=app", driver.WithCredential(cred))
//	if err != nil {
//		return err
//	}
//	db := sql.OpenDB(c)
//
// Or call [Register] with options for a tool that opens a database by the driver's name alone:
//
//	driver.Register("aadpostgres-custom", driver.WithCredential(cred))
//
// Or use pgx itself, without database/sql, with the same token cache:
//
//	config := c.Config()
//	if err := c.BeforeConnect(ctx, config); err != nil {
//		return err
//	}
//	conn, err := pgx.ConnectConfig(ctx, config)
//
// Or use pgxpool:
//
//	config, err := pgxpool.ParseConfig("")
//	if err != nil {
//		return err
//	}
//	config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
//	pool, err := pgxpool.NewWithConfig(ctx, config)
//
// The connections are pgx's own [*stdlib.Conn], so a query costs the same as with pgx, and
// db.Conn().Raw passes the same value. Package dsn documents the keys of a DSN.
//
// A token is sent over verified TLS only, whatever sslmode says. See [NewConnector].
//
// Errors of opening and connecting are of type [*Error]: one line that ends in what to do. [Diagnose] checks a
// sign-in step by step, as the command aadpostgres doctor does.
package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"time"
)

// Name is the name under which the driver is registered with database/sql.
const Name = "aadpostgres"

func init() {
	// A program may contain two major versions of this module, and a second sql.Register
	// would panic.
	if !slices.Contains(sql.Drivers(), Name) {
		Register(Name)
	}
}

// Register registers a driver with options under a name for sql.Open, for tools that take
// the name of a driver only. The driver "aadpostgres" itself has no options. Like
// sql.Register it panics if the name is taken: call it once, in init or main.
func Register(name string, opts ...Option) { sql.Register(name, &Driver{opts}) }

// Driver implements driver.Driver and driver.DriverContext of database/sql, so that a DSN
// is parsed once for each sql.Open and not for each connection. The zero Driver has no
// options, and [Register] makes one that has. It is safe for concurrent use.
type Driver struct{ opts []Option }

var _ driver.DriverContext = (*Driver)(nil)

// Open opens one connection. database/sql calls OpenConnector instead. Wrappers that do
// not implement driver.DriverContext call Open. It gives up after a minute, as pgx does.
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
