package driver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

// withHosts returns dsn with its host given n times.
func withHosts(dsn string, n int) string {
	const host = "127.0.0.1"
	return strings.Replace(dsn, "host="+host, "host="+strings.Repeat(host+",", n-1)+host, 1)
}

// A passwordTracer records each password, and each error, that pgx shows to its tracer.
type passwordTracer struct{ seen string }

func (tr *passwordTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (tr *passwordTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (tr *passwordTracer) TraceConnectStart(ctx context.Context, d pgx.TraceConnectStartData) context.Context {
	tr.seen += d.ConnConfig.Password
	return ctx
}

func (tr *passwordTracer) TraceConnectEnd(_ context.Context, d pgx.TraceConnectEndData) {
	var connect *pgconn.ConnectError
	if errors.As(d.Err, &connect) {
		tr.seen += connect.Config.Password
	}
	if d.Conn != nil {
		tr.seen += d.Conn.Config().Password
	}
	tr.seen += fmt.Sprint(d.Err)
}

// A wrappedConn wraps a connection as crypto/tls does.
type wrappedConn struct{ net.Conn }

func (w *wrappedConn) NetConn() net.Conn { return w.Conn }

// The program's own AfterNetConnect sees no token. The connection that it returns must be
// over the TLS connection that was verified.
func TestUsersHook(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name string
		hook func(net.Conn) net.Conn
		want string // in the error; "": it connects
	}{
		{name: "wraps TLS", hook: func(c net.Conn) net.Conn { return &wrappedConn{c} }},
		{name: "takes TLS off", hook: func(c net.Conn) net.Conn { return c.(*tls.Conn).NetConn() }, want: "is not over the one with TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, nil)
			err := ping(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
				c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
					if cfg.Password != "" {
						t.Errorf("the hook sees password %q, want none", cfg.Password)
					}
					return tt.hook(conn), nil
				}
			}))
			if tt.want == "" {
				if err != nil {
					t.Errorf("ping = %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ping = %v, want %q in it", err, tt.want)
			}
			if received := s.received.String(); strings.Contains(received, entratest.Marker) {
				t.Errorf("the server received %q, want no token", received)
			}
		})
	}
}

// The program's own hook runs before the token is set, and sees no password: neither the
// one that it set itself, nor the token that the host before was sent.
func TestHookSeesNoPassword(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		// Not an error of the server's, on which the token would be taken out.
		s.verdict = rejectFirstConnection([]pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}})
	})
	var seen []string
	err := ping(t, withHosts(s.trustedDSN(""), 2), WithCredential(&entratest.Credential{}), WithConnConfig(func(config *pgx.ConnConfig) {
		config.Password = "hunter2"
		config.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			seen = append(seen, cfg.Password)
			return conn, nil
		}
	}))
	if err != nil {
		t.Errorf("ping = %v, want no error", err)
	}
	if got, want := fmt.Sprintf("%q", seen), `["" ""]`; got != want {
		t.Errorf("the hook saw passwords %s, want %s", got, want)
	}
}

// After BeforeConnect the config has no password that a tracer or a dial function could
// see.
func TestBeforeConnectDropsThePassword(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	config := c.Config()
	config.Password = "hunter2"
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatalf("BeforeConnect() = %v", err)
	}
	if config.Password != "" {
		t.Errorf("password = %q, want none", config.Password)
	}
}

// The program's own hook sees a TLS handshake that is complete, and no password, also
// after a host that took the token and closed the connection.
func TestHandshakeComesFirst(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.misbehave = func(s *fakeServer, conn net.Conn) {
			secure := s.readStartup(conn)
			if secure == nil {
				return
			}
			secure.Write(cleartextRequest)
			io.ReadAtLeast(io.TeeReader(secure, &s.received), make([]byte, 64<<10), 5)
		}
	})
	calls := 0
	err := ping(t, withHosts(s.trustedDSN(""), 3), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			calls++
			if !conn.(*tls.Conn).ConnectionState().HandshakeComplete {
				t.Error("the hook sees a TLS handshake that is not complete")
			}
			if cfg.Password != "" {
				t.Errorf("the hook sees password %q, want none", cfg.Password)
			}
			return conn, nil
		}
	}))
	if err == nil {
		t.Error("ping succeeded, want an error")
	}
	if calls != 3 {
		t.Errorf("calls of the hook = %d, want 3", calls)
	}
	if got := strings.Count(s.received.String(), entratest.Marker); got != 3 {
		t.Errorf("the server received the token %d times, want 3", got)
	}
}

// A host that signs in but does not suit is passed over. No host's error holds the token,
// and all hosts get the same.
func TestChainOfHosts(t *testing.T) {
	entratest.CleanEnv(t)
	cred := &entratest.Credential{}
	s := newFakeServer(t, nil)
	trace := &passwordTracer{}
	err := ping(t, withHosts(s.trustedDSN(""), 3), WithCredential(cred), WithConnConfig(func(c *pgx.ConnConfig) {
		c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return errors.New("not this one") }
		c.Tracer = trace
	}))
	if err == nil {
		t.Fatal("ping succeeded, want an error")
	}
	if strings.Contains(err.Error(), entratest.Marker) {
		t.Errorf("ping = %v, want no token in it", err)
	}
	if strings.Contains(trace.seen, entratest.Marker) {
		t.Errorf("the tracer saw %q, want no token", trace.seen)
	}
	if got := s.connections(); got != 3 {
		t.Errorf("connections = %d, want 3", got)
	}
	if got := strings.Count(s.received.String(), entratest.Marker); got != 3 {
		t.Errorf("the server received the token %d times, want 3", got)
	}
	if got := cred.Calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1", got)
	}
}

