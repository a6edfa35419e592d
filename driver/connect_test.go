package driver

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// connectPaths are the two ways to connect: through database/sql, and with pgx alone. A
// connection stays open until the end of the test.
var connectPaths = []struct {
	name    string
	connect func(context.Context, *testing.T, *Connector) error
}{
	{"Connect", func(ctx context.Context, t *testing.T, c *Connector) error {
		conn, err := c.Connect(ctx)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	}},
	{"BeforeConnect", func(ctx context.Context, t *testing.T, c *Connector) error {
		config := c.Config()
		if err := c.BeforeConnect(ctx, config); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			t.Cleanup(func() { conn.Close(context.Background()) })
		}
		return err
	}},
}

// Connect requests the token while pgx dials: a connect without a cached token takes as
// long as the slower of the two, not as long as both. BeforeConnect waits for the token
// first, because pgx cannot dial again for a late one.
func TestColdConnectTakesTheLongerOfTokenAndDial(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	for _, tt := range []struct {
		name        string
		token, dial time.Duration
		path        int // of connectPaths
		want        time.Duration
	}{
		{name: "slow token, Connect", token: 100 * time.Millisecond, dial: 60 * time.Millisecond, path: 0, want: 100 * time.Millisecond},
		{name: "slow dial, Connect", token: 30 * time.Millisecond, dial: 60 * time.Millisecond, path: 0, want: 60 * time.Millisecond},
		{name: "slow token, BeforeConnect", token: 100 * time.Millisecond, dial: 60 * time.Millisecond, path: 1, want: 160 * time.Millisecond},
		{name: "slow dial, BeforeConnect", token: 30 * time.Millisecond, dial: 60 * time.Millisecond, path: 1, want: 90 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Delay: tt.token}), s.overPipe(tt.dial))
				began := time.Now()
				if err := connectPaths[tt.path].connect(t.Context(), t, c); err != nil {
					t.Fatalf("connect = %v", err)
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("connect took %s, want %s", took, tt.want)
				}
			})
		})
	}
}

// A token request that fails ends the dial at once, whatever the host does.
func TestFailedTokenEndsTheDial(t *testing.T) {
	entratest.CleanEnv(t)
	const delay = 50 * time.Millisecond
	for _, path := range connectPaths {
		t.Run(path.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := withDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				c := newConnector(t, "host=a,b user=u", WithCredential(&entratest.Credential{Delay: delay, Get: tokenUnavailable}), hang)
				began := time.Now()
				err := path.connect(t.Context(), t, c)
				if !errors.Is(err, errUnavailable) {
					t.Errorf("connect = %v, want %v", err, errUnavailable)
				}
				if took := time.Since(began); took != delay {
					t.Errorf("connect took %s, want %s", took, delay)
				}
			})
		})
	}
}

// Where a token request fails, Connect dials no other host. It returns the request's error,
// not what pgx says about the dial that the request ended.
func TestFailedTokenIsTheError(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		hang := withDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			if ctx.Err() == nil {
				dials++
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		c := newConnector(t, "host=a,b user=u", WithCredential(&entratest.Credential{Delay: time.Second, Get: tokenUnavailable}), hang)
		_, err := c.Connect(t.Context())
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("Connect() = %v, want an *Error", err)
		}
		const want = "aadpostgres: token: the authority is unavailable"
		if got := e.Error(); got != want {
			t.Errorf("Connect() = %q, want %q", got, want)
		}
		if dials != 1 {
			t.Errorf("dials = %d, want 1", dials)
		}
	})
}

// A dial that fails leaves the token request to go on, for the next connect.
func TestFailedDialKeepsTheToken(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: time.Second}
		refused := errors.New("connection refused")
		c := newConnector(t, "host=127.0.0.1 user=u", WithCredential(cred), withDial(func(context.Context, string, string) (net.Conn, error) {
			return nil, refused
		}))
		_, err := c.Connect(t.Context())
		if !errors.Is(err, refused) {
			t.Errorf("Connect() = %v, want %v", err, refused)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("Connect() = %v, want an *Error", err)
		}
		if e.Step != StepNetwork {
			t.Errorf("step = %q, want %q", e.Step, StepNetwork)
		}
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Errorf("the token after the dial failed: %v, want none", err)
		}
		if got := cred.Calls.Load(); got != 1 {
			t.Errorf("token requests = %d, want 1", got)
		}
	})
}

// A server that hangs in the TLS handshake holds a caller no longer than the caller's
// context.
func TestHangingHandshake(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		hang := withDial(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				server.Read(make([]byte, 8))
				server.Write([]byte("S"))
				b := make([]byte, 4096)
				for {
					if _, err := server.Read(b); err != nil {
						return
					}
				}
			}()
			return client, nil
		})
		c := newConnector(t, "host=127.0.0.1 user=u", WithCredential(&entratest.Credential{}), hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Connect(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Connect() = %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Connect() took %s, want %s", took, time.Second)
		}
	})
}

// A caller whose deadline passes while it waits for the token is told that the token is
// late. pgx would call every deadline the network's.
func TestLateToken(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Delay: 2 * time.Second}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Connect(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Connect() = %v, want %v", err, context.DeadlineExceeded)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Connect() = %v, want an *Error", err)
	}
	if e.Step != StepToken {
		t.Errorf("step = %q, want %q", e.Step, StepToken)
	}
	if want := "still under way"; !strings.Contains(e.Hint, want) {
		t.Errorf("hint = %q, want %q in it", e.Hint, want)
	}
}

// A connection through BeforeConnect keeps the config with this package's dial function,
// which bound its dial to the token request. pgx dials with it again to cancel a query, and
// a program may connect with a copy of it.
func TestDialAfterColdConnect(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Delay: 20 * time.Millisecond}))
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatalf("BeforeConnect() = %v, want no error", err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("ConnectConfig() = %v, want no error", err)
	}
	defer conn.Close(t.Context())
	conn.PgConn().CancelRequest(t.Context()) // its error means nothing: the fake server has no query to cancel
	if got := s.connections(); got != 2 {
		t.Errorf("connections after CancelRequest() = %d, want 2", got)
	}
	again, err := pgx.ConnectConfig(t.Context(), conn.Config())
	if err != nil {
		t.Fatalf("ConnectConfig() with the config of a connection = %v, want no error", err)
	}
	again.Close(t.Context())
}
