package driver

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A program that keeps the token provider of a sign-in gets no token from it afterwards.
func TestOAuthTokenEndsWithTheSignIn(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	var live *pgconn.Config
	var kept func(context.Context) (string, error)
	keep := func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			live = cfg
			return conn, nil
		}
		c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
			kept = live.OAuthTokenProvider
			return pgproto3.NewFrontend(r, w)
		}
	}
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}), WithConnConfig(keep))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if kept == nil {
		t.Fatal("the sign-in has no token provider, want one")
	}
	got, err := kept(t.Context())
	if err == nil || got != "" {
		t.Errorf("OAuthTokenProvider() = %q, %v, want no token and an error", got, err)
	}
}
