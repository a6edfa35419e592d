package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A Connector opens connections that are signed in with a token. Its settings never
// change, and it is safe for concurrent use. Printing one shows its DSN with secrets
// masked.
type Connector struct {
	maskedDSN   string
	config      *pgx.ConnConfig // holds no secret but in mode password; nil if err is set before it was parsed
	policy      tlsPolicy
	user        user
	baseContext errContext   // what is known of every failure
	source      token.Source // nil in mode password and with WithOpenFunc
	log         *slog.Logger
	open        openFunc
	driver      *Driver
	err         error // what Connect returns instead of connecting, if the environment did not complete the DSN; else nil

	count    connectorCount
	signedIn atomic.Bool             // the server has accepted a token
	renewal  atomic.Pointer[renewal] // since the last token that the server accepted
	closed   atomic.Bool
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector parses a DSN, as [dsn.ParseEnv] does, and prepares what all connections
// share: the source of tokens and the TLS policy. It touches no network. Errors are of
// type [*Error].
//
// The TLS policy in every mode but password:
//
//   - verify-full, and verify-ca with an sslrootcert, work as in pgx.
//   - No sslmode, allow, prefer, require, and verify-ca without an sslrootcert become
//     verify-full, with the roots of sslrootcert or else the system's.
//   - disable, a Unix socket and a missing host are errors.
//
// With aad_insecure=unverified the server's certificate is not verified. With
// aad_insecure=plaintext the host may be a Unix socket or lack TLS. Both still need a
// host.
//
// The empty DSN, and a DSN without a host, do not fail here: [Connector.Connect] reports
// what is missing.
func NewConnector(dsn string, opts ...Option) (*Connector, error) {
	return (&Driver{opts}).connector(dsn)
}

func (d *Driver) connector(dsn string) (*Connector, error) {
	p := &preparation{options: newOptions(d.opts)}
	err := p.run(dsn)
	if err == nil {
		p.c.driver = d
		return p.c, nil
	}
	if dsn != "" && !errors.Is(err, errNoHost) {
		return nil, err
	}
	c := &Connector{err: err, driver: d}
	if p.c != nil {
		c.maskedDSN = p.c.maskedDSN
		c.config = p.c.config
	}
	return c, nil
}

// Connect opens one connection, a *stdlib.Conn of pgx, and signs it in. When the server
// rejects a token that was cached, Connect fetches another and tries once more. ctx
// bounds this call alone: a token request that others wait for goes on. Errors are of
// type [*Error].
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.source == nil {
		return c.connectWithoutToken(ctx)
	}
	for retried := false; ; retried = true {
		config := *c.config
		a, err := c.prepareAttempt(&config)
		if err != nil {
			return nil, err
		}
		conn, err := a.connect(ctx, &config)
		if err == nil {
			return conn, nil
		}
		if retried || !a.shouldRetry(ctx, err) {
			return nil, a.errContext().explain(err)
		}
	}
}

func (c *Connector) connectWithoutToken(ctx context.Context) (driver.Conn, error) {
	conn, err := c.open(ctx, c.config.Copy()) // a WithOpenFunc may change it
	if err != nil {
		x := c.baseContext
		x.secrets = []string{c.config.Password}
		return nil, x.explain(err)
	}
	return conn, nil
}

// Driver returns a [*Driver] with the connector's options. Wrappers open further
// connectors with it.
func (c *Connector) Driver() driver.Driver { return c.driver }

// Close implements io.Closer for sql.DB. It cancels a token request under way that no
// other connector waits for. Open connections are not affected. Further calls do nothing.
func (c *Connector) Close() error {
	cache, ok := c.source.(*token.Cache)
	if ok && c.closed.CompareAndSwap(false, true) {
		cache.Release()
	}
	return nil
}

// String returns the DSN with secrets masked.
func (c *Connector) String() string { return c.maskedDSN }

// Format implements fmt.Formatter: every verb prints what String returns, for the others
// would print the fields.
func (c *Connector) Format(f fmt.State, _ rune) { io.WriteString(f, c.maskedDSN) }
