package driver

import (
	"context"
	"database/sql/driver"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// An attempt is one connect. The token is requested when it begins. It is presented only
// when the connection is known to be TLS.
type attempt struct {
	c           *Connector
	host        string       // of the current connection
	role        string       // who signs in; "" until the token is known
	token       *token.Token // what is presented; nil until it is known
	call        *token.Call  // the token request to wait for; nil if the token was there
	replacement *token.Call  // what may return another token after a rejection
	waitErr     error        // the time was up while a session waited for the token
	stopDial    func()       // ends the dial of further hosts; nil if nothing can

	config       atomic.Pointer[pgconn.Config] // pgx's own copy; nil until it has dialed
	activeConfig *pgconn.Config                // the same while it holds our hooks
	original     hooks                         // what our hooks in activeConfig replaced
	filter       *authFilter                   // of the current connection
	lastPgError  *pgconn.PgError               // the latest rejection that was handled
}

func (c *Connector) newAttempt() *attempt {
	a := &attempt{c: c}
	a.token, a.call = c.source.Token(observer{c})
	return a
}

// prepare hooks the attempt into config: pgx comes to it when it has dialed. The config
// outlives the attempt, as that of a connection, and may be used for others, each of which
// is an attempt by itself.
func (a *attempt) prepare(config *pgx.ConnConfig) {
	config.Password = ""
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	config.AfterNetConnect = newNetHook(a, config.AfterNetConnect).afterNetConnect
}

// callErr returns why the token request failed, as an *Error, and nil if it has not.
func (a *attempt) callErr() error {
	if a.call == nil {
		return nil
	}
	err := a.call.Err()
	if err == nil || a.call.Abandoned() {
		return nil
	}
	return a.c.baseContext.explainToken(err)
}

// wait returns the token to present. It is valid, however long a chain of hosts took.
func (a *attempt) wait(ctx context.Context) (*token.Token, error) {
	t := a.token
	call := a.call
	if call != nil {
		var err error
		t, err = call.Token(ctx)
		if err != nil {
			return nil, a.c.baseContext.explainToken(err)
		}
	}
	if !t.Valid(time.Now()) {
		t, call = a.c.source.Token(observer{a.c})
		if call != nil {
			var err error
			t, err = call.Token(ctx)
			if err != nil {
				return nil, a.c.baseContext.explainToken(err)
			}
		}
	}
	a.token = t
	return t, nil
}

// hold is wait while the server's session is open: it gives up after token.MaxHold, or a
// tenth of connect_timeout, which pgx counts from the dial of the host. Then no other host
// is dialed.
func (a *attempt) hold(ctx context.Context, connectTimeout time.Duration) (*token.Token, error) {
	a.waitErr = nil
	if a.call == nil && a.token.Valid(time.Now()) {
		return a.token, nil
	}
	limit := token.MaxHold
	if connectTimeout > 0 {
		limit = min(limit, connectTimeout/10)
	}
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t, err := a.wait(bound)
	if err == nil || bound.Err() == nil {
		return t, err
	}
	a.waitErr = err
	if a.stopDial != nil {
		a.stopDial()
	}
	return nil, err
}

// connect opens the connection. The caller that may overlap dials while it waits for the
// token. If the token is late, connect waits for it without a session, and then dials
// again from the first host. The other callers wait first. So neither a host nor its
// connect_timeout pays for the token.
func (a *attempt) connect(ctx context.Context) (driver.Conn, error) {
	if err := a.callErr(); err != nil {
		return nil, err
	}
	if a.call != nil && a.call.Overlap() {
		conn, err := a.overlap(ctx)
		if a.waitErr == nil || ctx.Err() != nil {
			return conn, a.rootCause(err)
		}
		a.config.Store(nil)
		a.stopDial = nil
		a.waitErr = nil
	}
	if _, err := a.wait(ctx); err != nil {
		return nil, err
	}
	config := *a.c.config
	conn, err := a.open(ctx, &config)
	return conn, a.rootCause(err)
}

// overlap opens the connection while the token request is under way. A request that fails
// ends the dial at once.
func (a *attempt) overlap(ctx context.Context) (driver.Conn, error) {
	ctx, stop := a.call.WithCancelOnFailure(ctx)
	defer stop()
	a.stopDial = stop
	config := *a.c.config
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := ctx.Err(); err != nil { // pgx goes on to the next host
			return nil, err
		}
		return dial(ctx, network, addr)
	}
	return a.open(ctx, &config)
}

func (a *attempt) open(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	a.prepare(config)
	return a.c.open(ctx, config)
}

// rootCause returns the token request's failure in the place of what it caused, and the
// wait for the token where pgx says of any deadline that the network was late.
func (a *attempt) rootCause(err error) error {
	if err == nil {
		return nil
	}
	if failed := a.callErr(); failed != nil {
		return failed
	}
	if a.waitErr != nil {
		return a.waitErr
	}
	return err
}
