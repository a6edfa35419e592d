// Package through opens databases for the test suites of other projects, which command
// suites patches to call it. Depending on the environment it opens them with pgx, as the
// suite itself does, or with this project's driver.
package through

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
)

// The variables that command suites sets.
const (
	DSN      = "SUITES_DSN"      // URL of the suite's database. It has a mode, as aad_auth, if this project's driver opens it.
	AdminDSN = "SUITES_POSTGRES" // URL of a superuser, past the gateway
)

// life is so short that a suite signs in many times, each time with another token.
const life = time.Second

// isOurs reports whether this project's driver opens dsn.
func isOurs(dsn string) bool { return strings.Contains(dsn, "aad_auth=") }

// Name is the name of the driver that opens the suite's database.
var Name = sync.OnceValue(func() string {
	if isOurs(os.Getenv(DSN)) {
		return driver.Name
	}
	return "pgx"
})

// Open is sql.Open.
func Open(name, dsn string) (*sql.DB, error) {
	if name != "pgx" && name != "pgx/v5" && name != driver.Name {
		return sql.Open(name, dsn)
	}
	dsn, err := containerDSN(dsn)
	if err != nil {
		return nil, err
	}
	if !isOurs(dsn) {
		return sql.Open("pgx/v5", dsn) // an older pgx may have registered "pgx"
	}
	return openOurs(sql.Open(driver.Name, dsn))
}

func openOurs(db *sql.DB, err error) (*sql.DB, error) {
	if err == nil {
		db.SetConnMaxLifetime(life)
	}
	return db, err
}

// Database opens the suite's database in place of the one that it names. It panics if the
// DSN is invalid.
func Database(string) *sql.DB {
	db, err := Open("pgx", os.Getenv(DSN))
	if err != nil {
		panic(err)
	}
	return db
}

// Conn opens dsn with this project's driver, or returns nil so that the suite opens it. It
// panics if dsn is invalid.
func Conn[Pool any](dsn string) (pool Pool) {
	if !isOurs(dsn) {
		return pool
	}
	db, err := Open(driver.Name, dsn)
	if err != nil {
		panic(err)
	}
	return any(db).(Pool)
}

// connectors are those of the DSNs that ParseConfig has read.
var connectors = struct {
	sync.Mutex
	byDSN map[string]*driver.Connector
}{byDSN: map[string]*driver.Connector{}}

func connector(dsn string) (*driver.Connector, error) {
	connectors.Lock()
	defer connectors.Unlock()
	if c := connectors.byDSN[dsn]; c != nil {
		return c, nil
	}
	c, err := driver.NewConnector(dsn)
	if err == nil {
		connectors.byDSN[dsn] = c
	}
	return c, err
}

// ParseConfig is pgx.ParseConfig.
func ParseConfig(dsn string) (*pgx.ConnConfig, error) {
	if !isOurs(dsn) {
		return pgx.ParseConfig(dsn)
	}
	c, err := connector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Config(), nil
}

// OpenDB is stdlib.OpenDB for a config of ParseConfig. Without options, a Connector opens
// the connections.
func OpenDB(config pgx.ConnConfig, opts ...stdlib.OptionOpenDB) *sql.DB {
	dsn := os.Getenv(DSN)
	if !isOurs(dsn) {
		return stdlib.OpenDB(config, opts...)
	}
	if len(opts) == 0 {
		c, err := driver.NewConnector(dsn, driver.WithConnConfig(func(cc *pgx.ConnConfig) { *cc = *config.Copy() }))
		if err != nil {
			panic(err)
		}
		db, _ := openOurs(sql.OpenDB(c), nil)
		return db
	}
	c, err := connector(dsn)
	if err != nil {
		panic(err)
	}
	// A BeforeConnect of opts replaces this one: OptionBeforeConnect includes it.
	db, _ := openOurs(stdlib.OpenDB(config, slices.Concat([]stdlib.OptionOpenDB{stdlib.OptionBeforeConnect(c.BeforeConnect)}, opts)...), nil)
	return db
}

// A BeforeConnect is a function for pgx to call before a connect.
type BeforeConnect = func(context.Context, *pgx.ConnConfig) error

// OptionBeforeConnect is stdlib.OptionBeforeConnect.
func OptionBeforeConnect(f BeforeConnect) stdlib.OptionOpenDB {
	dsn := os.Getenv(DSN)
	if !isOurs(dsn) {
		return stdlib.OptionBeforeConnect(f)
	}
	c, err := connector(dsn)
	if err != nil {
		panic(err)
	}
	return stdlib.OptionBeforeConnect(Both(c.BeforeConnect, f))
}

// Both calls first, if it is not nil, and then f.
func Both(first, f BeforeConnect) BeforeConnect {
	if first == nil {
		return f
	}
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		if err := first(ctx, config); err != nil {
			return err
		}
		return f(ctx, config)
	}
}

// ParsePoolConfig is pgxpool.ParseConfig.
func ParsePoolConfig(dsn string) (*pgxpool.Config, error) {
	if !isOurs(dsn) {
		return pgxpool.ParseConfig(dsn)
	}
	c, err := connector(dsn)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	config.ConnConfig = c.Config()
	config.BeforeConnect = c.BeforeConnect
	config.MaxConnLifetime = life
	return config, nil
}

// NewPool is pgxpool.New.
func NewPool(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	config, err := ParsePoolConfig(dsn)
	if err != nil {
		return nil, err
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// Connect is pgx.Connect.
func Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	if !isOurs(dsn) {
		return pgx.Connect(ctx, dsn)
	}
	c, err := connector(dsn)
	if err != nil {
		return nil, err
	}
	config := c.Config()
	if err := c.BeforeConnect(ctx, config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// withDatabase returns dsn with another database.
func withDatabase(dsn, name string) (*url.URL, error) {
	u, err := url.Parse(dsn)
	if err == nil {
		u.Path = "/" + name
	}
	return u, err
}
