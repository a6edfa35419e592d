package driver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// piped lets pgx dial s through pipes, within a synctest bubble, after dial.
func (s *fakeServer) piped(dial time.Duration) Option {
	return WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-time.After(dial):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				s.serve(server)
			}()
			return client, nil
		}
	})
}

// The token is on its way while pgx dials: a cold connect takes the longer of
// the two, through Connect and for those who connect with BeforeConnect.
func TestColdConnectTakesTheLongerOfTokenAndDial(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	for _, tt := range []struct{ token, dial, want time.Duration }{
		{100 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond},
		{30 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond},
	} {
		for _, by := range []string{"Connect", "BeforeConnect"} {
			synctest.Test(t, func(t *testing.T) {
				c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{Delay: tt.token}), s.piped(tt.dial))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if by == "Connect" {
					conn, err := c.Connect(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
				} else {
					config := c.Config()
					if err := c.BeforeConnect(t.Context(), config); err != nil {
						t.Fatal(err)
					}
					conn, err := pgx.ConnectConfig(t.Context(), config)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close(t.Context())
				}
				if d := time.Since(began); d != tt.want {
					t.Errorf("%s: token %s, dial %s: %s, want %s", by, tt.token, tt.dial, d, tt.want)
				}
			})
		}
	}
}

// A token request that fails ends the dial at once, whatever the host does, and
// the next hosts are not tried.
func TestFailedTokenEndsTheDial(t *testing.T) {
	entratest.CleanEnv(t)
	down := errors.New("the authority is down")
	for _, by := range []string{"Connect", "BeforeConnect"} {
		synctest.Test(t, func(t *testing.T) {
			dials := 0
			c, err := NewConnector("host=a,b user=u", WithCredential(&entratest.Credential{Delay: 50 * time.Millisecond,
				Get: func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, down }}),
				WithConnConfig(func(c *pgx.ConnConfig) {
					c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
					c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
						if dials++; ctx.Err() != nil {
							return nil, ctx.Err()
						}
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if by == "Connect" {
				_, err = c.Connect(t.Context())
				var e *Error
				if !errors.As(err, &e) || e.Error() != "aadpostgres: token: the authority is down" {
					t.Errorf("got %v", err)
				}
			} else {
				config := c.Config()
				if err = c.BeforeConnect(t.Context(), config); err != nil {
					t.Fatal(err)
				}
				_, err = pgx.ConnectConfig(t.Context(), config)
			}
			if !errors.Is(err, down) || time.Since(began) != 50*time.Millisecond {
				t.Errorf("%s: %v after %s", by, err, time.Since(began))
			}
		})
	}
}

// A failed dial does not spoil the token.
func TestFailedDialKeepsTheToken(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: time.Second}
		refused := errors.New("connection refused")
		c, err := NewConnector("host=127.0.0.1 user=u", WithCredential(cred), WithConnConfig(func(c *pgx.ConnConfig) {
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
		}))
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if _, err := c.Connect(t.Context()); !errors.Is(err, refused) || !errors.As(err, &e) || e.Step != StepNetwork {
			t.Errorf("got %v", err)
		}
		if _, err := tokenOf(t.Context(), c); err != nil || cred.Calls.Load() != 1 {
			t.Errorf("%v after %d requests", err, cred.Calls.Load())
		}
	})
}

