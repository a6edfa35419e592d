// Package driver registers the driver "aadpostgres" with database/sql. It opens
// connections with pgx, and authenticates each of them to Azure Database for PostgreSQL with
// a Microsoft Entra token. Import it and call sql.Open:
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
// The connections are pgx's [*stdlib.Conn], so queries cost the same as with pgx, and
// sql.Conn.Raw passes a *stdlib.Conn. Package dsn documents the keys of a DSN.
//
// Unless the DSN has aad_insecure, tokens are sent over verified TLS only, whatever sslmode
// is. See [NewConnector].
//
// # Tokens
//
// Connectors of the same identity share one token cache. At most one token request per cache
// is in flight, and all of them together wait between requests after failures and rejections.
// Tokens are refreshed in the background when a connection is opened, so there
// are no goroutines while idle. Only new connections need a token: the driver does not close
// connections when their token expires.
//
// # Errors
//
// Errors of opening and connecting are of type [*Error]. Their text is one line and ends in a
// hint if one is known. Errors of queries are pgx's. [Diagnose] checks a
// sign-in step by step, as the command aadpostgres doctor does.
package driver

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
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
func Register(name string, opts ...Option) { sql.Register(name, newDriver(opts)) }

// Driver implements driver.Driver and driver.DriverContext of database/sql, so that a DSN
// is parsed once for each sql.Open and not for each connection. The zero Driver has no
// options. [Register] registers a Driver with options. It is safe for concurrent use.
type Driver struct {
	opts []Option
	kept *keptCaches // of Open; nil without options
}

var _ driver.DriverContext = (*Driver)(nil)

func newDriver(opts []Option) *Driver {
	d := &Driver{opts: opts}
	if len(opts) > 0 {
		d.kept = new(keptCaches)
	}
	return d
}

// Open opens one connection, for wrappers that do not implement driver.DriverContext.
// database/sql calls OpenConnector instead. Open reads the DSN, the environment and files
// each time, as NewConnector does. The token cache, and what is known of the role, are kept
// for an hour after the latest Open of the same DSN. Open fails after one minute, as in pgx,
// which also limits the modes interactive-browser and device-code.
func (d *Driver) Open(dsn string) (driver.Conn, error) {
	c, err := d.connector(dsn)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	d.keptCaches().keep(dsn, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Connect(ctx)
}

// keepFor is how long Open keeps a token cache for the next Open. An open pool requests a
// token about once an hour, so an Open that comes later costs no more.
const keepFor = time.Hour

// keptCaches are the token caches of the DSNs that were opened lately. A wrapper does not
// say when it is done with them.
type keptCaches struct {
	mu sync.Mutex // guards m
	m  map[[sha256.Size]byte]*keptCache
}

type keptCache struct {
	cache     *token.Cache
	maskedDSN string
	history   *history
	usedAt    time.Time
}

// keptWithoutOptions is of all drivers without options.
var keptWithoutOptions = sync.OnceValue(func() *keptCaches { return new(keptCaches) })

func (d *Driver) keptCaches() *keptCaches {
	if d.kept == nil {
		return keptWithoutOptions()
	}
	return d.kept
}

// keep keeps c's token cache, and gives c what is known of its role if the DSN still leads to
// the same role and identity: the environment or a file may have changed.
func (k *keptCaches) keep(dsn string, c *Connector) {
	cache, ok := c.source.(*token.Cache)
	if !ok {
		return
	}
	key := sha256.Sum256([]byte(dsn)) // it may hold a secret
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.m[key]
	if old != nil && old.cache == cache && old.maskedDSN == c.maskedDSN {
		old.usedAt = time.Now()
		c.history = old.history
		return
	}
	cache.Retain()
	if k.m == nil {
		k.m = map[[sha256.Size]byte]*keptCache{}
	}
	k.m[key] = &keptCache{cache: cache, maskedDSN: c.maskedDSN, history: c.history, usedAt: time.Now()}
	if old != nil {
		old.cache.Release()
		return // its timer is the new one's
	}
	releaseUnused(weak.Make(k), key, keepFor)
}

// releaseUnused releases the cache of key when it was not used for keepFor, which is in wait
// at the earliest. The timer does not keep a driver with its credential.
func releaseUnused(ref weak.Pointer[keptCaches], key [sha256.Size]byte, wait time.Duration) {
	time.AfterFunc(wait, func() {
		k := ref.Value()
		if k == nil {
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		kept := k.m[key]
		if left := keepFor - time.Since(kept.usedAt); left > 0 {
			releaseUnused(ref, key, left)
			return
		}
		delete(k.m, key)
		kept.cache.Release()
	})
}

// OpenConnector is [NewConnector] with the driver's options. It returns a [*Connector].
func (d *Driver) OpenConnector(dsn string) (driver.Connector, error) {
	c, err := d.connector(dsn)
	if err != nil {
		return nil, err // not a typed nil
	}
	return c, nil
}
