package driver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
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
	dsn := "host=gone,b.example.com user=me connect_timeout=5 aad_server_type=single sslrootcert=" + entratest.Quote(s.certFile)
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

// A configWatcher is a tracer, and has a hook of each kind. Each time that pgx calls it, it
// looks for the token in every config that it has seen, as long as it can: the one that
// the tracer was given is the one that pgx uses.
type configWatcher struct {
	t     *testing.T
	when  []string
	watch []*pgconn.Config
}

// closesInBackground reports whether pgx closes a connection in a goroutine of its own,
// while it goes on with the next host.
func closesInBackground() bool { return bytes.Contains(debug.Stack(), []byte("asyncClose")) }

func (w *configWatcher) look(when string) {
	if closesInBackground() {
		return
	}
	w.when = append(w.when, when)
	for _, cfg := range w.watch {
		checkNoSecret(w.t, "config at "+when, fmt.Sprintf("%+v %#v", *cfg, *cfg))
		if cfg.OAuthTokenProvider != nil {
			token, _ := cfg.OAuthTokenProvider(context.Background())
			checkNoSecret(w.t, "OAuthTokenProvider at "+when, token)
		}
	}
}

func (w *configWatcher) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (w *configWatcher) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (w *configWatcher) TraceConnectStart(ctx context.Context, d pgx.TraceConnectStartData) context.Context {
	w.watch = append(w.watch, &d.ConnConfig.Config)
	w.look("TraceConnectStart")
	return ctx
}

func (w *configWatcher) TraceConnectEnd(_ context.Context, d pgx.TraceConnectEndData) {
	w.look("TraceConnectEnd")
	if d.Conn != nil {
		config := d.Conn.Config()
		w.watch = append(w.watch, &config.Config)
		w.look("TraceConnectEnd, config of the connection")
	}
	w.lookAtError("TraceConnectEnd", d.Err)
}

// lookAtError looks for the token in all forms of err and in the config that it carries.
func (w *configWatcher) lookAtError(when string, err error) {
	if err == nil {
		return
	}
	for _, form := range printedForms(err) {
		checkNoSecret(w.t, when+", "+form.name, form.text)
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		w.watch = append(w.watch, connect.Config)
		w.look(when + ", config of the error")
	}
}

