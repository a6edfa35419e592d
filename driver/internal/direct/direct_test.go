package direct_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
)

var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// A server accepts direct TLS and negotiation. What it does with a connection that begins
// with TLS can be replaced.
type server struct {
	config     *tls.Config
	onDirect   func(net.Conn) // replaces TLS, if not nil; the first byte was read
	down       atomic.Bool    // no connection is accepted
	direct     atomic.Int64   // connections that began with TLS
	negotiated atomic.Int64   // connections that began with an SSLRequest
}

func newServer(t *testing.T, onDirect func(net.Conn)) *server {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	config := web.TLS.Clone()
	config.NextProtos = []string{direct.Protocol}
	return &server{config: config, onDirect: onDirect}
}

// dial returns the client's end of a pipe to s.
func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	if s.down.Load() {
		return nil, errors.New("connection refused")
	}
	client, conn := net.Pipe()
	go func() {
		defer conn.Close()
		s.serve(conn)
	}()
	return client, nil
}

// serve establishes TLS and says hello.
func (s *server) serve(conn net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	var stream net.Conn = conn
	if first[0] == 0 {
		s.negotiated.Add(1)
		if _, err := io.ReadFull(conn, make([]byte, len(sslRequest)-1)); err != nil {
			return
		}
		conn.Write([]byte("S"))
	} else {
		s.direct.Add(1)
		if s.onDirect != nil {
			s.onDirect(conn)
			return
		}
		stream = &peeked{conn, first}
	}
	t := tls.Server(stream, s.config)
	if t.Handshake() != nil {
		return
	}
	if _, err := io.ReadFull(t, first); err != nil {
		return
	}
	t.Write([]byte("hello"))
	io.Copy(io.Discard, t)
}

type peeked struct {
	net.Conn
	first []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}

// connect does what pgx does: it negotiates TLS, and reads hello.
func connect(ctx context.Context, servers *direct.Servers, s *server) (*tls.Conn, error) {
	conn, err := servers.Dialer(s.dial)(ctx, "tcp", "10.0.0.4:5432")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(sslRequest); err != nil {
		conn.Close()
		return nil, err
	}
	response := make([]byte, 1)
	if _, err := io.ReadFull(conn, response); err != nil {
		conn.Close()
		return nil, err
	}
	t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{direct.Protocol}})
	if _, err := t.Write([]byte("x")); err != nil {
		t.Close()
		return nil, err
	}
	hello := make([]byte, 5)
	if _, err := io.ReadFull(t, hello); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// learn connects once and says that the server has this version.
func learn(t *testing.T, servers *direct.Servers, s *server, version string) {
	t.Helper()
	conn, err := connect(t.Context(), servers, s)
	if err != nil {
		t.Fatalf("the first connect = %v", err)
	}
	servers.SignedIn(conn, version)
	conn.Close()
}

// mustConnect connects and closes, and returns how long that took.
func mustConnect(t *testing.T, servers *direct.Servers, s *server) time.Duration {
	t.Helper()
	began := time.Now()
	conn, err := connect(t.Context(), servers, s)
	if err != nil {
		t.Fatalf("connect = %v", err)
	}
	took := time.Since(began)
	if err := servers.Verify(conn); err != nil {
		t.Errorf("Verify = %v", err)
	}
	conn.Close()
	return took
}

// A server that was seen is begun with TLS.
func TestDirect(t *testing.T) {
	rows := []struct {
		name       string
		version    string
		protocols  []string
		wantDirect int64
	}{
		{"17", "17.0", []string{direct.Protocol}, 3},
		{"18 of Debian", "18.4 (Debian 18.4-1.pgdg12+1)", []string{direct.Protocol}, 3},
		{"19 beta", "19beta1", []string{direct.Protocol}, 3},
		{"16", "16.9", []string{direct.Protocol}, 0},
		{"9.6", "9.6.24", []string{direct.Protocol}, 0},
		{"no version", "", []string{direct.Protocol}, 0},
		{"a pooler's", "pooler", []string{direct.Protocol}, 0},
		{"a pooler that does not know the protocol", "18.4", nil, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, nil)
				s.config.NextProtos = row.protocols
				var servers direct.Servers
				learn(t, &servers, s, row.version)
				for range 3 {
					mustConnect(t, &servers, s)
				}
				synctest.Wait()
				if got := s.direct.Load(); got != row.wantDirect {
					t.Errorf("connections that began with TLS = %d, want %d", got, row.wantDirect)
				}
			})
		})
	}
}

