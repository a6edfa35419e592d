package driver

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A pipeNetwork has the hosts one.example.com and two.example.com, both of which are the
// same fake server, as a synctest bubble needs it. It records how long sessions are open
// before the token is there.
type pipeNetwork struct {
	server  *fakeServer
	latency time.Duration // of a dial

	mu       sync.Mutex // guards what follows
	dialed   []string   // hosts
	open     int
	maxOpen  int
	lifetime []time.Duration // of the connections that are closed
}

var pipeHosts = map[string]string{"one.example.com": "10.0.0.1", "two.example.com": "10.0.0.2"}

func (n *pipeNetwork) option() Option {
	return WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{pipeHosts[host]}, nil }
		c.DialFunc = n.dial
	})
}

func (n *pipeNetwork) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	ip, _, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	for name, address := range pipeHosts {
		if address == ip {
			n.dialed = append(n.dialed, name)
		}
	}
	n.mu.Unlock()
	select {
	case <-time.After(n.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open++
	n.maxOpen = max(n.maxOpen, n.open)
	client, server := net.Pipe()
	began := time.Now()
	go func() {
		n.server.serve(server)
		server.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
		n.lifetime = append(n.lifetime, time.Since(began))
	}()
	return client, nil
}

// dsn names both hosts.
func (n *pipeNetwork) dsn(params string) string {
	return "host=one.example.com,two.example.com user=me dbname=d sslrootcert=" + entratest.Quote(n.server.certFile) + " " + params
}

// A late token costs no host its turn and holds no session for more than a second, or a
// tenth of connect_timeout: the connection is closed, and the first host is dialed again
// when the token is there. There is one token request.
func TestLateTokenIsAwaitedWithoutASession(t *testing.T) {
	entratest.CleanEnv(t)
	slowSignIn := func(s *fakeServer) {
		s.verdict = func(string) []pgproto3.BackendMessage {
			time.Sleep(800 * time.Millisecond)
			return authOK
		}
	}
	for _, tt := range []struct {
		name   string
		params string
		token  time.Duration
		change func(*fakeServer)
		dials  int
		held   time.Duration // by the session that is closed without a sign-in
		took   time.Duration
	}{
		{name: "token within the second", token: 900 * time.Millisecond, dials: 1, took: 900 * time.Millisecond},
		{name: "token of 4 s", token: 4 * time.Second, dials: 2, held: time.Second, took: 4*time.Second + 20*time.Millisecond},
		{name: "token later than connect_timeout", params: "connect_timeout=1", token: 1500 * time.Millisecond, dials: 2, held: 100 * time.Millisecond, took: 1520 * time.Millisecond},
		{name: "token just before connect_timeout, slow sign-in", params: "connect_timeout=1", token: 950 * time.Millisecond, change: slowSignIn, dials: 2, held: 100 * time.Millisecond, took: 1770 * time.Millisecond},
		{name: "token well before connect_timeout", params: "connect_timeout=10", token: 900 * time.Millisecond, dials: 1, took: 900 * time.Millisecond},
		{name: "token longer than connect_timeout=10", params: "connect_timeout=10", token: 25 * time.Second, dials: 2, held: time.Second, took: 25*time.Second + 20*time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, tt.change)
			synctest.Test(t, func(t *testing.T) {
				network := &pipeNetwork{server: s, latency: 20 * time.Millisecond}
				cred := &entratest.Credential{Delay: tt.token}
				c := newConnector(t, network.dsn(tt.params), WithCredential(cred), network.option())
				began := time.Now()
				conn, err := c.Connect(t.Context())
				if err != nil {
					t.Fatalf("Connect() = %v, want no error", err)
				}
				defer conn.Close()
				if took := time.Since(began); took != tt.took {
					t.Errorf("Connect() took %s, want %s", took, tt.took)
				}
				want := slices.Repeat([]string{"one.example.com"}, tt.dials)
				if !slices.Equal(network.dialed, want) {
					t.Errorf("dialed %q, want %q", network.dialed, want)
				}
				if got := cred.Calls.Load(); got != 1 {
					t.Errorf("token requests = %d, want 1", got)
				}
				synctest.Wait()
				network.mu.Lock()
				defer network.mu.Unlock()
				for _, held := range network.lifetime {
					if held != tt.held {
						t.Errorf("a session without a token was held for %s, want %s", held, tt.held)
					}
				}
			})
		})
	}
}

// Of many callers that wait for one token request, one dials before the token is there.
// The others leave the server's slots to those who can use them.
func TestCallersWaitWithoutSessions(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNetwork{server: s}
		cred := &entratest.Credential{Delay: 6 * time.Second}
		c := newConnector(t, network.dsn(""), WithCredential(cred), network.option())
		var wg sync.WaitGroup
		for i := range 150 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				conn, err := c.Connect(t.Context())
				if err != nil {
					t.Errorf("Connect() = %v, want no error", err)
					return
				}
				conn.Close()
			})
		}
		time.Sleep(5900 * time.Millisecond)
		network.mu.Lock()
		if network.maxOpen != 1 {
			t.Errorf("sessions open at once before the token = %d, want 1", network.maxOpen)
		}
		network.mu.Unlock()
		wg.Wait()
		if got := cred.Calls.Load(); got != 1 {
			t.Errorf("token requests = %d, want 1", got)
		}
		time.Sleep(time.Second) // of the bubble: the server notices that its clients have gone
	})
}

