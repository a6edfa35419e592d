package main

import (
	"context"
	"flag"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// timeoutFlag defines -timeout with a default.
func timeoutFlag(f *flag.FlagSet, value time.Duration) {
	f.Duration("timeout", value, "`TIME` that a name server or the database server may take to answer, as in 30s;\nby default at least connect_timeout")
}

// networkTimeout returns an option that bounds each wait for the network: a firewall that
// drops packets and a server that never answers are common reasons to run doctor. It does
// not bound the token request, for which aad_token_timeout is there, because a person may
// have to sign in.
func (inv *invocation) networkTimeout() (driver.Option, error) {
	value := inv.flags.Lookup("timeout")
	timeout := value.Value.(flag.Getter).Get().(time.Duration)
	if timeout <= 0 {
		return nil, usageError("-timeout is not positive; write it as in -timeout 30s")
	}
	given := value.Value.String() != value.DefValue
	return driver.WithConnConfig(func(config *pgx.ConnConfig) {
		limit := timeout
		if !given {
			limit = max(limit, config.ConnectTimeout)
		}
		boundNetwork(config, limit)
	}), nil
}

func boundNetwork(config *pgx.ConnConfig, timeout time.Duration) {
	lookup := config.LookupFunc
	dialer := &net.Dialer{Timeout: timeout}
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return lookup(ctx, host)
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn, timeout: timeout}, nil
	}
}

// A boundedConn bounds each read and each write by a timeout, or by the deadline that is
// set if that comes first.
type boundedConn struct {
	net.Conn
	timeout time.Duration

	mu          sync.Mutex // guards what follows, and the order of changes to the deadlines of Conn
	read, write time.Time  // the deadlines that were set; zero for none
}

// NetConn returns the connection that c bounds.
func (c *boundedConn) NetConn() net.Conn { return c.Conn }

func (c *boundedConn) Read(p []byte) (int, error) {
	err := c.bound(c.Conn.SetReadDeadline, &c.read)
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *boundedConn) Write(p []byte) (int, error) {
	err := c.bound(c.Conn.SetWriteDeadline, &c.write)
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *boundedConn) bound(set func(time.Time) error, deadline *time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := time.Now().Add(c.timeout)
	if !deadline.IsZero() && deadline.Before(limit) {
		return nil
	}
	return set(limit)
}

func (c *boundedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	c.write = t
	return c.Conn.SetDeadline(t)
}

func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

func (c *boundedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}
