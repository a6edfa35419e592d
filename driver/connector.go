package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// Connector makes connections that are signed in with a token. It never changes
// after [NewConnector] and is safe for concurrent use. Printing one shows its
// DSN with secrets masked.
type Connector struct {
	text   string          // the DSN, masked
	config *pgx.ConnConfig // holds no secret but in mode password
	guard  guard
	user   user
	tokens tokens // nil in mode password: pgx as it is
	open   func(context.Context, *pgx.ConnConfig) (driver.Conn, error)
	err    error // said at Connect, for the empty DSN opens whatever the environment
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector parses a DSN (see package dsn; the environment and service files
// count) and prepares what every connection shares: the credential and the TLS
// policy. It touches no network. Errors are of type [*Error].
//
// In every mode but password the policy is: sslmode verify-full and verify-ca as
// pgx does them; no sslmode, allow, prefer and require are raised to
// verify-full, with the roots of sslrootcert or else the system's; disable, a
// Unix socket and no host are errors. aad_insecure opens what is shut.
//
// The empty DSN always opens; what is wrong or missing then is said at Connect,
// and so is a missing host.
func NewConnector(s string, opts ...Option) (*Connector, error) {
	c, err := newConnector(s, opts)
	switch {
	case err == nil:
		return c, nil
	case s == "" || errors.Is(err, errNoHost):
		deferred := &Connector{err: err}
		if c != nil {
			deferred.text = c.text // masked, as s is not
		}
		return deferred, nil
	}
	return nil, err
}

func newConnector(s string, opts []Option) (*Connector, error) {
	o := collect(opts)
	cfg, err := dsn.ParseEnv(s, dsn.OS)
	if err != nil {
		return nil, &Error{Step: StepDSN, Err: err}
	}
	c := &Connector{text: cfg.String(), open: open, guard: guard{insecure: cfg.Insecure}}
	token := o.credential != nil || cfg.Auth[0] != dsn.Password
	if token {
		raiseTLS(cfg)
	}
	if c.config, err = parsePgx(cfg); err != nil {
		return nil, &Error{Step: StepDSN, Err: err}
	}
	if !token {
		o.apply(c.config)
		return c, nil
	}
	if cfg.Host() == "" {
		// pgx would look for a socket in folders where any user can listen.
		return c, &Error{Step: StepDSN, Err: errNoHost, Hint: "name the server's host in the DSN, or set PGHOST"}
	}
	t, err := resolve(cfg)
	if err != nil {
		return nil, &Error{Step: StepDSN, Err: err}
	}
	c.guard.cloud = t.cloud
	c.user = user{name: cfg.Params["user"], serverType: t.serverType}
	if c.tokens, err = tokensFor(cfg, t, o.credential, c.config.Password); err != nil {
		return nil, err
	}
	c.config.User, c.config.Password = c.user.name, ""
	o.apply(c.config)
	if c.config.RequireAuth == "" {
		c.config.RequireAuth = requireAuth
	}
	return c, c.guard.check(c.config)
}

// requireAuth keeps a server that asks for a hash of the token, or for nothing,
// from getting a session. Entra roles are asked for a cleartext password, over
// TLS, or for OAUTHBEARER.
const requireAuth = "password,oauth"

// parsePgx lets pgx read its part. Secrets are handed over apart, so that no
// error or ConnString of pgx holds one.
func parsePgx(cfg *dsn.Config) (*pgx.ConnConfig, error) {
	var o pgx.ParseConfigOptions
	o.GetSSLPassword = func(context.Context) string { return cfg.Params["sslpassword"] }
	config, err := pgx.ParseConfigWithOptions(cfg.Postgres(), o)
	if err != nil {
		// pgx quotes the whole DSN before it says what is wrong.
		if _, cause, ok := strings.Cut(err.Error(), "`: "); ok {
			err = errors.New(cause)
		}
		return nil, err
	}
	if p := cfg.Params["password"]; p != "" {
		config.Password = p
	}
	for name := range config.RuntimeParams {
		// A service file's keys: package dsn has read them, the server must not.
		if strings.HasPrefix(strings.ToLower(name), "aad") {
			delete(config.RuntimeParams, name)
		}
	}
	return config, nil
}

func open(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	return stdlib.GetConnector(*config).Connect(ctx)
}

// Connect makes one signed-in connection, a *stdlib.Conn of pgx. ctx bounds
// this call alone: a token request that others wait for goes on. Errors are of
// type [*Error].
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	config := *c.config
	if err := c.BeforeConnect(ctx, &config); err != nil {
		return nil, err
	}
	conn, err := c.open(ctx, &config)
	if err != nil {
		return nil, explain(err, config.User, c.tokens != nil)
	}
	return conn, nil
}

// BeforeConnect prepares config to sign in: it is what pgxpool.Config and
// stdlib.OptionBeforeConnect call by that name. It waits for the token, sets the
// user, and hands the password over only once the connection is seen to be TLS.
func (c *Connector) BeforeConnect(ctx context.Context, config *pgx.ConnConfig) error {
	if c.err != nil || c.tokens == nil {
		return c.err
	}
	if err := c.guard.check(config); err != nil {
		return err
	}
	t, err := c.tokens.Token(ctx)
	if err != nil {
		return err
	}
	if config.User, err = c.user.of(t, config.Host); err != nil {
		return err
	}
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	// The password stays out of the config until there is TLS to send it over,
	// and leaves it again once the server has it: Conn.Config() holds no token.
	config.Password = ""
	var live *pgconn.Config
	netConnect := config.AfterNetConnect
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		live, cfg.Password = cfg, ""
		if err := c.guard.shake(ctx, conn); err != nil {
			return conn, err
		}
		t, err := c.tokens.Token(ctx)
		if err != nil {
			return conn, err
		}
		cfg.Password = t.value
		if netConnect != nil {
			return netConnect(ctx, cfg, conn)
		}
		return conn, nil
	}
	connected := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		live.Password = ""
		if connected != nil {
			return connected(ctx, conn)
		}
		return nil
	}
	return nil
}

// Config returns a copy of the pgx configuration, without token or password
// unless the mode is password. Connect with it through [Connector.BeforeConnect].
// It is nil when the connector has nothing to connect to.
func (c *Connector) Config() *pgx.ConnConfig {
	if c.config == nil {
		return nil
	}
	return c.config.Copy()
}

// Driver returns the driver of this package. Wrappers open further connectors
// from it, so pgx's would lose the token.
func (c *Connector) Driver() driver.Driver { return &Driver{} }

// Close implements io.Closer for sql.DB. There is nothing to release by hand:
// a token source that no connector uses any more is collected.
func (c *Connector) Close() error { return nil }

// String returns the DSN with secrets masked.
func (c *Connector) String() string { return c.text }

// GoString is String, so that %#v cannot leak.
func (c *Connector) GoString() string { return c.text }
