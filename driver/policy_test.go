package driver

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// The audiences of a token for PostgreSQL, by cloud, and for Azure Cosmos DB.
const (
	publicAudience = "https://ossrdbms-aad.database.windows.net"
	usgovAudience  = "https://ossrdbms-aad.database.usgovcloudapi.net"
	chinaAudience  = "https://ossrdbms-aad.database.chinacloudapi.cn"
	cosmosAudience = "https://token.postgres.cosmos.azure.com"
)

// Neither a server without TLS nor one with a certificate that is not trusted receives any
// byte of the token, whatever sslmode is.
func TestNoTokenWithoutVerifiedTLS(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name   string
		change func(*fakeServer)
	}{
		{"without TLS", func(s *fakeServer) { s.tls = nil }},
		{"man in the middle", nil},
	} {
		for _, params := range []string{"", "sslmode=prefer", "sslmode=allow", "sslmode=require", "sslmode=verify-full"} {
			t.Run(tt.name+", "+cmp.Or(params, "no sslmode"), func(t *testing.T) {
				s := newFakeServer(t, tt.change)
				err := ping(t, s.dsn(params), WithCredential(&entratest.Credential{}))
				received := s.received.String()
				if strings.Contains(received, entratest.Marker) {
					t.Errorf("the server received %q, want no token", received)
				}
				if strings.Contains(received, "user") {
					t.Errorf("the server received %q, want no startup message", received)
				}
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("ping = %v, want an *Error", err)
				}
				if e.Step != StepTLS {
					t.Errorf("step = %q, want %q", e.Step, StepTLS)
				}
				if e.Hint == "" {
					t.Errorf("ping = %v, want a hint", err)
				}
			})
		}
	}
}

// A configuration by which a token could be sent unprotected is refused before the dial.
func TestPolicy(t *testing.T) {
	cred := WithCredential(&entratest.Credential{})
	for _, tt := range []struct {
		name, dsn, sslmode string
		opts               []Option
		want               string // in the error
	}{
		{name: "disable", dsn: "host=h user=u sslmode=disable", want: "remove sslmode=disable"},
		{name: "PGSSLMODE", dsn: "host=h user=u", sslmode: "disable", want: "(or PGSSLMODE)"},
		{name: "socket", dsn: "host=/tmp user=u sslmode=verify-full", want: "is a Unix socket"},
		{name: "second host a socket", dsn: "host=h,/tmp user=u", want: "is a Unix socket"},
		{name: "no host", dsn: "user=u", want: "no host is given; set host"},
		{name: "no host in plaintext", dsn: "user=u aad_insecure=plaintext", want: "no host is given"},
		{name: "no host unverified", dsn: "user=u aad_insecure=unverified", want: "no host is given"},
		{name: "another cloud's host", dsn: "host=a.postgres.database.azure.com,b.postgres.database.usgovcloudapi.net user=u", want: "is in cloud usgov, but the token is for cloud public"},
		{name: "option without verification", dsn: "host=h user=u", opts: []Option{WithTLSConfig(&tls.Config{InsecureSkipVerify: true})}, want: "would not be verified"},
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
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("ping = %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("ping = %q, want one line", err)
			}
		})
	}
}

// A config that is changed after NewConnector is subject to the same policy.
func TestPolicyIsCheckedForEveryConnection(t *testing.T) {
	entratest.CleanEnv(t)
	c := newConnector(t, "host=h user=u", WithCredential(&entratest.Credential{}))
	config := c.Config()
	config.TLSConfig = nil
	err := c.BeforeConnect(t.Context(), config)
	if want := "without TLS"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("BeforeConnect() = %v, want %q in it", err, want)
	}
}

// A config that is changed between BeforeConnect and the connect is too.
func TestPolicyIsCheckedLast(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name   string
		change func(*pgx.ConnConfig)
		want   string // in the error
	}{
		{name: "no verification", change: func(c *pgx.ConnConfig) { c.TLSConfig.InsecureSkipVerify = true }, want: "would not be verified"},
		{name: "fallback without TLS", change: func(c *pgx.ConnConfig) {
			c.TLSConfig.InsecureSkipVerify = true
			c.TLSConfig.VerifyConnection = func(tls.ConnectionState) error { return nil }
			c.Fallbacks = []*pgconn.FallbackConfig{{Host: "127.0.0.1", Port: c.Port}}
		}, want: "without TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, nil)
			c := newConnector(t, s.dsn(""), WithCredential(&entratest.Credential{}))
			config := c.Config()
			if err := c.BeforeConnect(t.Context(), config); err != nil {
				t.Fatalf("BeforeConnect() = %v", err)
			}
			tt.change(config)
			_, err := pgx.ConnectConfig(t.Context(), config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ConnectConfig() = %v, want %q in it", err, tt.want)
			}
			if received := s.received.String(); strings.Contains(received, entratest.Marker) {
				t.Errorf("the server received %q, want no token", received)
			}
		})
	}
}