// hook sets a hook of each kind.
func (w *configWatcher) hook(c *pgx.ConnConfig) {
	c.Tracer = w
	lookup := c.LookupFunc
	c.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		w.look("LookupFunc")
		return lookup(ctx, host)
	}
	dial := c.DialFunc
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.look("DialFunc")
		return dial(ctx, network, addr)
	}
	c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if !closesInBackground() {
			w.watch = append(w.watch, cfg)
		}
		w.look("AfterNetConnect")
		return conn, nil
	}
	build := c.BuildFrontend
	c.BuildFrontend = func(r io.Reader, writer io.Writer) *pgproto3.Frontend {
		w.look("BuildFrontend")
		return build(readFunc(func(b []byte) (int, error) {
			n, err := r.Read(b)
			checkNoSecret(w.t, "what BuildFrontend's reader sees", string(b[:n]))
			w.look("Read")
			return n, err
		}), writeFunc(func(b []byte) (int, error) {
			checkNoSecret(w.t, "what BuildFrontend's writer sees", string(b))
			w.look("Write")
			return writer.Write(b)
		}))
	}
	c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { w.look("ValidateConnect"); return nil }
	c.AfterConnect = func(context.Context, *pgconn.PgConn) error { w.look("AfterConnect"); return nil }
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		checkNoSecret(w.t, "notice", fmt.Sprintf("%+v", *n))
		w.look("OnNotice")
	}
	c.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool {
		checkNoSecret(w.t, "PgError", fmt.Sprintf("%+v", *e))
		w.look("OnPgError")
		return true
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

// However a sign-in ends, neither a tracer nor a hook of the program's finds the token in
// any config, and neither does who reads the error. The server receives it.
func TestNoConfigHoldsTheToken(t *testing.T) {
	entratest.CleanEnv(t)
	opaque := "opaque-" + entratest.Marker
	notice := encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: opaque}, &pgproto3.ParameterStatus{Name: "p", Value: opaque})
	bearer := encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}})
	rejection := append(slices.Clone(notice), encode(errorResponse("28P01", "no "+opaque)...)...)
	for _, tt := range []struct {
		name      string
		misbehave func(*fakeServer, net.Conn)
		cancel    bool // the context is canceled, not left to its deadline
		signsIn   bool
	}{
		{name: "signs in", misbehave: send(cleartextRequest, append(slices.Clone(notice), encode(authOK...)...)), signsIn: true},
		{name: "signs in, OAUTHBEARER", misbehave: send(bearer, encode(authOK...)), signsIn: true},
		{name: "rejected", misbehave: send(cleartextRequest, rejection)},
		{name: "rejected, OAUTHBEARER", misbehave: send(bearer, encode(errorResponse("28P01", "no "+opaque)...))},
		{name: "bearer, token in the status", misbehave: send(bearer, encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"bad ` + opaque + `"}`)}))},
		{name: "hangs up", misbehave: hangUpAfter(cleartextRequest)},
		{name: "hangs up, OAUTHBEARER", misbehave: hangUpAfter(bearer)},
		{name: "garbage", misbehave: send(cleartextRequest, []byte("garbage "+opaque))},
		{name: "silent", misbehave: send(cleartextRequest)},
		{name: "silent, OAUTHBEARER", misbehave: send(bearer)},
		{name: "canceled", misbehave: send(cleartextRequest), cancel: true},
	} {
		for _, path := range connectPaths {
			for _, cached := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, cached %t", tt.name, path.name, cached), func(t *testing.T) {
					s := newFakeServer(t, func(s *fakeServer) { s.misbehave = tt.misbehave })
					w := &configWatcher{t: t}
					c := newConnector(t, withHosts(s.trustedDSN(""), 2), WithCredential(opaqueCredential(opaque)), WithConnConfig(w.hook))
					if cached {
						if _, err := tokenOf(t.Context(), c); err != nil {
							t.Fatal(err)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
					if tt.cancel {
						ctx, cancel = context.WithCancel(t.Context())
						time.AfterFunc(300*time.Millisecond, cancel)
					}
					err := path.connect(ctx, t, c)
					if signedIn := err == nil; signedIn != tt.signsIn {
						t.Errorf("connect = %v, want no error: %t", err, tt.signsIn)
					}
					w.look("the end")
					w.lookAtError("the end", err)
					if !slices.Contains(w.when, "TraceConnectEnd") {
						t.Errorf("hooks called: %q, want TraceConnectEnd among them", w.when)
					}
					if received := s.received.String(); !strings.Contains(received, opaque) {
						t.Errorf("the server received %q, want the token in it", received)
					}
				})
			}
		}
	}
}

// hangUpAfter returns a misbehave function: it answers the startup message with b, reads
// the client's answer and closes the connection.
func hangUpAfter(b []byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		secure := s.readStartup(conn)
		if secure == nil {
			return
		}
		secure.Write(b)
		io.ReadAtLeast(io.TeeReader(secure, &s.received), make([]byte, 64<<10), 5)
	}
}

// BeforeConnect on one config again and again replaces its own hook. A sign-in is counted
// once, and the program's hook is called once, also if the program has wrapped the hook of
// BeforeConnect, or if another connector prepared the config before.
func TestBeforeConnectAgain(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	other := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	for _, tt := range []struct {
		name   string
		before func(*testing.T, *pgx.ConnConfig) // each call of BeforeConnect
		wraps  int                               // calls of the program's own wrapper
	}{
		{name: "again and again", before: func(*testing.T, *pgx.ConnConfig) {}},
		{name: "another connector before", before: func(t *testing.T, c *pgx.ConnConfig) {
			if err := other.BeforeConnect(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "on the copy that pgx makes", before: func(_ *testing.T, c *pgx.ConnConfig) { *c = *c.Copy() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
				c.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
					calls++
					if depth, most := runtime.Callers(0, make([]uintptr, 1000)), 100; depth > most {
						t.Errorf("the program's hook is called %d functions deep, want %d at most", depth, most)
					}
					return conn, nil
				}
			}))
			config := c.Config()
			const connects = 3
			for range connects {
				for range 100 {
					tt.before(t, config)
					if err := c.BeforeConnect(t.Context(), config); err != nil {
						t.Fatalf("BeforeConnect() = %v, want no error", err)
					}
				}
				conn, err := pgx.ConnectConfig(t.Context(), config)
				if err != nil {
					t.Fatalf("ConnectConfig() = %v, want no error", err)
				}
				config = conn.Config()
				conn.Close(t.Context())
			}
			if got := c.Stats().SignIns; got != connects {
				t.Errorf("Stats().SignIns = %d, want %d", got, connects)
			}
			if calls != connects {
				t.Errorf("calls of the program's hook = %d, want %d", calls, connects)
			}
			if got := other.Stats().SignIns; got != 0 {
				t.Errorf("sign-ins of the other connector = %d, want 0", got)
			}
		})
	}
}

// A program may wrap the hook of BeforeConnect and call BeforeConnect again: the outer hook
// signs in, and the inner one does not.
func TestBeforeConnectAroundAWrapper(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
	config := c.Config()
	wrapped := 0
	for range 3 {
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			t.Fatalf("BeforeConnect() = %v, want no error", err)
		}
		ours := config.AfterNetConnect
		config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			wrapped++
			return ours(ctx, cfg, conn)
		}
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("ConnectConfig() = %v, want no error", err)
	}
	conn.Close(t.Context())
	if wrapped != 3 {
		t.Errorf("calls of the wrappers = %d, want 3", wrapped)
	}
	if got := c.Stats().SignIns; got != 1 {
		t.Errorf("Stats().SignIns = %d, want 1", got)
	}
}

// Where no hook of ours presents the token, the connect fails and says what is missing. No
// empty password is sent, about which the server's words would mislead.
func TestEmptyPasswordIsNotSent(t *testing.T) {
	entratest.CleanEnv(t)
	wrapFrontend := func(c *pgx.ConnConfig) {
		build := c.BuildFrontend
		c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
			return build(readFunc(r.Read), writeFunc(w.Write))
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *Connector, *pgx.ConnConfig)
		want    string // in the error; "": it connects
	}{
		{name: "no BeforeConnect, and no user", prepare: func(_ *testing.T, _ *Connector, config *pgx.ConnConfig) { config.User = "" }, want: "call BeforeConnect"},
		{name: "no BeforeConnect", prepare: func(*testing.T, *Connector, *pgx.ConnConfig) {}, want: "call BeforeConnect"},
		{name: "AfterNetConnect replaced after BeforeConnect", prepare: func(t *testing.T, c *Connector, config *pgx.ConnConfig) {
			if err := c.BeforeConnect(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			config.AfterNetConnect = nil
		}, want: "call BeforeConnect"},
		{name: "AfterNetConnect replaced before BeforeConnect", prepare: func(t *testing.T, c *Connector, config *pgx.ConnConfig) {
			config.AfterNetConnect = nil
			if err := c.BeforeConnect(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "BuildFrontend wrapped", prepare: func(t *testing.T, c *Connector, config *pgx.ConnConfig) {
			wrapFrontend(config)
			if err := c.BeforeConnect(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			wrapFrontend(config)
		}},
		{name: "the program's password", prepare: func(_ *testing.T, _ *Connector, config *pgx.ConnConfig) { config.Password = "hunter2" }},
		{name: "the program's password after BeforeConnect", prepare: func(t *testing.T, c *Connector, config *pgx.ConnConfig) {
			if err := c.BeforeConnect(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			config.Password = "hunter2"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, nil)
			c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
			config := c.Config()
			tt.prepare(t, c, config)
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if conn != nil {
				conn.Close(t.Context())
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("ConnectConfig() = %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ConnectConfig() = %v, want %q in it", err, tt.want)
			}
			if !errors.As(err, new(*Error)) {
				t.Errorf("ConnectConfig() = %v, want an *Error in it", err)
			}
			s.waitUntilClosed()
			received := s.received.String()
			if strings.Contains(received, "p\x00\x00\x00\x05\x00") {
				t.Errorf("the server received %q, want no password message", received)
			}
			if config.User == "" && strings.Contains(received, "database") {
				t.Errorf("the server received %q, want no startup message", received)
			}
		})
	}
}

// A connection that the program's AfterNetConnect wraps must show what it wraps in every
// mode, so that a program fails on a laptop and not on Azure only.
func TestWrapperNeedsNetConn(t *testing.T) {
	entratest.CleanEnv(t)
	type opaqueConn struct{ net.Conn }
	hooks := []struct {
		name string
		wrap func(net.Conn) net.Conn
		want string // in the error; "": it connects
	}{
		{"with NetConn", func(c net.Conn) net.Conn { return &wrappedConn{c} }, ""},
		{"without NetConn", func(c net.Conn) net.Conn { return &opaqueConn{c} }, "return a connection whose method NetConn returns the connection that it wraps"},
	}
	for _, tt := range []struct {
		name, params string
		plain        bool // the server has no TLS
		opts         []Option
	}{
		{name: "token", opts: []Option{WithCredential(&entratest.Credential{})}},
		{name: "unverified", params: "aad_insecure=unverified", opts: []Option{WithCredential(&entratest.Credential{})}},
		{name: "plaintext", params: "aad_insecure=plaintext sslmode=disable", plain: true, opts: []Option{WithCredential(&entratest.Credential{})}},
		{name: "password", params: "aad_auth=password password=p"},
		{name: "password without TLS", params: "aad_auth=password password=p sslmode=disable", plain: true},
	} {
		for _, hook := range hooks {
			t.Run(tt.name+", "+hook.name, func(t *testing.T) {
				s := newFakeServer(t, func(s *fakeServer) {
					if tt.plain {
						s.tls = nil
					}
				})
				dsn := s.trustedDSN(tt.params)
				if tt.plain {
					dsn = s.dsn(tt.params)
				}
				err := ping(t, dsn, append(tt.opts, WithConnConfig(func(c *pgx.ConnConfig) {
					c.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
						return hook.wrap(conn), nil
					}
				}))...)
				if hook.want == "" {
					if err != nil {
						t.Errorf("ping = %v, want no error", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), hook.want) {
					t.Errorf("ping = %v, want %q in it", err, hook.want)
				}
			})
		}
	}
}

// A password that the program sets in AfterNetConnect is not sent, whatever the server
// requests.
func TestProgramsPasswordIsNotSent(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name, params string
		request      pgproto3.BackendMessage
	}{
		{name: "cleartext", request: &pgproto3.AuthenticationCleartextPassword{}},
		{name: "MD5", params: "require_auth=md5", request: &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var received [2]string
			for i, password := range []string{"hunter2", ""} {
				s := newFakeServer(t, func(s *fakeServer) { s.authRequest = tt.request })
				err := ping(t, s.trustedDSN(tt.params), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
					c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
						cfg.Password = password
						return conn, nil
					}
				}))
				if err != nil {
					t.Errorf("ping = %v, want no error", err)
				}
				s.waitUntilClosed()
				_, received[i], _ = strings.Cut(s.received.String(), "p\x00")
			}
			if received[0] != received[1] {
				t.Errorf("with a password of the program's the server received %q, want %q as without", received[0], received[1])
			}
		})
	}
}
