package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// Connector makes connections that are signed in with a token. It never changes
// after [NewConnector] and is safe for concurrent use. Printing one shows its
// DSN with secrets masked.
type Connector struct {
	text   string          // the DSN, masked
	who    string          // the modes, or the credential's type
	config *pgx.ConnConfig // holds no secret but in mode password
	guard  guard
	user   user
	about  situation
	tokens tokens // nil in mode password (pgx as it is) and with WithOpenFunc
	log    *slog.Logger
	open   opener
	driver *Driver
	trace  *trace // of Diagnose, or nil
	stage  string // the Check that NewConnector has come to
	err    error  // said at Connect, for the empty DSN opens whatever the environment

	count  connectorCount
	worked atomic.Bool              // a sign-in has
	asked  atomic.Pointer[question] // since the last that worked
	closed atomic.Bool
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector parses a DSN, as [dsn.ParseEnv] does, and prepares what every
// connection shares: the credential and the TLS policy. It touches no network.
// Errors are of type [*Error].
//
// In every mode but password the policy is:
//
//   - verify-full, and verify-ca with an sslrootcert, are as in pgx;
//   - no sslmode, allow, prefer, require, and verify-ca without an sslrootcert
//     become verify-full, with the roots of sslrootcert or else the system's;
//   - disable, a Unix socket and no host are errors.
//
// With aad_insecure=unverified the server need not be verified; with
// aad_insecure=plaintext it may be a socket or lack TLS. Both still need a host.
//
// The empty DSN always opens: [Connector.Connect] then reports what is wrong with the
// environment, and a missing host with any DSN.
func NewConnector(s string, opts ...Option) (*Connector, error) {
	return (&Driver{opts}).connector(s)
}

func (d *Driver) connector(s string) (*Connector, error) {
	c, err := newConnector(s, d.opts)
	switch {
	case err == nil:
	case s == "" || errors.Is(err, errNoHost):
		deferred := &Connector{err: err}
		if c != nil {
			deferred.text, deferred.config = c.text, c.config // masked, as s is not
		}
		c = deferred
	default:
		return nil, err // c is for Diagnose
	}
	c.driver = d
	return c, nil
}

func newConnector(s string, opts []Option) (*Connector, error) {
	o := collect(opts)
	if o.chosen && nothing(o.credential) {
		return nil, &Error{Step: StepCredential, Err: errors.New("WithCredential was given nil"), Hint: "hand a credential over (look at its constructor's error), or leave the option out for aad_auth to choose"}
	}
	cfg, err := dsn.ParseEnv(s, dsn.OS)
	if err != nil {
		return nil, &Error{Step: StepDSN, Err: err}
	}
	c := &Connector{text: cfg.String(), open: open, log: o.logger, guard: guard{insecure: cfg.Insecure}, stage: "options"}
	c.who = strings.Trim(fmt.Sprint(cfg.Auth), "[]")
	if o.credential != nil {
		c.who = fmt.Sprintf("%T, handed over", o.credential)
	}
	token := o.credential != nil || cfg.Auth[0] != dsn.Password
	if token {
		raiseTLS(cfg)
	}
	if c.config, err = parsePgx(cfg); err == nil && token && raiseCA(cfg, c.config) {
		c.config, err = parsePgx(cfg)
	}
	if err != nil {
		return c, &Error{Step: StepDSN, Err: err}
	}
	c.about = situation{password: !token, database: c.config.Database, host: c.config.Host}
	if !token {
		if o.apply(c.config); o.open != nil {
			c.open = o.open
		}
		return c, nil
	}
	password := c.config.Password
	c.config.Password = ""
	if cfg.Host() == "" {
		// pgx would look for a socket in folders where any user can listen.
		return c, &Error{Step: StepDSN, Err: errNoHost, Hint: "name the server's host in the DSN, or set PGHOST"}
	}
	c.stage = "cloud"
	t, err := resolve(cfg)
	if err != nil {
		return c, &Error{Step: StepDSN, Err: err}
	}
	c.guard.cloud, c.about.target, c.stage = t.cloud, t, "credential"
	c.user = user{name: cfg.Params["user"], serverType: t.serverType}
	if o.open != nil {
		c.open = o.open
	} else if c.tokens, err = tokensFor(cfg, t, o, password); err != nil {
		return c, err
	}
	c.config.User, c.stage = c.user.name, "options"
	o.apply(c.config)
	if c.config.RequireAuth == "" {
		c.config.RequireAuth = requireAuth
	}
	return c, c.guard.check(&c.config.Config)
}

// requireAuth keeps a server that asks for a hash of the token, or for nothing,
// from getting a session. Entra roles are asked for a cleartext password, over
// TLS, or for OAUTHBEARER.
const requireAuth = "password,oauth"

// Connect makes one signed-in connection, a *stdlib.Conn of pgx. ctx bounds
// this call alone: a token request that others wait for goes on. Errors are of
// type [*Error].
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.tokens == nil {
		conn, err := c.open(ctx, c.config.Copy()) // whoever opens may change it
		if err != nil {
			s := c.about
			s.secrets = []string{c.config.Password}
			return nil, s.explain(err)
		}
		return conn, nil
	}
	for again := false; ; again = true {
		config := *c.config
		a, err := c.begin(&config)
		if err != nil {
			return nil, err
		}
		conn, err := a.connect(ctx, &config)
		if err == nil {
			return conn, nil
		}
		if again || !a.again(ctx, err) {
			return nil, a.situation().explain(err)
		}
	}
}

// Driver returns a [*Driver] with the connector's options. Wrappers open further
// connectors from it.
func (c *Connector) Driver() driver.Driver { return c.driver }

// Close implements io.Closer for sql.DB. It ends a token request under way that
// no other connector waits for. Connections stay as they are.
func (c *Connector) Close() error {
	if s, ok := c.tokens.(*source); ok && c.closed.CompareAndSwap(false, true) {
		s.release()
	}
	return nil
}

// String returns the DSN with secrets masked.
func (c *Connector) String() string { return c.text }

// Format is String for every verb: the others would print the fields.
func (c *Connector) Format(f fmt.State, _ rune) { io.WriteString(f, c.text) }
