package driver

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// hooks are those of pgx's config that an attempt takes the place of during a
// sign-in, as they were before: it calls them in its turn, and puts them back when it
// takes the token out. pgx reads them after AfterNetConnect, so they can be replaced
// there, whoever set them.
type hooks struct {
	build    pgconn.BuildFrontendFunc
	validate pgconn.ValidateConnectFunc
	refused  pgconn.PgErrorHandler
	notice   pgconn.NoticeHandler
	bearer   func(context.Context) (string, error)
}

// gate is pgx's AfterNetConnect: the last moment before the server is spoken to.
func (a *attempt) gate(ctx context.Context, cfg *pgconn.Config, conn net.Conn, own netConnect) (net.Conn, error) {
	a.leave() // the host before
	a.late = nil
	if err := a.c.guard.check(cfg); err != nil { // it may have been changed since it was hung in
		return conn, err
	}
	below := conn
	conn, err := a.secure(ctx, cfg, conn, own)
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
	if a.user, err = a.c.present(t, a.host, hosts(cfg)); err != nil {
		return conn, err
	}
	a.enter(cfg)
	return conn, nil
}

type netConnect = func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error)

// secure finishes TLS, and lets the user's own hook see the connection before
// there is a token to be seen. What that hook returns must still be over it.
func (a *attempt) secure(ctx context.Context, cfg *pgconn.Config, conn net.Conn, own netConnect) (net.Conn, error) {
	if err := a.c.guard.shake(ctx, conn); err != nil {
		a.c.trace.fail("tls", err)
		return conn, err
	}
	if own == nil {
		return conn, nil
	}
	wrapped, err := own(ctx, cfg, conn)
	if wrapped == nil {
		wrapped = conn // pgx closes it
	}
	if err == nil && !over(wrapped, conn) && a.c.guard.insecure != "plaintext" {
		err = &Error{Step: StepTLS, Err: errors.New("AfterNetConnect returned a connection that does not lead to the one with TLS"), Hint: "its method NetConn must return what it wraps"}
	}
	cfg.Password = ""
	return wrapped, err
}

// enter puts the token and our hooks into the config.
func (a *attempt) enter(cfg *pgconn.Config) {
	a.live = cfg
	a.hooks = hooks{cfg.BuildFrontend, cfg.ValidateConnect, cfg.OnPgError, cfg.OnNotice, cfg.OAuthTokenProvider}
	cfg.User, cfg.Password = a.user, a.token.value
	cfg.BuildFrontend, cfg.ValidateConnect, cfg.OnPgError, cfg.OAuthTokenProvider = a.frontend, a.signedIn, a.refusal, a.bearer
	if cfg.OnNotice != nil {
		cfg.OnNotice = a.notice
	}
}

// leave takes them out again: the config outlives the sign-in.
func (a *attempt) leave() {
	if cfg := a.live; cfg != nil {
		a.live, cfg.Password = nil, ""
		cfg.BuildFrontend, cfg.ValidateConnect, cfg.OnPgError, cfg.OnNotice, cfg.OAuthTokenProvider = a.hooks.build, a.hooks.validate, a.hooks.refused, a.hooks.notice, a.hooks.bearer
	}
}

func (a *attempt) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	a.quota = &quota{r: r, w: w, left: mostSaid, asked: 1 + mostAsked} // the first one is ours
	return a.hooks.build(a.quota, a.quota)
}

// bearer serves servers that ask for OAUTHBEARER (PostgreSQL 18).
func (a *attempt) bearer(context.Context) (string, error) {
	if a.live == nil {
		return "", errors.New("the sign-in is over")
	}
	return a.token.value, nil
}

// refusal hears an error of the server's during the sign-in. That ends it, be the
// error called fatal or not: pgx returns what it hands over here, with nothing in it
// of what was presented.
func (a *attempt) refusal(conn *pgconn.PgConn, e *pgconn.PgError) bool {
	own := a.hooks.refused
	a.situation().maskError(e)
	a.refused(e)
	if own != nil {
		own(conn, e)
	}
	return false
}

func (a *attempt) notice(conn *pgconn.PgConn, n *pgconn.Notice) {
	a.situation().maskError((*pgconn.PgError)(n))
	a.hooks.notice(conn, n)
}

// signedIn is pgx's ValidateConnect.
func (a *attempt) signedIn(ctx context.Context, conn *pgconn.PgConn) error {
	own := a.hooks.validate
	if a.quota != nil { // or somebody has replaced our hook
		a.quota.done.Store(true)
	}
	a.leave()
	a.accepted()
	if own != nil {
		return own(ctx, conn)
	}
	return nil
}

// accepted forgets the token, and that others were refused: if by this very connect,
// by a host before this one, then not for the token's sake.
func (a *attempt) accepted() {
	a.c.count.signIns.Add(1)
	a.c.worked.Store(true)
	if a.told == nil {
		a.c.asked.Store(nil)
	}
	a.token, a.flight, a.quota, a.told = nil, nil, nil, nil
	a.next = nil // another host may have refused what this one took
}
