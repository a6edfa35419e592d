package driver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// Against a server without TLS, and against a man in the middle with a
// certificate of his own, no byte of the token leaves, whatever sslmode says.
func TestNoTokenWithoutVerifiedTLS(t *testing.T) {
	entratest.CleanEnv(t)
	for name, change := range map[string]func(*fakeServer){
		"without TLS":       func(s *fakeServer) { s.tls = nil },
		"man in the middle": nil,
	} {
		for _, params := range []string{"", "sslmode=prefer", "sslmode=allow", "sslmode=require", "sslmode=verify-full"} {
			t.Run(name+" "+params, func(t *testing.T) {
				s := newFakeServer(t, change)
				err := ping(t, s.dsn(params), WithCredential(&entratest.Credential{}))
				var e *Error
				if !errors.As(err, &e) || e.Step != StepTLS || e.Hint == "" {
					t.Errorf("got %v, want an error of step tls with a hint", err)
				}
				heard, _ := s.got()
				if strings.Contains(heard, entratest.Marker) || strings.Contains(heard, "user") {
					t.Errorf("the server heard %q", heard)
				}
			})
		}
	}
}

// What would let a token travel unprotected is refused before the dial.
func TestPolicy(t *testing.T) {
	cred := WithCredential(&entratest.Credential{})
	skip := &tls.Config{InsecureSkipVerify: true}
	for _, tt := range []struct {
		name, dsn, sslmode, want string
		opts                     []Option
	}{
		{name: "disable", dsn: "host=h user=u sslmode=disable", want: "remove sslmode=disable"},
		{name: "PGSSLMODE", dsn: "host=h user=u", sslmode: "disable", want: "(or PGSSLMODE)"},
		{name: "socket", dsn: "host=/tmp user=u sslmode=verify-full", want: "is a Unix socket"},
		{name: "second host a socket", dsn: "host=h,/tmp user=u", want: "is a Unix socket"},
		{name: "no host", dsn: "user=u", want: "no host is given; set host"},
		{name: "no host in plaintext", dsn: "user=u aad_insecure=plaintext", want: "no host is given"},
		{name: "no host unverified", dsn: "user=u aad_insecure=unverified", want: "no host is given"},
		{name: "another cloud's host", dsn: "host=a.postgres.database.azure.com,b.postgres.database.usgovcloudapi.net user=u", want: "is in cloud usgov, but the token is for cloud public"},
		{name: "option without verification", dsn: "host=h user=u", opts: []Option{WithTLSConfig(skip)}, want: "would not be verified"},
		{name: "option without TLS", dsn: "host=h user=u", opts: []Option{WithConnConfig(func(c *pgx.ConnConfig) { c.TLSConfig = nil })}, want: "without TLS"},
		{name: "option with a fallback", dsn: "host=h user=u", opts: []Option{WithConnConfig(func(c *pgx.ConnConfig) {
			c.Fallbacks = append(c.Fallbacks, &pgconn.FallbackConfig{Host: "h"})
		})}, want: "without TLS"},
		{name: "unverified still wants TLS", dsn: "host=h user=u sslmode=disable aad_insecure=unverified", want: "without TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("PGSSLMODE", tt.sslmode)
			err := ping(t, tt.dsn, append([]Option{cred}, tt.opts...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A hook of pgx that is set after NewConnector meets the same policy.
func TestPolicyIsCheckedForEveryConnection(t *testing.T) {
	entratest.CleanEnv(t)
	c, err := NewConnector("host=h user=u", WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	config := c.Config()
	config.TLSConfig = nil
	if err := c.BeforeConnect(t.Context(), config); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("got %v", err)
	}
}

// Even what is changed between BeforeConnect and the connect.
func TestPolicyIsCheckedLast(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c, err := NewConnector(s.dsn(""), WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*pgx.ConnConfig){
		"would not be verified": func(c *pgx.ConnConfig) { c.TLSConfig.InsecureSkipVerify = true },
		"without TLS": func(c *pgx.ConnConfig) {
			c.TLSConfig.InsecureSkipVerify, c.TLSConfig.VerifyConnection = true, func(tls.ConnectionState) error { return nil }
			c.Fallbacks = []*pgconn.FallbackConfig{{Host: "127.0.0.1", Port: c.Port}}
		},
	} {
		config := c.Config()
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		change(config)
		_, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if heard, _ := s.got(); strings.Contains(heard, entratest.Marker) {
		t.Error("the token left")
	}
}

func TestVerifiedTLS(t *testing.T) {
	entratest.CleanEnv(t)
	for _, params := range []string{"", "sslmode=prefer", "sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"} {
		s := newFakeServer(t, nil)
		if err := ping(t, s.dsn(params+" sslrootcert="+s.certFile), WithCredential(&entratest.Credential{})); err != nil {
			t.Errorf("%q: %v", params, err)
		}
		if heard, conns := s.got(); strings.Count(heard, entratest.Marker) != 1 || conns != 1 {
			t.Errorf("%q: the token arrived %d times over %d connections", params, strings.Count(heard, entratest.Marker), conns)
		}
	}
	s := newFakeServer(t, nil)
	cert, err := os.ReadFile(s.certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	if err := ping(t, s.dsn(""), WithCredential(&entratest.Credential{}), WithTLSConfig(&tls.Config{RootCAs: roots})); err != nil {
		t.Errorf("WithTLSConfig: %v", err)
	}
}

func TestWrongName(t *testing.T) {
	entratest.CleanEnv(t)
	for _, params := range []string{"", " sslmode=allow", " sslmode=prefer", " sslmode=require"} { // a root alone would make pgx verify less
		s := newFakeServer(t, nil)
		dsn := strings.Replace(s.dsn("sslrootcert="+s.certFile+params), "127.0.0.1", "localhost", 1)
		err := ping(t, dsn, WithCredential(&entratest.Credential{}))
		if err == nil || !strings.Contains(err.Error(), "the certificate is for example.com") {
			t.Errorf("%q: got %v", params, err)
		}
		if heard, _ := s.got(); strings.Contains(heard, entratest.Marker) {
			t.Errorf("%q: the token left", params)
		}
	}
}

func TestInsecure(t *testing.T) {
	entratest.CleanEnv(t)
	plain := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
	if err := ping(t, plain.dsn("sslmode=disable aad_insecure=plaintext"), WithCredential(&entratest.Credential{})); err != nil {
		t.Error(err)
	}
	unverified := newFakeServer(t, nil)
	if err := ping(t, unverified.dsn("aad_insecure=unverified"), WithCredential(&entratest.Credential{})); err != nil {
		t.Error(err)
	}
	refusing := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
	if err := ping(t, refusing.dsn("aad_insecure=unverified sslmode=prefer"), WithCredential(&entratest.Credential{})); err == nil {
		t.Error("unverified fell back to plaintext")
	}
}

// Once TLS stands, a refusal must not cause a second, plaintext try; and a
// sign-in that failed is not driver.ErrBadConn, for which database/sql asks
// three times.
func TestRefusedOnce(t *testing.T) {
	entratest.CleanEnv(t)
	for _, code := range []string{"28000", "28P01", "53300", "57P03"} {
		s := newFakeServer(t, func(s *fakeServer) {
			s.reply = []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "no\x1b[31m\nway"}}
		})
		err := ping(t, s.dsn("sslmode=prefer sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}))
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != code || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("got %q", err)
		}
		if _, conns := s.got(); conns != 1 {
			t.Errorf("%s: %d connections", code, conns)
		}
	}
}

// A server that asks for a hash of the token, or for nothing, gets none.
func TestRequireAuth(t *testing.T) {
	entratest.CleanEnv(t)
	for name, auth := range map[string]pgproto3.BackendMessage{
		"md5":   &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}},
		"scram": &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}},
		"none":  nil,
	} {
		s := newFakeServer(t, func(s *fakeServer) { s.auth = auth })
		err := ping(t, s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}))
		var e *Error
		if !errors.As(err, &e) || e.Step != StepSignIn || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if heard, _ := s.got(); strings.Contains(heard, "md5") || strings.Contains(heard, "SCRAM") {
			t.Errorf("%s: the server heard %q", name, heard)
		}
	}
}

