package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"net"
	"strings"
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
	next   *flight        // what may bring another token after a refusal
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

	netConnect := config.AfterNetConnect
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		a.live, cfg.Password = nil, "" // of the host before
		below := conn
		conn, err := a.secure(ctx, cfg, conn, netConnect)
		a.host = hostOf(cfg, below)
		if err != nil {
			return conn, err
		}
		t, err := a.wait(ctx)
		if err != nil {
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

// A question is what a connector asked when the server refused a token.
type question struct {
	than   *token
	flight *flight
}

// refused asks for a newer token where that may help. A token may be refused for
// its own sake (revoked, say) or for the role's, which no other token would mend,
// and the server's words are not to be relied on. So: not for a token that is
// young or that this connect has just asked for; only for a role that has let us
// in before, or if the words are of the token; and once, until a sign-in works. A
// role that does not exist costs no request.
func (a *attempt) refused(e *pgconn.PgError) {
	a.live.Password, a.live = "", nil
	if e.Code != "28P01" && e.Code != "28000" {
		return
	}
	c := a.c
	c.count.rejected.Add(1)
	c.log.Warn("sign-in rejected", slog.String("code", e.Code), slog.String("message", oneLine(e.Message)), slog.Time("token_issued", a.token.issued))
	q := c.asked.Load()
	switch {
	case a.flight != nil, a.token.young(time.Now()):
	case q != nil && q.than != a.token && q.flight.failure() == nil: // of no use
	case c.worked.Load() || strings.Contains(strings.ToLower(e.Message), "token"):
		t, f := c.tokens.newer(a.token, c.log)
		if t != nil {
			f = landed(t, nil)
		}
		a.next = f
		c.asked.Store(&question{a.token, f})
	}
}

// connect opens the connection. A token request that fails ends it at once, and
// its error is the connect's.
func (a *attempt) connect(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	if a.flight == nil {
		return a.c.open(ctx, config)
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

// why names the token request's failure in place of what it caused.
func (a *attempt) why(err error) error {
	if err != nil && a.flight != nil && a.flight.failure() != nil {
		return a.flight.failure()
	}
	return err
}

// again tells whether err is a refusal for which there is another token now.
func (a *attempt) again(ctx context.Context, err error) bool {
	const oauth = "OAuth authentication failed" // pgx has no type for it
	if a.live != nil && strings.Contains(err.Error(), oauth) {
		a.refused(&pgconn.PgError{Code: "28000", Message: oauth + ": invalid_token"})
	}
	if a.next == nil {
		return false
	}
	t, err := a.next.Token(ctx)
	if err != nil || t.value == a.token.value {
		return false
	}
	a.c.count.retried.Add(1)
	return true
}
