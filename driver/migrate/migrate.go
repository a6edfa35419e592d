// Package migrate makes golang-migrate know URLs that begin with aadpostgres://, by
// a blank import:
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
// The URL is one of the driver aadpostgres, see package dsn. In its query there may
// also stand the options of golang-migrate's own driver for pgx/v5, which does the
// work:
//
//	x-migrations-table          its name; schema_migrations when left out
//	x-migrations-table-quoted   true: the name comes in quotes, as in %22ops%22.%22versions%22
//	x-statement-timeout         milliseconds that a statement may take
//	x-multi-statement           true: statements run one by one, not in one transaction
//	x-multi-statement-max-size  bytes that one of them may have; 10 MiB when left out
//
// Any other option that begins with x- is an error. A misspelled x-migrations-table,
// passed over, would make golang-migrate run every migration again.
//
// While another process migrates the database, golang-migrate waits in Open, without
// an end and whatever its LockTimeout. lock_timeout=15s in the URL, PostgreSQL's own
// setting, ends that wait, and any other that a migration has for a lock.
//
// If you already have a *sql.DB, you need none of this: hand it to golang-migrate's
// pgx.WithInstance. But choose one of the two ways for a database: golang-migrate
// names its lock after the URL's path, so they do not wait for each other.
//
// The command in cmd/aadpostgres-migrate has golang-migrate's up, down, goto, force and version,
// for a folder of migrations.
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
	// As in package driver: a second registration would panic.
	if !slices.Contains(database.List(), driver.Name) {
		Register(driver.Name)
	}
}

// Register makes golang-migrate know another scheme, whose connections have options:
// "aadpostgres" itself has none. It panics if the scheme is taken; call it once, in
// init or main.
func Register(scheme string, opts ...driver.Option) {
	database.Register(scheme, opener{opts: opts})
}

// An opener is what golang-migrate finds by the scheme. It is only ever opened.
type opener struct {
	database.Driver // nil
	opts            []driver.Option
}

// Open connects. Errors before that are of type [*driver.Error].
func (o opener) Open(url string) (database.Driver, error) {
	dsn, config, err := split(url)
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

// A connector ends its sessions when the pool is closed. Where WithInstance fails
// it has taken one out of the pool, and does not give it back.
type connector struct {
	*driver.Connector
	mu    sync.Mutex
	conns []sqldriver.Conn // as many as were made; closing one twice does nothing
}

func (c *connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

func (c *connector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	return c.Connector.Close()
}