// aged answers with tokens that were issued a while ago, named by their number.
func aged(n int64, _ string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n, "iat": time.Now().Add(-7 * time.Minute).Unix()}), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A sign-in that the server rejects is tried once more with another token where
// that may help, and the next connects do not ask in vain.
func TestRejected(t *testing.T) {
	entratest.CleanEnv(t)
	const expired, nobody = "The access token has expired. Acquire a new token and try again.", `password authentication failed for user "me"`
	old := func(n int64, claims string) (azcore.AccessToken, error) {
		if claims != "" { // past the credential's cache: a young one
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n}), ExpiresOn: time.Now().Add(time.Hour)}, nil
		}
		return aged(1, "")
	}
	young := func(n int64, _ string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n}), ExpiresOn: time.Now().Add(time.Hour)}, nil
	}
	same := func(int64, string) (azcore.AccessToken, error) { return aged(1, "") }
	down := func(n int64, claims string) (azcore.AccessToken, error) {
		if n > 1 {
			return azcore.AccessToken{}, errors.New("down")
		}
		return aged(n, claims)
	}
	for _, tt := range []struct {
		name, code, text string
		get              func(int64, string) (azcore.AccessToken, error)
		refuse           func(said string, sofar int) bool // by default: the first token
		worked           bool                              // before
		first, later     int64                             // requests by the first connect; most by 100 more
		works            bool
	}{
		{name: "revoked", code: "28P01", text: expired, get: aged, first: 1, works: true},
		{name: "revoked, credential has a cache", code: "28000", text: expired, get: old, first: 2, works: true},
		{name: "revoked, in words that name no token", code: "28P01", text: nobody, get: aged, worked: true, first: 1, works: true},
		{name: "no such role", code: "28P01", text: nobody, get: aged, refuse: func(string, int) bool { return true }},
		{name: "role taken away", code: "28P01", text: nobody, get: aged, worked: true, first: 1, refuse: func(string, int) bool { return true }},
		{name: "firewall", code: "28000", text: "no pg_hba.conf entry for host", get: aged, refuse: func(string, int) bool { return true }},
		{name: "same token back", code: "28P01", text: expired, get: same, first: 2, later: 8, refuse: func(string, int) bool { return true }},
		{name: "none to be had", code: "28P01", text: expired, get: down, first: 1, later: 8, refuse: func(string, int) bool { return true }},
		{name: "a token that is young", code: "28P01", text: expired, get: young, later: 8, refuse: func(string, int) bool { return true }},
		{name: "another error", code: "53300", text: "too many connections for token", get: aged, refuse: func(string, int) bool { return true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cred := &entratest.Credential{Get: tt.get}
			var mu sync.Mutex
			first, sofar := "", 0
			s := newFakeServer(t, func(s *fakeServer) {
				s.judge = func(said string) []pgproto3.BackendMessage {
					mu.Lock()
					defer mu.Unlock()
					if first == "" {
						first = said
					}
					sofar++
					if tt.refuse == nil && said == first || tt.refuse != nil && tt.refuse(said, sofar) {
						return refusal(tt.code, tt.text)
					}
					return welcome
				}
			})
			c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(cred))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tokenOf(t.Context(), c); err != nil { // a warm token
				t.Fatal(err)
			}
			if tt.worked {
				c.signedIn.Store(true)
			}
			conn, err := c.Connect(t.Context())
			if tt.works != (err == nil) {
				t.Fatalf("got %v", err)
			}
			if n := cred.Calls.Load() - 1; n != tt.first {
				t.Errorf("%d more token requests, want %d", n, tt.first)
			}
			if tt.works {
				conn.Close()
				if st := c.Stats(); st.Rejected != 1 || st.Retried != 1 || st.SignIns != 1 {
					t.Errorf("%+v", st)
				}
				return
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != tt.code {
				t.Errorf("the error is %v", err)
			}
			for range 100 {
				if _, err := c.Connect(t.Context()); err == nil {
					t.Fatal("it connects")
				}
			}
			if n := cred.Calls.Load() - 1 - tt.first; n > tt.later {
				t.Errorf("100 more connects made %d requests", n)
			}
		})
	}
}

// Through BeforeConnect there is no second try, but the next connect has a newer
// token, and no tracer sees the refused one.
func TestRejectedThroughBeforeConnect(t *testing.T) {
	entratest.CleanEnv(t)
	first := ""
	s := newFakeServer(t, func(s *fakeServer) {
		s.judge = func(said string) []pgproto3.BackendMessage {
			if first == "" || said == first {
				first = said
				return refusal("28P01", "The access token has expired.")
			}
			return welcome
		}
	})
	cred := &entratest.Credential{Get: aged}
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(cred))
	if err != nil {
		t.Fatal(err)
	}
	old, err := tokenOf(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	connect := func() error {
		config, seen := c.Config(), &tracer{}
		config.Tracer = seen
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			conn.Close(t.Context())
		}
		if strings.Contains(seen.text, entratest.Marker) {
			t.Errorf("the tracer saw the token: %s", seen.text)
		}
		return err
	}
	var pg *pgconn.PgError
	if err := connect(); !errors.As(err, &pg) {
		t.Fatalf("got %v", err)
	}
	// Whoever asks now waits for the newer one, as the next connect may.
	if _, err := c.source.Refresh(old, observer{c}).Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := connect(); err != nil || cred.Calls.Load() != 2 {
		t.Errorf("%v after %d requests", err, cred.Calls.Load())
	}
}

// tracer keeps what pgx tells of a connect.
type tracer struct{ text string }