// Where direct TLS does not work, the connect negotiates within a second, and later ones
// negotiate at once.
func TestFallback(t *testing.T) {
	silent := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	send := func(b ...byte) func(net.Conn) {
		return func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			conn.Write(b)
		}
	}
	silentAfter := func(b ...byte) func(net.Conn) {
		return func(conn net.Conn) {
			go conn.Write(b)
			io.Copy(io.Discard, conn)
		}
	}
	rows := []struct {
		name     string
		onDirect func(net.Conn)
		want     time.Duration // that the connect takes
	}{
		{"closed", func(net.Conn) {}, 0},
		{"an error of the protocol", send([]byte("E\x00\x00\x00\x20SFATAL\x00")...), 0},
		{"an alert", send(21, 3, 1, 0, 2, 2, 120), 0},
		{"another protocol", send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...), 0},
		{"a handshake that is no ServerHello", send(22, 3, 3, 0, 4, 1, 0, 0, 0), 0},
		{"a record that ends early", send(22, 3, 3, 0, 90, 2, 0), 0},
		{"silent", silent, direct.Timeout},
		{"silent after a byte", silentAfter([]byte{22}...), direct.Timeout},
		{"silent within a record", silentAfter([]byte{22, 3, 3, 0, 90, 2}...), direct.Timeout},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, row.onDirect)
				var servers direct.Servers
				learn(t, &servers, s, "18.4")
				if got := mustConnect(t, &servers, s); got != row.want {
					t.Errorf("the connect that falls back took %v, want %v", got, row.want)
				}
				learn(t, &servers, s, "18.4") // what is seen later does not matter
				for range 3 {
					if got := mustConnect(t, &servers, s); got != 0 {
						t.Errorf("a later connect took %v, want 0", got)
					}
				}
				synctest.Wait()
				if got := s.direct.Load(); got != 1 {
					t.Errorf("connections that began with TLS = %d, want 1", got)
				}
			})
		})
	}
}

// While one connection tries, the others negotiate: a silent server costs one of them.
func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
		var servers direct.Servers
		learn(t, &servers, s, "18.4")
		var late atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if mustConnect(t, &servers, s) > 0 {
					late.Add(1)
				}
			})
		}
		wg.Wait()
		if got := late.Load(); got != 1 {
			t.Errorf("connects that waited = %d, want 1", got)
		}
	})
}

// A connect with little time left keeps half of it for the negotiation.
func TestShortDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
		var servers direct.Servers
		learn(t, &servers, s, "18.4")
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			conn, err := connect(ctx, &servers, s)
			cancel()
			if err != nil {
				t.Fatalf("connect = %v", err)
			}
			conn.Close()
		}
		if got := s.direct.Load(); got != 1 {
			t.Errorf("connections that began with TLS = %d, want 1", got)
		}
	})
}

// A caller that gives up ends at once. Where direct TLS had worked it is tried again.
func TestCanceled(t *testing.T) {
	rows := []struct {
		name       string
		worked     bool
		wantDirect int64 // connections that begin with TLS after the one that was canceled
	}{
		{"it had worked", true, 1},
		{"it was tried", false, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, nil)
				var servers direct.Servers
				learn(t, &servers, s, "18.4")
				if row.worked {
					mustConnect(t, &servers, s)
				}
				s.onDirect = func(conn net.Conn) { io.Copy(io.Discard, conn) }
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel)
				began := time.Now()
				_, err := connect(ctx, &servers, s)
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("connect = %v, want that the deadline is exceeded", err)
				}
				if got, want := time.Since(began), 100*time.Millisecond; got != want {
					t.Errorf("connect took %v, want %v", got, want)
				}
				s.onDirect = nil
				synctest.Wait()
				before := s.direct.Load()
				mustConnect(t, &servers, s)
				if got := s.direct.Load() - before; got != row.wantDirect {
					t.Errorf("connections that began with TLS = %d, want %d", got, row.wantDirect)
				}
			})
		})
	}
}

// A server that is down says nothing of direct TLS.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *server
		s = newServer(t, func(net.Conn) { s.down.Store(true) })
		var servers direct.Servers
		learn(t, &servers, s, "18.4")
		if conn, err := connect(t.Context(), &servers, s); err == nil {
			conn.Close()
			t.Fatal("connected, want an error")
		}
		s.down.Store(false)
		s.onDirect = nil
		mustConnect(t, &servers, s)
		if got := s.direct.Load(); got != 2 {
			t.Errorf("connections that began with TLS = %d, want 2", got)
		}
	})
}

// A server that accepts direct TLS and does not select the protocol may be another one.
func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		var servers direct.Servers
		learn(t, &servers, s, "18.4")
		s.config.NextProtos = nil
		conn, err := connect(t.Context(), &servers, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := servers.Verify(conn); !errors.Is(got, direct.ErrProtocol) {
			t.Errorf("Verify = %v, want %v", got, direct.ErrProtocol)
		}
		conn.Close()
		mustConnect(t, &servers, s)
		if got := s.direct.Load(); got != 1 {
			t.Errorf("connections that began with TLS = %d, want 1", got)
		}
	})
}

// What is known is known by the host's name, and of that host alone.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		var servers direct.Servers
		lookup := servers.Lookup(func(_ context.Context, host string) ([]string, error) {
			return map[string][]string{"a": {"10.0.0.4", "10.0.0.5"}, "b": {"10.0.0.6"}}[host], nil
		})
		for _, host := range []string{"a", "b"} {
			if _, err := lookup(t.Context(), host); err != nil {
				t.Fatal(err)
			}
		}
		learn(t, &servers, s, "18.4")
		rows := []struct {
			address string
			want    bool
		}{{"10.0.0.4:5432", true}, {"10.0.0.5:5432", true}, {"10.0.0.6:5432", false}, {"10.0.0.4:6432", false}}
		mustConnect(t, &servers, s)
		for _, row := range rows {
			before := s.direct.Load()
			conn, err := servers.Dialer(s.dial)(t.Context(), "tcp", row.address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(sslRequest); err != nil {
				t.Fatal(err)
			}
			if got := direct.Begun(conn); got != row.want {
				t.Errorf("%s begins with TLS = %t, want %t", row.address, got, row.want)
			}
			conn.Close()
			synctest.Wait()
			if got := s.direct.Load(); got != before {
				t.Errorf("%s was sent something", row.address)
			}
		}
	})
}