// After a token that took more than a second, the next cold connect requests the token
// before it dials.
func TestSlowTokenComesFirst(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNetwork{server: s}
		c := newConnector(t, network.dsn(""), WithCredential(&entratest.Credential{Delay: 3 * time.Second}), network.option())
		for i, want := range []int{2, 3} { // dials so far
			conn, err := c.Connect(t.Context())
			if err != nil {
				t.Fatalf("Connect() = %v, want no error", err)
			}
			conn.Close()
			if got := len(network.dialed); got != want {
				t.Errorf("dials after connect %d = %d, want %d", i+1, got, want)
			}
			time.Sleep(2 * time.Hour) // of the bubble: the token expires
		}
	})
}

// BeforeConnect waits for the token itself, within its context. Nothing is dialed before.
func TestBeforeConnectWaitsForTheToken(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNetwork{server: s}
		c := newConnector(t, network.dsn("connect_timeout=1"), WithCredential(&entratest.Credential{Delay: 5 * time.Second}), network.option())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := c.BeforeConnect(ctx, c.Config())
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("BeforeConnect() = %v, want %v", err, context.DeadlineExceeded)
		}
		config := c.Config()
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			t.Fatalf("BeforeConnect() = %v, want no error", err)
		}
		if got := len(network.dialed); got != 0 {
			t.Errorf("dials before the token = %d, want 0", got)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatalf("ConnectConfig() = %v, want no error", err)
		}
		conn.Close(t.Context())
		if want := []string{"one.example.com"}; !slices.Equal(network.dialed, want) {
			t.Errorf("dialed %q, want %q", network.dialed, want)
		}
	})
}

// A config that is used again without BeforeConnect may need a token while a session is
// open. It holds that session for a second at most, and says what is missing.
func TestReusedConfigHoldsForASecond(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNetwork{server: s}
		c := newConnector(t, network.dsn(""), WithCredential(&entratest.Credential{Delay: 5 * time.Second}), network.option())
		config := c.Config()
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			t.Fatalf("BeforeConnect() = %v, want no error", err)
		}
		time.Sleep(2 * time.Hour) // of the bubble: the token expires
		_, err := pgx.ConnectConfig(t.Context(), config)
		if want := "waiting for the token"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ConnectConfig() = %v, want %q in it", err, want)
		}
		synctest.Wait()
		network.mu.Lock()
		defer network.mu.Unlock()
		for _, held := range network.lifetime {
			if held > token.MaxHold {
				t.Errorf("a session without a token was held for %s, want %s at most", held, token.MaxHold)
			}
		}
		time.Sleep(10 * time.Second) // of the bubble: the request ends
	})
}

// foreignCause is the reason for which a program cancels its context, as errgroup does.
type foreignCause struct{ error }

// A context that the program cancels ends a connect with the context's error, as in pgx.
// Its cause is another goroutine's failure and stays out.
func TestCanceledWithACause(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name    string
		token   time.Duration
		latency time.Duration
		misstep func(*fakeServer)
	}{
		{name: "waiting for the token while a session is open", token: 500 * time.Millisecond},
		{name: "waiting for the token", token: time.Minute},
		{name: "dialing", latency: time.Minute},
		{name: "signing in", misstep: func(s *fakeServer) { s.reply = nil }},
	} {
		for _, path := range connectPaths {
			for _, kind := range []struct {
				name   string
				cancel func(context.Context) (context.Context, func())
				want   error
			}{
				{"canceled", func(ctx context.Context) (context.Context, func()) {
					ctx, cancel := context.WithCancelCause(ctx)
					time.AfterFunc(200*time.Millisecond, func() { cancel(foreignCause{errors.New("foreign")}) })
					return ctx, func() { cancel(nil) }
				}, context.Canceled},
				{"deadline", func(ctx context.Context) (context.Context, func()) {
					return context.WithTimeoutCause(ctx, 200*time.Millisecond, foreignCause{errors.New("foreign")})
				}, context.DeadlineExceeded},
			} {
				t.Run(tt.name+", "+kind.name+", "+path.name, func(t *testing.T) {
					s := newFakeServer(t, tt.misstep)
					synctest.Test(t, func(t *testing.T) {
						network := &pipeNetwork{server: s, latency: tt.latency}
						c := newConnector(t, network.dsn(""), WithCredential(&entratest.Credential{Delay: tt.token}), network.option())
						ctx, stop := kind.cancel(t.Context())
						defer stop()
						err := path.connect(ctx, t, c)
						if !errors.Is(err, kind.want) {
							t.Errorf("connect = %v, want %v", err, kind.want)
						}
						if errors.As(err, new(foreignCause)) || (err != nil && strings.Contains(err.Error(), "foreign")) {
							t.Errorf("connect = %v, want the cause of the context not in it", err)
						}
						time.Sleep(2 * time.Minute) // of the bubble: the token request ends
					})
				})
			}
		}
	}
}
