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

// An attempt is one connect. The token is requested when it begins, while pgx resolves
// names, dials and negotiates TLS. It is put into the config only when the connection is
// known to be TLS, and taken out as soon as the server has judged it.
type attempt struct {
	c           *Connector
	host        string       // of the current connection
	role        string       // who signs in; "" until the token is known
	token       *token.Token // what is presented; nil until it is known
	call        *token.Call  // the token request to wait for; nil if the token was there
	replacement *token.Call  // what may return another token after a rejection
	waitErr     error        // the caller's time was up while it waited for the token

	config       atomic.Pointer[pgconn.Config] // pgx's own copy; nil until it has dialed
	activeConfig *pgconn.Config                // the same while it holds the token and our hooks
	original     hooks                         // what our hooks in activeConfig replaced
	limiter      *authLimiter                  // of the current connection
	lastPgError  *pgconn.PgError               // the latest rejection that was handled
}

func (c *Connector) newAttempt() *attempt {
	a := &attempt{c: c}
	a.token, a.call = c.source.Token(observer{c})
	return a
}

// prepareAttempt begins an attempt and hooks it into config: pgx comes to it when it has
// dialed. The config outlives the attempt, as that of a connection, and may be used for
// others, each of which is an attempt of its own.
func (c *Connector) prepareAttempt(config *pgx.ConnConfig) (*attempt, error) {
	if err := c.policy.check(&config.Config); err != nil {
		return nil, err
	}
	first := c.newAttempt()
	if err := first.callErr(); err != nil {
		return nil, err
	}
	config.Password = ""
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	userHook := config.AfterNetConnect
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		a := first
		if !a.config.CompareAndSwap(nil, cfg) && a.config.Load() != cfg {
			a = c.newAttempt()
		}
		return a.afterNetConnect(ctx, cfg, conn, userHook)
	}
	return first, nil
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

// connect opens the connection. A token request that fails ends it at once, and its
// error is the connect's.
func (a *attempt) connect(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	if a.call == nil {
		conn, err := a.c.open(ctx, config)
		return conn, a.rootCause(err)
	}
	ctx, stop := a.call.WithCancelOnFailure(ctx)
	defer stop()
	conn, err := a.c.open(ctx, config)
	return conn, a.rootCause(err)
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
