package driver

import (
	"context"
	"database/sql/driver"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An attempt is one connect. The token is asked for when it begins, while pgx
// looks up, dials and negotiates TLS; it is put into the config only once the
// connection is seen to be TLS, and taken out as soon as the server has judged.
type attempt struct {
	c      *Connector
	host   string  // the one spoken to
	user   string  // who signs in; "" until the token tells
	token  *token  // what is presented; nil until it is known
	flight *flight // the request to wait for; nil if the token was there
	next   *flight // what may bring another token after a refusal
	late   error   // the caller's time ended while it waited for the token

	config atomic.Pointer[pgconn.Config] // pgx's own copy; nil until it has dialled
	live   *pgconn.Config                // the same while it holds the password and our hooks
	hooks  hooks                         // what our hooks in live took the place of
	quota  *quota                        // of the server spoken to
	told   *pgconn.PgError               // the refusal that was looked at last
}

func (c *Connector) attempt(user string) *attempt {
	a := &attempt{c: c, user: user}
	a.token, a.flight = c.tokens.get(c.log)
	return a
}

// begin begins an attempt and hangs it into config: pgx comes to it when it has
// dialled. The config outlives the attempt, as that of a connection, and may be used
// for others, each of which is an attempt of its own.
func (c *Connector) begin(config *pgx.ConnConfig) (*attempt, error) {
	if err := c.guard.check(&config.Config); err != nil {
		return nil, err
	}
	user := config.User
	first := c.attempt(user)
	if first.flight != nil && first.flight.failure() != nil {
		return nil, first.flight.failure()
	}
	config.Password = ""
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	own := config.AfterNetConnect
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		a := first
		if !a.config.CompareAndSwap(nil, cfg) && a.config.Load() != cfg {
			a = c.attempt(user)
		}
		return a.gate(ctx, cfg, conn, own)
	}
	return first, nil
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

// bindDial ends the dial of those who connect by themselves if the token request
// fails.
func (f *flight) bindDial(config *pgx.ConnConfig) {
	lookup, dial := config.LookupFunc, config.DialFunc
	config.LookupFunc = func(ctx context.Context, host string) (addrs []string, err error) {
		err = f.during(ctx, func(ctx context.Context) (err error) {
			addrs, err = lookup(ctx, host)
			return err
		})
		return addrs, err
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = f.during(ctx, func(ctx context.Context) (err error) {
			conn, err = dial(ctx, network, addr)
			return err
		})
		return conn, err
	}
}