func (tr *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (tr *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (tr *tracer) TraceConnectStart(ctx context.Context, d pgx.TraceConnectStartData) context.Context {
	tr.text += d.ConnConfig.Password
	return ctx
}
func (tr *tracer) TraceConnectEnd(_ context.Context, d pgx.TraceConnectEndData) {
	var connect *pgconn.ConnectError
	if errors.As(d.Err, &connect) {
		tr.text += connect.Config.Password
	}
	if d.Conn != nil {
		tr.text += d.Conn.Config().Password
	}
	tr.text += fmt.Sprint(d.Err)
}

// A server that asks for OAUTHBEARER gets the token by that way, over TLS only.
func TestOAuthBearer(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.auth = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}
		first := ""
		s.judge = func(said string) []pgproto3.BackendMessage {
			if !strings.Contains(said, "OAUTHBEARER") || !strings.Contains(said, "auth=Bearer eyJ") {
				return refusal("28000", "what is this: "+said)
			}
			if first == "" || said == first {
				first = said
				return []pgproto3.BackendMessage{&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"invalid_token"}`)}}
			}
			return welcome
		}
	})
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{Get: aged}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenOf(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil || c.Stats().Retried != 1 {
		t.Fatalf("%v, %+v", err, c.Stats())
	}
	if conn.(*stdlib.Conn).Conn().Config().OAuthTokenProvider != nil {
		t.Error("the hook outlives the sign-in")
	}
	conn.Close()
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil || config.OAuthTokenProvider != nil {
		t.Errorf("the token is given before TLS is seen: %v", err)
	}
}

// A refusal that pgx answers by itself is one all the same.
func TestOAuthBearerRefused(t *testing.T) {
	entratest.CleanEnv(t)
	conns := 0
	s := newFakeServer(t, func(s *fakeServer) {
		s.auth = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}
		s.judge = func(string) []pgproto3.BackendMessage {
			if conns++; conns == 1 {
				return refusal("28000", expired)
			}
			return welcome
		}
	})
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{Get: aged}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenOf(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if st := c.Stats(); err != nil || st.Rejected != 1 || st.Retried != 1 {
		t.Fatalf("%v, %+v", err, st)
	}
	conn.Close()
}

type wrapper struct{ net.Conn }

func (w *wrapper) NetConn() net.Conn { return w.Conn }

// The user's own AfterNetConnect sees no token, and what it returns must be over
// the TLS that was checked.
func TestUsersHook(t *testing.T) {
	entratest.CleanEnv(t)
	for name, hook := range map[string]func(net.Conn) net.Conn{
		"":                             func(c net.Conn) net.Conn { return &wrapper{c} },
		"is not over the one with TLS": func(c net.Conn) net.Conn { return c.(*tls.Conn).NetConn() },
	} {
		s := newFakeServer(t, nil)
		err := ping(t, s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
			c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
				if cfg.Password != "" {
					t.Errorf("the hook sees %q", cfg.Password)
				}
				return hook(conn), nil
			}
		}))
		if name == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
		if heard, _ := s.got(); name != "" && strings.Contains(heard, entratest.Marker) {
			t.Error("the token left")
		}
	}
}

// All that is logged, and that none of it is a token.
func TestLog(t *testing.T) {
	entratest.CleanEnv(t)
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s := newFakeServer(t, func(s *fakeServer) {
		first := ""
		s.judge = func(said string) []pgproto3.BackendMessage {
			if first == "" {
				first = said
			}
			if said == first {
				return refusal("28P01", "The access token\nhas expired")
			}
			return welcome
		}
	})
	cred := &entratest.Credential{Get: aged}
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(cred), WithLogger(logger), WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Credentials(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	synctest.Test(t, func(t *testing.T) { // it waits for what is logged after the call has ended
		down := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, errors.New("down") }}
		failing, err := NewConnector("host=h user=u", WithCredential(down), WithLogger(logger))
		if err != nil {
			t.Fatal(err)
		}
		defer failing.Close()
		if _, err := failing.Credentials(t.Context()); err == nil {
			t.Error("Credentials() succeeded, want the credential's error")
		}
	})
	for _, want := range []string{`msg="token fetched" took=`, `msg="token refreshed"`, `expires=`, `level=WARN msg="token request failed"`, `err="aadpostgres: token: down"`, "retry_in=",
		`msg="sign-in rejected" code=28P01 message="The access token has expired" token_issued=`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not logged", want)
		}
	}
	if strings.Contains(log.String(), entratest.Marker) || strings.Contains(log.String(), "eyJ") {
		t.Errorf("the log holds a token: %s", &log)
	}
}

// A standby that is passed over does not keep the token in the config.
func TestChainOfHosts(t *testing.T) {
	entratest.CleanEnv(t)
	cred := &entratest.Credential{}
	s := newFakeServer(t, nil)
	config := ""
	err := ping(t, strings.Replace(s.dsn("sslrootcert="+s.certFile), "host=127.0.0.1", "host=127.0.0.1,127.0.0.1,127.0.0.1", 1), WithCredential(cred),
		WithConnConfig(func(c *pgx.ConnConfig) {
			c.ValidateConnect = func(_ context.Context, conn *pgconn.PgConn) error {
				return errors.New("not this one")
			}
			c.Tracer = &tracer{}
		}))
	if err == nil || strings.Contains(err.Error()+config, entratest.Marker) {
		t.Errorf("got %v", err)
	}
	if heard, conns := s.got(); conns != 3 || strings.Count(heard, entratest.Marker) != 3 || cred.Calls.Load() != 1 {
		t.Errorf("%d connections, the token sent %d times, %d requests", conns, strings.Count(heard, entratest.Marker), cred.Calls.Load())
	}
}

// A server that hangs within the handshake holds a caller no longer than its context.
func TestHangingHandshake(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		c, err := NewConnector("host=127.0.0.1 user=u", WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) {
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					server.Read(make([]byte, 8))
					server.Write([]byte("S"))
					b := make([]byte, 4096)
					for {
						if _, err := server.Read(b); err != nil {
							server.Close()
							return
						}
					}
				}()
				return client, nil
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// in leads each name to its server.
func in(servers map[string]*fakeServer) Option {
	return WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(_ context.Context, host string) ([]string, error) {
			if s := servers[host]; s != nil {
				return []string{net.JoinHostPort(s.host, s.port)}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
	})
}

// One host refuses, the next signs in but is not of the kind that is wanted: an
// error, and no panic.
func TestRefusedHereAndUnwantedThere(t *testing.T) {
	entratest.CleanEnv(t)
	one := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("28000", "the access token has expired") })
	two := newFakeServer(t, nil) // says nothing of being read-write
	c, err := NewConnector("host=one.example.com,two.example.com user=me connect_timeout=5 sslrootcert="+one.certFile, in(map[string]*fakeServer{"one.example.com": one, "two.example.com": two}),
		WithCredential(&entratest.Credential{Get: aged}), WithConnConfig(func(c *pgx.ConnConfig) {
			c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return errors.New("not of that kind") }
		}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the token is warm
		if _, err := c.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "the access token has expired") {
			t.Errorf("got %v", err)
		}
	}
}

// pgx tells its hooks the first host's name only. The token's cloud and the user's
// suffix are judged by the host that is spoken to.
func TestLaterHosts(t *testing.T) {
	entratest.CleanEnv(t)
	const aud = "https://ossrdbms-aad.database.windows.net"
	s := newFakeServer(t, nil)
	dsn := "host=gone,b.example.com user=me connect_timeout=5 aad_server_type=single sslrootcert=" + s.certFile
	if err := ping(t, dsn, WithCredential(presents(map[string]any{"aud": aud})), in(map[string]*fakeServer{"b.example.com": s})); err != nil {
		t.Fatal(err)
	}
	if heard, _ := s.got(); !strings.Contains(heard, "user\x00me@b\x00") {
		t.Errorf("the second host was asked for %q", heard)
	}
	s = newFakeServer(t, nil)
	dsn = "host=gone,x.postgres.database.chinacloudapi.cn user=me connect_timeout=5 aad_insecure=unverified"
	err := ping(t, dsn, WithCredential(presents(map[string]any{"aud": aud})), in(map[string]*fakeServer{"x.postgres.database.chinacloudapi.cn": s}))
	if heard, _ := s.got(); err == nil || !strings.Contains(err.Error(), "the token is for cloud public") || strings.Contains(heard, entratest.Marker) {
		t.Errorf("%v, and the server heard %q", err, heard)
	}
}

// The user's own hook, which runs before the token is put in, sees none: not what the
// host before was shown either, nor another password.
func TestHookSeesNoPassword(t *testing.T) {
	entratest.CleanEnv(t)
	var mu sync.Mutex
	n := 0
	s := newFakeServer(t, func(s *fakeServer) {
		s.judge = func(string) []pgproto3.BackendMessage {
			mu.Lock()
			defer mu.Unlock()
			if n++; n == 1 { // not by an error of the server's, which would clear it
				return []pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}}
			}
			return welcome
		}
	})
	var seen []string
	dsn := strings.Replace(s.dsn("sslrootcert="+s.certFile), "host=127.0.0.1", "host=127.0.0.1,127.0.0.1", 1)
	err := ping(t, dsn, WithCredential(&entratest.Credential{}), WithConnConfig(func(config *pgx.ConnConfig) {
		config.Password = "hunter2"
		config.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			seen = append(seen, cfg.Password)
			return conn, nil
		}
	}))
	if err != nil || len(seen) != 2 || seen[0] != "" || seen[1] != "" {
		t.Errorf("the hook saw %d passwords, %q; %v", len(seen), seen, err)
	}
	c, err := NewConnector(dsn, WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	config := c.Config()
	config.Password = "hunter2"
	if err := c.BeforeConnect(t.Context(), config); err != nil || config.Password != "" {
		t.Errorf("tracers and dial functions see %q; %v", config.Password, err)
	}
}

// A caller whose time ends while it waits for the token is told so: pgx takes every
// deadline for the network's.
func TestLateToken(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{Delay: 2 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.Connect(ctx)
	var e *Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Step != StepToken || !strings.Contains(e.Hint, "still under way") {
		t.Errorf("got %v", err)
	}
}
