package driver

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// hooks are those of pgx's config that an attempt replaces during a sign-in. Ours call
// them in their turn. pgx reads them after AfterNetConnect, so they can be replaced
// there, no matter who set them.
type hooks struct {
	buildFrontend   pgconn.BuildFrontendFunc
	validateConnect pgconn.ValidateConnectFunc
	onPgError       pgconn.PgErrorHandler
	onNotice        pgconn.NoticeHandler
	oauthToken      func(context.Context) (string, error)
}

func hooksOf(cfg *pgconn.Config) hooks {
	return hooks{
		buildFrontend:   cfg.BuildFrontend,
		validateConnect: cfg.ValidateConnect,
		onPgError:       cfg.OnPgError,
		onNotice:        cfg.OnNotice,
		oauthToken:      cfg.OAuthTokenProvider,
	}
}

func (h hooks) setIn(cfg *pgconn.Config) {
	cfg.BuildFrontend = h.buildFrontend
	cfg.ValidateConnect = h.validateConnect
	cfg.OnPgError = h.onPgError
	cfg.OnNotice = h.onNotice
	cfg.OAuthTokenProvider = h.oauthToken
}

type netConnectFunc = func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error)

// afterNetConnect is pgx's AfterNetConnect, the last moment before the server is sent
// anything.
func (a *attempt) afterNetConnect(ctx context.Context, cfg *pgconn.Config, conn net.Conn, userHook netConnectFunc) (net.Conn, error) {
	a.restore() // after the host before
	a.waitErr = nil
	if err := a.c.policy.check(cfg); err != nil { // it may have changed since it was prepared
		return conn, err
	}
	secured, err := a.secure(ctx, cfg, conn, userHook)
	a.host = hostOf(cfg, conn)
	if err != nil {
		return secured, err
	}
	t, err := a.wait(ctx)
	if err != nil {
		if ctx.Err() != nil {
			a.waitErr = err
		}
		return secured, err
	}
	a.role, err = a.c.authorize(t, a.host, hostNames(cfg))
	if err != nil {
		return secured, err
	}
	a.install(cfg)
	return secured, nil
}

// secure finishes TLS, and then lets the program's own hook see the connection, before
// there is a token to be seen. What that hook returns must still be over it.
func (a *attempt) secure(ctx context.Context, cfg *pgconn.Config, conn net.Conn, userHook netConnectFunc) (net.Conn, error) {
	if err := a.c.policy.handshake(ctx, conn); err != nil {
		connTraceFrom(ctx).recordFailure("tls", err)
		return conn, err
	}
	if userHook == nil {
		return conn, nil
	}
	wrapped, err := userHook(ctx, cfg, conn)
	if wrapped == nil {
		wrapped = conn // pgx closes it
	}
	if err == nil && !wraps(wrapped, conn) && a.c.policy.insecure != "plaintext" {
		err = newError(StepTLS, errors.New("AfterNetConnect returned a connection that is not over the one with TLS"), nil)
	}
	cfg.Password = ""
	return wrapped, err
}

// install puts the token and our hooks into the config.
func (a *attempt) install(cfg *pgconn.Config) {
	a.activeConfig = cfg
	a.original = hooksOf(cfg)
	ours := hooks{
		buildFrontend:   a.buildFrontend,
		validateConnect: a.validateConnect,
		onPgError:       a.onPgError,
		oauthToken:      a.oauthToken,
	}
	if cfg.OnNotice != nil {
		ours.onNotice = a.onNotice
	}
	ours.setIn(cfg)
	cfg.User = a.role
	cfg.Password = a.token.Value
}

// restore takes them out again: the config outlives the sign-in.
func (a *attempt) restore() {
	cfg := a.activeConfig
	if cfg == nil {
		return
	}
	a.activeConfig = nil
	cfg.Password = ""
	a.original.setIn(cfg)
}

func (a *attempt) buildFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	a.limiter = newAuthLimiter(r, w)
	return a.original.buildFrontend(a.limiter, a.limiter)
}

// oauthToken serves servers that request OAUTHBEARER (PostgreSQL 18).
func (a *attempt) oauthToken(context.Context) (string, error) {
	if a.activeConfig == nil {
		return "", errors.New("the sign-in is over")
	}
	return a.token.Value, nil
}

// onPgError handles an error of the server's during the sign-in. That ends it, whether
// the error is called fatal or not. pgx returns e, in which what was presented is
// redacted.
func (a *attempt) onPgError(conn *pgconn.PgConn, e *pgconn.PgError) bool {
	userHook := a.original.onPgError
	a.errContext().redactError(e)
	a.handleRejection(e)
	if userHook != nil {
		userHook(conn, e)
	}
	return false
}

func (a *attempt) onNotice(conn *pgconn.PgConn, n *pgconn.Notice) {
	a.errContext().redactError((*pgconn.PgError)(n))
	a.original.onNotice(conn, n)
}

// validateConnect is pgx's ValidateConnect: the server has accepted the token.
func (a *attempt) validateConnect(ctx context.Context, conn *pgconn.PgConn) error {
	userHook := a.original.validateConnect
	if a.limiter != nil { // nil if the program has replaced our buildFrontend
		a.limiter.done.Store(true)
	}
	a.restore()
	a.onSuccess()
	if userHook != nil {
		return userHook(ctx, conn)
	}
	return nil
}

// onSuccess drops the token, and the memory of rejections unless this connect had one
// itself: if a host before this one rejected the token, it was not for the token's sake.
func (a *attempt) onSuccess() {
	a.c.count.signIns.Add(1)
	a.c.signedIn.Store(true)
	if a.lastPgError == nil {
		a.c.settled.Store(a.c.source.Renewals().Latest())
	}
	a.token = nil
	a.call = nil
	a.limiter = nil
	a.lastPgError = nil
	a.replacement = nil
}
