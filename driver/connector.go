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

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A Connector opens connections that authenticate with a token. Create one with
// [NewConnector]: the zero Connector is not valid. Its settings never change, and it is safe
// for concurrent use. Its printed form is the DSN with secrets masked.
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

	*history
	count  connectorCount
	closed atomic.Bool
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector parses a DSN, as [dsn.ParseEnv] does, and creates the token source and the
// TLS policy that all connections share. It reads the environment and files, and makes no
// network request. Errors are of type [*Error].
//
// The TLS policy in every mode but password:
//
//   - verify-full, and verify-ca with an sslrootcert, work as in pgx.
//   - No sslmode, allow, prefer, require, and verify-ca without an sslrootcert become
//     verify-full, with the roots of sslrootcert or else the system's.
//   - disable and a Unix socket are errors.
//
// With aad_insecure=unverified, weaker modes become require, and sslmode works as in pgx:
// without an sslrootcert, require does not verify the server's certificate. With
// aad_insecure=plaintext, sslmode works as in pgx without change. No sslmode then means
// prefer, which accepts unverified TLS and falls back to none. Unix sockets are allowed.
// Both still require a host.
//
// If the DSN is empty, or no host is set, NewConnector returns a Connector and a nil error.
// Connect, BeforeConnect and Credentials of that Connector return the error, and Config may
// return nil.
func NewConnector(dsn string, opts ...Option) (*Connector, error) {
	return newDriver(opts).connector(dsn)
}

func (d *Driver) connector(dsn string) (*Connector, error) {
	p := &preparation{options: newOptions(d.opts)}
	if d.kept != nil {
		p.options.owner = d.kept
	}
	err := p.run(dsn)
	if err == nil {
		p.c.driver = d
		return p.c, nil
	}
	if dsn != "" && !errors.Is(err, errNoHost) {
		return nil, err
	}
	c := &Connector{err: err, driver: d, history: &history{}}
	if p.c != nil {
		c.maskedDSN = p.c.maskedDSN
		c.config = p.c.config
	}
	return c, nil
}

// Connect opens one connection, a *stdlib.Conn of pgx, and authenticates it. If the server
// rejects a cached token and a newer token may help, Connect requests one and tries once
// more. It does not retry a token that was just issued, nor a role that has never signed in
// unless the server's message is about the token. ctx bounds this call. A token request in
// flight continues after ctx ends, for at most aad_token_timeout, because other callers may
// share it. Errors are of type [*Error]. If ctx ends, errors.Is finds ctx.Err(), not the cause
// of a cancellation.
//
// If no token is cached, the caller that starts the request dials while it waits. It keeps the
// server's session open for at most one second, or a tenth of connect_timeout if that is
// shorter. If the token is later than that, Connect closes the connection, waits, and dials
// again from the first host. All other callers wait for the token before they dial. So does
// every caller if a person may have to act (modes device-code and interactive-browser, and
// these credentials of azidentity with [WithCredential]) or if the latest request took more
// than a second. Apart from that tenth, connect_timeout does not include the wait.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.source == nil {
		return c.connectWithoutToken(ctx)
	}
	for retried := false; ; retried = true {
		if err := c.policy.check(&c.config.Config); err != nil {
			return nil, err
		}
		a := c.newAttempt()
		conn, err := a.connect(ctx)
		if err == nil {
			return conn, nil
		}
		if !retried && c.fellBack(err) {
			continue
		}
		if retried || !a.shouldRetry(ctx, err) {
			return nil, a.errContext().explain(err)
		}
	}
}

func (c *Connector) connectWithoutToken(ctx context.Context) (driver.Conn, error) {
	conn, err := c.open(ctx, c.config.Copy()) // a WithOpenFunc may change it
	if c.fellBack(err) {
		conn, err = c.open(ctx, c.config.Copy())
	}
	if err != nil {
		x := c.baseContext
		x.secrets = []string{c.config.Password}
		return nil, x.explain(err)
	}
	return conn, nil
}

// fellBack reports whether err is of a server that was begun with TLS for the last time.
func (c *Connector) fellBack(err error) bool {
	return errors.Is(err, direct.ErrProtocol) && c.config.SSLNegotiation != "direct"
}

// Driver returns a [*Driver] with the connector's options. Wrappers open further
// connectors with it.
func (c *Connector) Driver() driver.Driver { return c.driver }

// Close implements io.Closer, and sql.DB.Close calls it. Programs that use pgx or pgxpool
// call it themselves. If no other open Connector shares the token cache, Close cancels a
// token request in flight that no connect waits for, and closes idle connections to the
// token endpoint, unless they belong to a transport of [WithTransport]. Open connections to
// the server are not affected, and the Connector can still connect, for example if two
// sql.DB share it. Close always returns nil, and further calls do nothing.
func (c *Connector) Close() error {
	cache, ok := c.source.(*token.Cache)
	if ok && c.closed.CompareAndSwap(false, true) {
		cache.Release()
	}
	return nil
}

// String returns the DSN with secrets masked.
func (c *Connector) String() string { return c.maskedDSN }

// Format prints [Connector.String] for every verb of fmt, because other verbs would print
// the fields.
func (c *Connector) Format(f fmt.State, _ rune) { io.WriteString(f, c.maskedDSN) }