// pgx tells its hooks the name of the first host only. The user's suffix is that of the
// host which is connected to.
func TestUserSuffixIsTheConnectedHosts(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	dsn := "host=gone,b.example.com user=me connect_timeout=5 aad_server_type=single sslrootcert=" + s.certFile
	err := ping(t, dsn, WithCredential(credentialWith(map[string]any{"aud": publicAudience})), resolveTo(map[string]*fakeServer{"b.example.com": s}))
	if err != nil {
		t.Fatalf("ping = %v, want no error", err)
	}
	if got, want := s.received.String(), "user\x00me@b\x00"; !strings.Contains(got, want) {
		t.Errorf("the server received %q, want %q in it", got, want)
	}
}

// The token's cloud is compared with that of the host which is connected to, also if that
// is not the first.
func TestLaterHosts(t *testing.T) {
	entratest.CleanEnv(t)
	const host = "x.postgres.database.chinacloudapi.cn"
	s := newFakeServer(t, nil)
	dsn := "host=gone," + host + " user=me connect_timeout=5 aad_insecure=unverified"
	err := ping(t, dsn, WithCredential(credentialWith(map[string]any{"aud": publicAudience})), resolveTo(map[string]*fakeServer{host: s}))
	if want := "the token is for cloud public"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("ping = %v, want %q in it", err, want)
	}
	if received := s.received.String(); strings.Contains(received, entratest.Marker) {
		t.Errorf("the server received %q, want no token", received)
	}
}

// A server that requests a hash of the token, or no authentication, gets no answer and no
// session.
func TestRequireAuth(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name    string
		request pgproto3.BackendMessage
	}{
		{"MD5", &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}}},
		{"SCRAM", &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}},
		{"none", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.authRequest = tt.request })
			err := ping(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("ping = %v, want an *Error", err)
			}
			if e.Step != StepSignIn {
				t.Errorf("step = %q, want %q", e.Step, StepSignIn)
			}
			if e.Hint == "" {
				t.Errorf("ping = %v, want a hint", err)
			}
			for _, hash := range []string{"md5", "SCRAM"} {
				if received := s.received.String(); strings.Contains(received, hash) {
					t.Errorf("the server received %q, want no %q in it", received, hash)
				}
			}
		})
	}
}

// A server that requests OAUTHBEARER gets the token by that mechanism, and a newer token
// after it rejected one.
func TestOAuthBearer(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.authRequest = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}
		verdict := rejectFirst([]pgproto3.BackendMessage{&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"invalid_token"}`)}})
		s.verdict = func(response string) []pgproto3.BackendMessage {
			if !strings.Contains(response, "OAUTHBEARER") || !strings.Contains(response, "auth=Bearer eyJ") {
				return errorResponse("28000", "not OAUTHBEARER: "+response)
			}
			return verdict(response)
		}
	})
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Get: agedToken}))
	if _, err := tokenOf(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatalf("Connect() = %v", err)
	}
	defer conn.Close()
	if got := c.Stats().Retried; got != 1 {
		t.Errorf("Stats().Retried = %d, want 1", got)
	}
	if conn.(*stdlib.Conn).Conn().Config().OAuthTokenProvider != nil {
		t.Error("the connection's config has an OAuthTokenProvider after the sign-in, want none")
	}
}

// BeforeConnect sets no OAuthTokenProvider: TLS has not been verified at that time.
func TestOAuthBearerWaitsForTLS(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatalf("BeforeConnect() = %v", err)
	}
	if config.OAuthTokenProvider != nil {
		t.Error("BeforeConnect() set an OAuthTokenProvider, want none")
	}
}

// pgx keeps a copy of the config in its errors. The token is taken out of the copy.
func TestTokenIsTakenOutOfErrors(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28P01", "no") })
	err := ping(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	checkNoPassword(t, err)
}

// The same holds for a connection that breaks during the sign-in.
func TestTokenIsTakenOutWhenTheNetworkFails(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = nil }) // it is silent after the token
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Connect(ctx)
	checkNoPassword(t, err)
	if received := s.received.String(); !strings.Contains(received, entratest.Marker) {
		t.Errorf("the server received %q, want the token in it", received)
	}
}

// checkNoPassword checks that err is pgx's and that its copy of the config has no password.
func checkNoPassword(t *testing.T, err error) {
	t.Helper()
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		t.Fatalf("got %v, want a *pgconn.ConnectError", err)
	}
	if connect.Config.Password != "" {
		t.Errorf("the error's config has password %q, want none", connect.Config.Password)
	}
}

// pgx keeps the config in the connection. After the sign-in it no longer has the token.
func TestTokenIsTakenOutOfConnections(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatalf("Connect() = %v", err)
	}
	defer conn.Close()
	if got := conn.(*stdlib.Conn).Conn().Config().Password; got != "" {
		t.Errorf("the connection's config has password %q, want none", got)
	}
}

// The check at AfterNetConnect is the last one: a connection without TLS gets no password,
// however it was opened.
func TestPlainConnectionGetsNoPassword(t *testing.T) {
	entratest.CleanEnv(t)
	c := newConnector(t, "host=h user=u", WithCredential(&entratest.Credential{}))
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatalf("BeforeConnect() = %v", err)
	}
	plain, other := net.Pipe()
	defer plain.Close()
	defer other.Close()
	conn, err := config.AfterNetConnect(t.Context(), &config.Config, plain)
	if conn == nil {
		t.Error("AfterNetConnect() returned no connection, want one that pgx can close")
	}
	if want := "is not TLS"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("AfterNetConnect() = %v, want %q in it", err, want)
	}
	if config.Password != "" {
		t.Errorf("password = %q, want none", config.Password)
	}
}
