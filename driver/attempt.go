package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An attempt is one connect. The token is asked for when it begins, while pgx
// looks up, dials and negotiates TLS; it is put into the config only once the
// connection is seen to be TLS, and taken out as soon as the server has judged.
type attempt struct {
	c      *Connector
	host   string         // that is spoken to
	hosts  []string       // all that may be
	user   string         // who signs in; "" until the token tells
	token  *token         // what is presented; nil until it is known
	flight *flight        // the request to wait for; nil if the token was there
	live   *pgconn.Config // of the sign-in under way; holds the password
	quota  *quota         // of the server spoken to
	next   *flight        // what may bring another token after a refusal
	late   error          // the caller's time ended while it waited for the token
}

// begin hangs the attempt into pgx's hooks, before those that are there.
func (c *Connector) begin(config *pgx.ConnConfig) (*attempt, error) {
	if err := c.guard.check(config); err != nil {
		return nil, err
	}
	a := &attempt{c: c, user: config.User, hosts: hosts(config)}
	a.token, a.flight = c.tokens.get(c.log)
	if a.flight != nil && a.flight.failure() != nil {
		return nil, a.flight.failure()
	}
	config.Password = ""
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	config.OAuthTokenProvider = a.bearer
	a.ration(config)

	netConnect := config.AfterNetConnect
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		a.live, a.late, cfg.Password = nil, nil, "" // of the host before
		below := conn
		conn, err := a.secure(ctx, cfg, conn, netConnect)
		a.host = hostOf(cfg, below)
		if err != nil {
			return conn, err
		}
		t, err := a.wait(ctx)
		if err != nil {
			if ctx.Err() != nil {
				a.late = err
			}
			return conn, err
		}
		if a.user, err = c.present(t, a.host, a.hosts); err != nil {
			return conn, err
		}
		cfg.User = a.user
		a.live, cfg.Password = cfg, t.value
		return conn, nil
	}
	validate := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		a.lift(conn, config.MaxProtocolMessageBodyLen)
		a.accepted()
		if validate != nil {
			return validate(ctx, conn)
		}
		return nil
	}
	onError := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, e *pgconn.PgError) bool {
		if a.live != nil {
			a.refused(e)
		}
		return onError == nil || onError(conn, e)
	}
	return a, nil
}

// secure finishes TLS, and lets the user's own hook see the connection before
// there is a token to be seen. What that hook returns must still be over it.
func (a *attempt) secure(ctx context.Context, cfg *pgconn.Config, conn net.Conn, hook func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error)) (net.Conn, error) {
	if err := a.c.guard.shake(ctx, conn); err != nil {
		a.c.trace.fail("tls", err)
		return conn, err
	}
	if hook == nil {
		return conn, nil
	}
	wrapped, err := hook(ctx, cfg, conn)
	if wrapped == nil {
		wrapped = conn // pgx closes it
	}
	if err == nil && !over(wrapped, conn) && a.c.guard.insecure != "plaintext" {
		err = &Error{Step: StepTLS, Err: errors.New("AfterNetConnect returned a connection that does not lead to the one with TLS"), Hint: "its method NetConn must return what it wraps"}
	}
	cfg.Password = ""
	return wrapped, err
}

// wait returns the token to present, a live one: a chain of hosts may take its
// time.
func (a *attempt) wait(ctx context.Context) (t *token, err error) {
	t = a.token
	if a.flight != nil {
		if t, err = a.flight.Token(ctx); err != nil {
			return nil, err
		}
	}
	if !t.live(time.Now()) {
		var f *flight
		if t, f = a.c.tokens.get(a.c.log); f != nil {
			if t, err = f.Token(ctx); err != nil {
				return nil, err
			}
		}
	}
	a.token = t
	return t, nil
}

// bearer serves servers that ask for OAUTHBEARER (PostgreSQL 18). Without a
// passed gate it gives nothing: somebody may have replaced our hook.
func (a *attempt) bearer(context.Context) (string, error) {
	if a.live == nil || a.token == nil {
		return "", errors.New("the connection was not checked for TLS")
	}
	return a.token.value, nil
}

// accepted forgets the token: the connection's config outlives the sign-in.
func (a *attempt) accepted() {
	if a.live != nil {
		a.live.Password = ""
	}
	a.live, a.token, a.flight = nil, nil, nil
	a.next = nil // another host may have refused what this one took
	a.c.count.signIns.Add(1)
	a.c.worked.Store(true)
	a.c.asked.Store(nil)
}

// connect opens the connection. A token request that fails ends it at once, and
// its error is the connect's.
func (a *attempt) connect(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	if a.flight == nil {
		conn, err := a.c.open(ctx, config)
		return conn, a.why(err)
	}
	ctx, stop := a.flight.bind(ctx)
	defer stop()
	conn, err := a.c.open(ctx, config)
	return conn, a.why(err)
}

// bindDial does the same for those who connect by themselves, as far as their
// hooks go.
func (a *attempt) bindDial(config *pgx.ConnConfig) {
	if a.flight == nil {
		return
	}
	f, lookup, dial := a.flight, config.LookupFunc, config.DialFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		ctx, stop := f.bind(ctx)
		defer stop()
		addrs, err := lookup(ctx, host)
		return addrs, a.why(err)
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, stop := f.bind(ctx)
		defer stop()
		conn, err := dial(ctx, network, addr)
		return conn, a.why(err)
	}
}

// why names the token request's failure in place of what it caused, and the wait for
// it where pgx says of any deadline that the network was late.
func (a *attempt) why(err error) error {
	switch {
	case err == nil:
	case a.flight != nil && a.flight.failure() != nil:
		return a.flight.failure()
	case a.late != nil:
		return a.late
	}
	return err
}
