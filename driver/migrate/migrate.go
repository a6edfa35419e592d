// Package migrate registers the URL scheme aadpostgres with golang-migrate. A blank
// import is enough:
//
//	import (
//		"github.com/golang-migrate/migrate/v4"
//		_ "github.com/golang-migrate/migrate/v4/source/file"
//
//		_ "github.com/aadpostgres/aadpostgres/driver/migrate"
//	)
//
//	m, err := migrate.New("file://migrations", "aadpostgres://app.postgres.database.azure.com/app?aad_auth=managed-identity")
//	if err != nil {
//		return err
//	}
//	err = m.Up()
//
// The URL is a connection string of the driver; package dsn describes its parameters.
// It may also have the options of golang-migrate's pgx/v5 driver, which runs the
// migrations:
//
//	x-migrations-table          name of the version table; default schema_migrations
//	x-migrations-table-quoted   true if that name is quoted, as in %22ops%22.%22versions%22
//	x-statement-timeout         milliseconds after which a statement is canceled; default none
//	x-multi-statement           true to run statements one by one, without a transaction
//	x-multi-statement-max-size  maximum bytes of one such statement; default 10485760 (10 MiB)
//
// Any other option that begins with x- is ignored, as golang-migrate's own drivers ignore
// it. Check the spelling of x-migrations-table: with the default table golang-migrate
// starts from the first migration.
//
// While another process migrates the database, Open waits for golang-migrate's lock.
// The LockTimeout of golang-migrate does not bound that wait. lock_timeout=15s in the
// URL, a setting of PostgreSQL, bounds it, and every other wait for a lock.
//
// A program that has a *sql.DB does not need this package: pgx.WithInstance of
// golang-migrate accepts one. Use only one of the two ways for a database, because the
// name of the lock differs between them and so they would not exclude each other.
//
// The command in cmd/aadpostgres-migrate runs the migrations in a folder.
package migrate

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"slices"
	"sync"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/database/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

func init() {
	// A second registration would panic.
	if !slices.Contains(database.List(), driver.Name) {
		Register(driver.Name)
	}
}

// Register registers scheme with golang-migrate. Its connections use opts; those of
// scheme "aadpostgres", which this package registers itself, use no options. Register
// panics if the scheme is already registered. It is safe for concurrent use.
func Register(scheme string, opts ...driver.Option) {
	database.Register(scheme, opener{opts: opts})
}

// An opener is what golang-migrate finds by a URL's scheme. Only its Open is called.
type opener struct {
	database.Driver // nil
	opts            []driver.Option
}

// Open connects to the database of url. An error in the URL or in the options is a
// [*driver.Error].
func (o opener) Open(url string) (database.Driver, error) {
	dsn, config, err := splitURL(url)
	if err != nil {
		return nil, &driver.Error{Step: driver.StepDSN, Err: err}
	}
	c, err := driver.NewConnector(dsn, o.opts...)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(&connector{Connector: c})
	d, err := pgx.WithInstance(db, config)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// A connector closes all its connections when the pool is closed. pgx.WithInstance takes
// a connection out of the pool and, if it then fails, does not return it.
type connector struct {
	*driver.Connector
	mu    sync.Mutex       // guards conns; not held during Connect
	conns []sqldriver.Conn // all that were made; closing one twice is harmless
}

func (c *connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *connector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	return c.Connector.Close()
}