// A server whose certificate is trusted receives the token once, over one connection,
// whatever sslmode is.
func TestVerifiedTLS(t *testing.T) {
	entratest.CleanEnv(t)
	for _, params := range []string{"", "sslmode=prefer", "sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"} {
		t.Run(cmp.Or(params, "no sslmode"), func(t *testing.T) {
			s := newFakeServer(t, nil)
			if err := ping(t, s.trustedDSN(params), WithCredential(&entratest.Credential{})); err != nil {
				t.Errorf("ping = %v, want no error", err)
			}
			if got := strings.Count(s.received.String(), entratest.Marker); got != 1 {
				t.Errorf("the server received the token %d times, want once", got)
			}
			if got := s.connections(); got != 1 {
				t.Errorf("connections = %d, want 1", got)
			}
		})
	}
	t.Run("WithTLSConfig", func(t *testing.T) {
		s := newFakeServer(t, nil)
		cert, err := os.ReadFile(s.certFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		if err := ping(t, s.dsn(""), WithCredential(&entratest.Credential{}), WithTLSConfig(&tls.Config{RootCAs: roots})); err != nil {
			t.Errorf("ping = %v, want no error", err)
		}
	})
}

// A server whose certificate is for another name receives no token, whatever sslmode is.
// With a root, pgx alone would not compare the name in these modes.
func TestWrongName(t *testing.T) {
	entratest.CleanEnv(t)
	for _, params := range []string{"", "sslmode=allow", "sslmode=prefer", "sslmode=require"} {
		t.Run(cmp.Or(params, "no sslmode"), func(t *testing.T) {
			s := newFakeServer(t, nil)
			dsn := strings.Replace(s.trustedDSN(params), "127.0.0.1", "localhost", 1)
			err := ping(t, dsn, WithCredential(&entratest.Credential{}))
			if want := "the certificate is for example.com"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ping = %v, want %q in it", err, want)
			}
			if received := s.received.String(); strings.Contains(received, entratest.Marker) {
				t.Errorf("the server received %q, want no token", received)
			}
		})
	}
}

// aad_insecure permits what it names, and no more.
func TestInsecure(t *testing.T) {
	entratest.CleanEnv(t)
	withoutTLS := func(s *fakeServer) { s.tls = nil }
	for _, tt := range []struct {
		name, params string
		change       func(*fakeServer)
		fails        bool
	}{
		{name: "plaintext", params: "sslmode=disable aad_insecure=plaintext", change: withoutTLS},
		{name: "unverified", params: "aad_insecure=unverified"},
		{name: "unverified does not fall back to plaintext", params: "aad_insecure=unverified sslmode=prefer", change: withoutTLS, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, tt.change)
			err := ping(t, s.dsn(tt.params), WithCredential(&entratest.Credential{}))
			if failed := err != nil; failed != tt.fails {
				t.Errorf("ping = %v, want an error: %t", err, tt.fails)
			}
		})
	}
}

// verify-ca without a root would accept every publicly trusted certificate, so the name is
// verified too.
func TestVerifyCANeedsARoot(t *testing.T) {
	entratest.CleanEnv(t)
	ca := newFakeServer(t, nil).certFile
	for _, tt := range []struct {
		name, params string
		verifyFull   bool
	}{
		{name: "no root", params: "sslmode=verify-ca", verifyFull: true},
		{name: "root", params: "sslmode=verify-ca sslrootcert=" + entratest.Quote(ca)},
		{name: "unverified", params: "sslmode=verify-ca aad_insecure=unverified"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newConnector(t, "host=h user=u "+tt.params, WithCredential(&entratest.Credential{})).Config().TLSConfig
			if want := !tt.verifyFull; got.InsecureSkipVerify != want {
				t.Errorf("InsecureSkipVerify = %t, want %t", got.InsecureSkipVerify, want)
			}
			if tt.verifyFull && got.ServerName != "h" {
				t.Errorf("ServerName = %q, want %q", got.ServerName, "h")
			}
		})
	}
}