// pgx keeps the password in ConnectError.Config, and the config in Conn.
func TestTokenIsTakenOutOfErrors(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.reply = []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no"}}
	})
	err := ping(t, s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}))
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) || connect.Config.Password != "" {
		t.Errorf("got %v with password %q", err, connect.Config.Password)
	}
}

// The last gate: whatever way a connection came about, without TLS it gets no
// password.
func TestPlainConnectionGetsNoPassword(t *testing.T) {
	entratest.CleanEnv(t)
	c, err := NewConnector("host=h user=u", WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	plain, other := net.Pipe()
	defer plain.Close()
	defer other.Close()
	conn, err := config.AfterNetConnect(t.Context(), &config.Config, plain)
	if conn == nil || err == nil || !strings.Contains(err.Error(), "is not TLS") || config.Password != "" {
		t.Errorf("got %v, %v and password %q", conn, err, config.Password)
	}
}

// Once signed in, the connection's config holds the token no longer.
func TestTokenIsTakenOutOfConnections(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.(*stdlib.Conn).Conn().Config().Password; p != "" {
		t.Errorf("the config holds %q", p)
	}
}

// verify-ca without a root would take any publicly trusted certificate, so the
// name counts too.
func TestVerifyCANeedsARoot(t *testing.T) {
	entratest.CleanEnv(t)
	ca := newFakeServer(t, nil).certFile
	for params, full := range map[string]bool{"sslmode=verify-ca": true, "sslmode=verify-ca sslrootcert=" + ca: false, "sslmode=verify-ca aad_insecure=unverified": false} {
		c, err := NewConnector("host=h user=u "+params, WithCredential(&entratest.Credential{}))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Config().TLSConfig; got.InsecureSkipVerify == full || full && got.ServerName != "h" {
			t.Errorf("%s: %+v", params, got)
		}
	}
}

// What the option's TLS leaves empty is the DSN's.
func TestTLSOptionKeepsTheDSNs(t *testing.T) {
	entratest.CleanEnv(t)
	ca := newFakeServer(t, nil).certFile
	c, err := NewConnector("host=h user=u sslnegotiation=direct sslrootcert="+ca, WithCredential(&entratest.Credential{}), WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Config().TLSConfig; got.RootCAs == nil || len(got.NextProtos) == 0 || got.ServerName != "h" || got.MinVersion != tls.VersionTLS13 {
		t.Errorf("%+v", got)
	}
}
