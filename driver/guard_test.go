package driver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// Whoever hooks in sees TLS that stands, and no password: not his host's, nor that of a
// host before, which took it and hung up.
func TestHandshakeComesFirst(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.rogue = func(s *fakeServer, conn net.Conn) {
			if secure := s.greet(conn); secure != nil {
				secure.Write(cleartext)
				io.ReadAtLeast(io.TeeReader(secure, s), make([]byte, 64<<10), 5)
			}
		}
	})
	seen := 0
	dsn := strings.Replace(s.dsn("sslrootcert="+s.certFile), "host=127.0.0.1", "host=127.0.0.1,127.0.0.1,127.0.0.1", 1)
	err := ping(t, dsn, WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			if !conn.(*tls.Conn).ConnectionState().HandshakeComplete || cfg.Password != "" {
				t.Errorf("the hook sees %q, over %+v", cfg.Password, conn.(*tls.Conn).ConnectionState())
			}
			seen++
			return conn, nil
		}
	}))
	if heard, _ := s.got(); err == nil || seen != 3 || strings.Count(heard, entratest.Marker) != 3 {
		t.Errorf("%v, seen %d times, heard %q", err, seen, heard)
	}
}

// The authLimiter is for the sign-in alone.
func TestSignedInIsNotBounded(t *testing.T) {
	entratest.CleanEnv(t)
	long := strings.Repeat("x", 3*maxAuthBytes)
	for name, limit := range map[string]func(*pgx.ConnConfig){
		"none":       func(*pgx.ConnConfig) {},
		"config's":   func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = 4 * maxAuthBytes },
		"frontend's": func(c *pgx.ConnConfig) { c.BuildFrontend = limited },
	} {
		s := newFakeServer(t, func(s *fakeServer) {
			s.reply = append(append([]pgproto3.BackendMessage(nil), welcome...), &pgproto3.NoticeResponse{Message: long}, &pgproto3.NoticeResponse{Message: long + long})
		})
		c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}), WithConnConfig(limit))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		pg := conn.(*stdlib.Conn).Conn().PgConn()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		m, err := pg.ReceiveMessage(ctx)
		if notice, ok := m.(*pgproto3.NoticeResponse); err != nil || !ok || notice.Message != long {
			t.Errorf("%T, %v", m, err)
		}
		for range 2 * maxAuthReplies { // more than a sign-in may be answered
			pg.Frontend().SendSync(&pgproto3.Sync{})
			if err := pg.Frontend().Flush(); err != nil {
				t.Error(err)
			}
		}
		m, err = pg.ReceiveMessage(ctx)
		if notice, ok := m.(*pgproto3.NoticeResponse); name == "none" && (err != nil || !ok || notice.Message != long+long) {
			t.Errorf("%T, %v", m, err)
		}
		if name != "none" && (err == nil || !strings.Contains(err.Error(), "invalid body length: expected at most 4194304")) {
			t.Errorf("the %s limit: %v", name, err)
		}
	}
}

// limited is a program's own frontend.
func limited(r io.Reader, w io.Writer) *pgproto3.Frontend {
	f := pgproto3.NewFrontend(r, w)
	f.SetMaxBodyLen(4 * maxAuthBytes)
	return f
}