// A token that names another cloud than the host's is not presented to the host, whatever
// the token's source. A token or a host that names no cloud is not compared.
func TestTokenOfAnotherCloud(t *testing.T) {
	entratest.CleanEnv(t)
	const (
		publicHost = "a.postgres.database.azure.com"
		usgovHost  = "a.postgres.database.usgovcloudapi.net"
	)
	for _, tt := range []struct {
		name, host string
		audience   any
		fails      bool
	}{
		{name: "same cloud", host: publicHost, audience: publicAudience},
		{name: "same cloud, with a slash", host: publicHost, audience: publicAudience + "/"},
		{name: "same cloud, in a list", host: publicHost, audience: []string{publicAudience}},
		{name: "application ID", host: publicHost, audience: "123cd850-d9df-40bd-94d5-c9f07b7fa203"},
		{name: "usgov token, public host", host: publicHost, audience: usgovAudience, fails: true},
		{name: "china token in a list, public host", host: publicHost, audience: []string{"x", chinaAudience}, fails: true},
		{name: "public token, usgov host", host: usgovHost, audience: publicAudience, fails: true},
		{name: "Cosmos DB token, usgov host", host: usgovHost, audience: cosmosAudience, fails: true},
		{name: "host of no cloud", host: "db.example.com", audience: usgovAudience},
		{name: "no audience", host: publicHost},
		{name: "audience is a number", host: publicHost, audience: 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			jwt := entratest.JWT(map[string]any{"aud": tt.audience})
			presented := token.New(token.Response{Value: jwt, ExpiresOn: time.Now().Add(time.Hour)}, time.Now(), 0)
			err := checkToken(presented, []string{"10.0.0.1", tt.host})
			if failed := err != nil; failed != tt.fails {
				t.Errorf("checkToken() = %v, want an error: %t", err, tt.fails)
			}
			if err != nil && strings.Contains(err.Error(), jwt) {
				t.Errorf("checkToken() = %v, want no token in it", err)
			}
		})
	}
	t.Run("connect", func(t *testing.T) {
		s := newFakeServer(t, nil)
		jwt := entratest.JWT(map[string]any{"aud": usgovAudience})
		host := "example.com.postgres.database.azure.com"
		dsn := strings.Replace(s.trustedDSN("aad_auth=access-token password="+jwt), "host=127.0.0.1", "host="+host, 1)
		err := ping(t, dsn, WithTLSConfig(&tls.Config{ServerName: "127.0.0.1"}), resolveTo(map[string]*fakeServer{host: s}))
		if want := "the token is for cloud usgov"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ping = %v, want %q in it", err, want)
		}
		if received := s.received.String(); strings.Contains(received, jwt) {
			t.Errorf("the server received %q, want no token", received)
		}
		if got := s.connections(); got == 0 {
			t.Error("connections = 0, want at least one")
		}
	})
}

// servesDirectTLS makes s accept TLS without a negotiation. Its configuration is direct.
func servesDirectTLS(direct *tls.Config) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		config := direct
		stream := &prefixed{conn, io.MultiReader(bytes.NewReader(first), conn)}
		if first[0] == 0 {
			config = s.tls
			io.ReadFull(stream, make([]byte, 8))
			conn.Write([]byte("S"))
		}
		t := tls.Server(stream, config)
		if t.Handshake() != nil {
			return
		}
		rw := s.record(t)
		backend := pgproto3.NewBackend(rw, rw)
		if _, err := backend.ReceiveStartupMessage(); err == nil {
			s.authenticate(rw, backend)
		}
	}
}

// A prefixed is a connection that is read through another reader.
type prefixed struct {
	net.Conn
	r io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

// A server that is begun with TLS and does not name PostgreSQL's protocol is sent nothing:
// it may be a server of another protocol with the same certificate.
func TestDirectTLSNeedsTheProtocol(t *testing.T) {
	entratest.CleanEnv(t)
	version18 := append([]pgproto3.BackendMessage{&pgproto3.ParameterStatus{Name: "server_version", Value: "18.4"}}, authOK...)
	version18[0], version18[1] = version18[1], version18[0] // after AuthenticationOk
	rows := []struct {
		name, params string
		opts         []Option
		want         string // a part of the error of the second connect; "" for none
	}{
		{"direct", "sslnegotiation=direct", []Option{WithCredential(&entratest.Credential{})}, "without the protocol"},
		{"direct, password", "sslnegotiation=direct sslmode=verify-full aad_auth=password password=s3cr3t", nil, "without the protocol"},
		{"auto", "sslnegotiation=auto", []Option{WithCredential(&entratest.Credential{})}, ""},
		{"auto, password", "sslnegotiation=auto sslmode=verify-full aad_auth=password password=s3cr3t", nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				nameless := s.tls.Clone()
				s.tls.NextProtos = []string{"postgresql"}
				s.reply = version18
				s.misbehave = servesDirectTLS(nameless)
			})
			c := newConnector(t, s.trustedDSN(row.params), row.opts...)
			for range 2 {
				conn, err := c.Connect(t.Context())
				if err == nil {
					conn.Close()
				}
				if row.want == "" && err != nil {
					t.Errorf("Connect = %v, want that it negotiates", err)
				}
				if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
					t.Errorf("Connect = %v, want %q in it", err, row.want)
				}
			}
			s.waitUntilClosed()
			if got := s.received.String(); row.want != "" && got != "" {
				t.Errorf("the server received %q, want nothing", got)
			}
			if got, want := s.connections(), 3; row.want == "" && got != want { // two, and one that is not used
				t.Errorf("connections = %d, want %d", got, want)
			}
		})
	}
}
