package driver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"
)

// Whoever hooks in sees TLS that stands, and no password: not his host's, nor that of a
// host before, which took it and hung up.
func TestHandshakeComesFirst(t *testing.T) {
	clean(t)
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
	err := ping(t, dsn, WithCredential(&fakeCredential{}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			if !conn.(*tls.Conn).ConnectionState().HandshakeComplete || cfg.Password != "" {
				t.Errorf("the hook sees %q, over %+v", cfg.Password, conn.(*tls.Conn).ConnectionState())
			}
			seen++
			return conn, nil
		}
	}))
	if heard, _ := s.got(); err == nil || seen != 3 || strings.Count(heard, marker) != 3 {
		t.Errorf("%v, seen %d times, heard %q", err, seen, heard)
	}
}

// The quota is for the sign-in alone.
func TestSignedInIsNotBounded(t *testing.T) {
	clean(t)
	long := strings.Repeat("x", 3*mostSaid)
	for name, limit := range map[string]func(*pgx.ConnConfig){
		"none":       func(*pgx.ConnConfig) {},
		"config's":   func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = 4 * mostSaid },
		"frontend's": func(c *pgx.ConnConfig) { c.BuildFrontend = limited },
	} {
		s := newFakeServer(t, func(s *fakeServer) {
			s.reply = append(append([]pgproto3.BackendMessage(nil), welcome...), &pgproto3.NoticeResponse{Message: long}, &pgproto3.NoticeResponse{Message: long + long})
		})
		c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&fakeCredential{}), WithConnConfig(limit))
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
		for range 2 * mostAsked { // more than a sign-in may be answered
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
	f.SetMaxBodyLen(4 * mostSaid)
	return f
}

// What looks like a token is printed nowhere, wherever it is cut.
func TestTokensAreMasked(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("abc", 1000) + "." + marker
	for _, s := range []string{token, "a " + token + " b", strings.Repeat("x", 1990) + " " + token, strings.Repeat("x", 3990) + " " + token, strings.Repeat(" ", 1990) + token, `{"t":"` + token + `"}`, token[:30], "\x1b" + token + "\n"} {
		for name, said := range map[string]string{"oneLine": oneLine(s), "printed": printed(s)} {
			if strings.Contains(said, "eyJ") || strings.Contains(said, marker) || len(s) < 3100 && !strings.Contains(said, masked) {
				t.Errorf("%s of %.50q: %.200q", name, s, said)
			}
		}
	}
	for _, s := range []string{"eyJ", "keyJob eyJoe", "say eyJ. now"} {
		if oneLine(s) != s || printed(s) != s {
			t.Errorf("%q is masked", s)
		}
	}
}

// What can be no token is presented to nobody, however it was come by.
func TestShape(t *testing.T) {
	clean(t)
	for value, want := range map[string]string{
		"": "holds no token", "a\x01b": "holds characters that no token has", "a\x7f": "holds characters", "ä": "holds characters",
		strings.Repeat("x", mostToken+1): "of which PostgreSQL takes 65534", strings.Repeat("x", mostToken): "", "~-._+/=": "",
	} {
		_, err := ask(sourceOf(opaquely(value)), t.Context())
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", value, err, want)
		}
		if value == "" {
			continue
		}
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (&fixed{file: path}).read(); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q in a file: %v, want %q", value, err, want)
		}
	}
	// In place of a refused token comes what is none: the refused one is kept.
	s := sourceOf(&fakeCredential{get: func(_ int64, claims string) (azcore.AccessToken, error) {
		if claims != "" {
			return azcore.AccessToken{Token: "a\nb", ExpiresOn: time.Now().Add(time.Hour)}, nil
		}
		return azcore.AccessToken{Token: "good", ExpiresOn: time.Now().Add(time.Hour)}, nil
	}})
	good, err := ask(s, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, f := s.newer(good, quiet)
	if next, err := f.Token(t.Context()); err != nil || next.value != "good" {
		t.Errorf("%+v, %v", next, err)
	}
}

// Errors that hold a token keep its words alone; others stay as they are.
func TestHush(t *testing.T) {
	plain := errors.New("plain")
	if hush(plain, "opaque-secret") != plain {
		t.Error("an error without a secret was changed")
	}
	if hush(plain, "ain") != plain {
		t.Error("what is too short for a secret was taken out")
	}
	if err := hush(errors.New("x opaque-secret eyJhbGciOiJub25lIn0.e30.sig y"), "opaque-secret"); err.Error() != "x xxxxx xxxxx y" {
		t.Errorf("got %v", err)
	}
}
