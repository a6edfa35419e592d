package driver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"

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
	oauthToken      func(context.Context) (string, error)
}

func hooksOf(cfg *pgconn.Config) hooks {
	return hooks{
		buildFrontend:   cfg.BuildFrontend,
		validateConnect: cfg.ValidateConnect,
		onPgError:       cfg.OnPgError,
		oauthToken:      cfg.OAuthTokenProvider,
	}
}

func (h hooks) setIn(cfg *pgconn.Config) {
	cfg.BuildFrontend = h.buildFrontend
	cfg.ValidateConnect = h.validateConnect
	cfg.OnPgError = h.onPgError
	cfg.OAuthTokenProvider = h.oauthToken
}

type netConnectFunc = func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error)

// A netHook is the AfterNetConnect in a config that went through BeforeConnect or Connect.
type netHook struct {
	first    *attempt       // of the first connection
	userHook netConnectFunc // may be nil
}

// netHookKey is the key of a **netHook in the context by which a netHook is asked who it
// is, and of a nil one in that by which userHook is called.
type netHookKey struct{}

// netHookCode is how the method that is put into configs can be recognized.
var netHookCode = reflect.ValueOf((*netHook)(nil).afterNetConnect).Pointer()

// newNetHook returns a hook that calls f, or what f calls if it is a hook of ours: a config
// may go through BeforeConnect again and again.
func newNetHook(first *attempt, f netConnectFunc) *netHook {
	if f != nil && reflect.ValueOf(f).Pointer() == netHookCode {
		var old *netHook
		f(context.WithValue(context.Background(), netHookKey{}, &old), nil, nil)
		f = old.userHook
	}
	return &netHook{first, f}
}

// afterNetConnect is pgx's AfterNetConnect.
func (h *netHook) afterNetConnect(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
	outer, inside := ctx.Value(netHookKey{}).(**netHook)
	if outer != nil {
		*outer = h
		return nil, nil
	}
	if inside { // another hook signs in, around a hook of the program's, which is around this one
		if h.userHook == nil {
			return conn, nil
		}
		return h.userHook(ctx, cfg, conn)
	}
	a := h.first
	if !a.config.CompareAndSwap(nil, cfg) && a.config.Load() != cfg {
		a = a.c.newAttempt()
	}
	return a.afterNetConnect(ctx, cfg, conn, h.userHook)
}

// afterNetConnect comes at the last moment before the server is sent anything.
func (a *attempt) afterNetConnect(ctx context.Context, cfg *pgconn.Config, conn net.Conn, userHook netConnectFunc) (net.Conn, error) {
	a.restore()                                   // after the host before
	if err := a.c.policy.check(cfg); err != nil { // it may have changed since it was prepared
		return conn, err
	}
	secured, err := a.secure(ctx, cfg, conn, userHook)
	a.host = hostOf(cfg, conn)
	if err != nil {
		return secured, err
	}
	t, err := a.hold(ctx, cfg.ConnectTimeout)
	if err != nil {
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
	if err := a.c.checkProtocol(cfg, conn); err != nil {
		connTraceFrom(ctx).recordFailure("tls", err)
		return conn, err
	}
	if userHook == nil {
		return conn, nil
	}
	wrapped, err := callNetHook(context.WithValue(ctx, netHookKey{}, (**netHook)(nil)), cfg, conn, userHook)
	cfg.Password = "" // the program's: what is sent is the token
	return wrapped, err
}

// callNetHook calls the program's own AfterNetConnect and refuses a connection that does
// not show that it is over conn.
func callNetHook(ctx context.Context, cfg *pgconn.Config, conn net.Conn, hook netConnectFunc) (net.Conn, error) {
	wrapped, err := hook(ctx, cfg, conn)
	if wrapped == nil {
		wrapped = conn // pgx closes it
	}
	if err == nil && !wraps(wrapped, conn) {
		given := "that it was given"
		if _, ok := conn.(*tls.Conn); ok {
			given = "with TLS"
		}
		err = newError(StepTLS, errors.New("AfterNetConnect returned a connection that is not over the one "+given), nil)
	}
	return wrapped, err
}

// install puts our hooks into the config.
func (a *attempt) install(cfg *pgconn.Config) {
	a.activeConfig = cfg
	a.original = hooksOf(cfg)
	ours := hooks{
		buildFrontend:   a.buildFrontend,
		validateConnect: a.validateConnect,
		onPgError:       a.onPgError,
		oauthToken:      a.oauthToken,
	}
	ours.setIn(cfg)
	cfg.User = a.role
}

// restore takes them out again: the config outlives the sign-in.
func (a *attempt) restore() {
	cfg := a.activeConfig
	if cfg == nil {
		return
	}
	a.activeConfig = nil
	a.original.setIn(cfg)
}

func (a *attempt) buildFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	a.filter = newAuthFilter(r, w, a.token.Value)
	return a.original.buildFrontend(a.filter, a.filter)
}

// oauthToken serves servers that request OAUTHBEARER (PostgreSQL 18): pgx uses the
// mechanism only where there is a provider. The authFilter replaces what it returns.
func (a *attempt) oauthToken(context.Context) (string, error) {
	if a.activeConfig == nil {
		return "", errors.New("the sign-in is over")
	}
	return bearerPlaceholder, nil
}

// onPgError handles an error of the server's during the sign-in. That ends it, whether
// the error is called fatal or not.
func (a *attempt) onPgError(conn *pgconn.PgConn, e *pgconn.PgError) bool {
	userHook := a.original.onPgError
	a.handleRejection(e)
	if userHook != nil {
		userHook(conn, e)
	}
	return false
}

// validateConnect is pgx's ValidateConnect: the server has accepted the token.
func (a *attempt) validateConnect(ctx context.Context, conn *pgconn.PgConn) error {
	userHook := a.original.validateConnect
	if a.filter != nil { // nil if the program has replaced our buildFrontend
		a.filter.finish()
	}
	a.restore()
	a.onSuccess()
	a.c.servers.SignedIn(conn.Conn(), conn.ParameterStatus("server_version"))
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
	a.filter = nil
	a.lastPgError = nil
	a.replacement = nil
}
