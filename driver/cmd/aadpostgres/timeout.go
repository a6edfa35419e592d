package main

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver"
)

// connectTimeout bounds dial and TLS handshake unless the DSN has a connect_timeout:
// a firewall that drops packets is a common reason to run doctor. It does not bound
// the token request, because a person may have to sign in for it.
var connectTimeout = driver.WithConnConfig(func(config *pgx.ConnConfig) {
	const timeout = 10 * time.Second
	if config.ConnectTimeout != 0 {
		return
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: timeout}
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return conn, conn.SetDeadline(time.Now().Add(timeout))
	}
	config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		return conn, conn.SetDeadline(time.Time{})
	}
})
