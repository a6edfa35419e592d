package driver

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A fakeServer speaks enough of PostgreSQL's protocol to sign a client in. It records
// every byte that it can read, so that a test sees what a client gives away.
type fakeServer struct {
	host, port  string
	certFile    string // the root that a client trusts the server by
	tls         *tls.Config
	authRequest pgproto3.BackendMessage // how a client must authenticate; nil: not at all
	reply       []pgproto3.BackendMessage
	verdict     func(response string) []pgproto3.BackendMessage // returns the reply to an authentication response, if not nil
	misbehave   func(s *fakeServer, conn net.Conn)              // replaces the protocol, if not nil

	received syncBuffer

	mu     sync.Mutex // guards what follows
	conns  int
	open   int        // of conns
	closed *sync.Cond // one of conns
}

// authOK is what a server sends to a client that is signed in.
var authOK = []pgproto3.BackendMessage{
	&pgproto3.AuthenticationOk{},
	&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}},
	&pgproto3.ReadyForQuery{TxStatus: 'I'},
}

// errorResponse is what a server sends to a client that it rejects.
func errorResponse(code, message string) []pgproto3.BackendMessage {
	return []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message}}
}

// rejectFirst returns a verdict that rejects the first token that the server receives,
// with reply, and accepts every other token.
func rejectFirst(reply []pgproto3.BackendMessage) func(string) []pgproto3.BackendMessage {
	var mu sync.Mutex
	first := ""
	return func(response string) []pgproto3.BackendMessage {
		mu.Lock()
		defer mu.Unlock()
		if first == "" {
			first = response
		}
		if response == first {
			return reply
		}
		return authOK
	}
}

// rejectFirstConnection returns a verdict that rejects the first connection, with reply,
// and accepts every other, whatever the token.
func rejectFirstConnection(reply []pgproto3.BackendMessage) func(string) []pgproto3.BackendMessage {
	var connections atomic.Int64
	return func(string) []pgproto3.BackendMessage {
		if connections.Add(1) == 1 {
			return reply
		}
		return authOK
	}
}

// newFakeServer starts a server that requests a cleartext password over TLS and accepts
// every client, unless change makes it do something else.
func newFakeServer(t testing.TB, change func(*fakeServer)) *fakeServer {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its self-signed certificate
	web.Close()
	s := &fakeServer{
		host:        "127.0.0.1",
		certFile:    filepath.Join(t.TempDir(), "ca.pem"),
		tls:         web.TLS,
		authRequest: &pgproto3.AuthenticationCleartextPassword{},
		reply:       authOK,
	}
	s.tls.NextProtos = nil
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(s.certFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	s.closed = sync.NewCond(&s.mu)
	var wg sync.WaitGroup
	wg.Go(func() { s.accept(ln, &wg) })
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return s
}

// setCertificateChain gives the server a chain of n certificates, all of which are its
// own.
func (s *fakeServer) setCertificateChain(n int) {
	own := s.tls.Certificates[0]
	chain := tls.Certificate{PrivateKey: own.PrivateKey}
	for range n {
		chain.Certificate = append(chain.Certificate, own.Certificate[0])
	}
	s.tls = &tls.Config{Certificates: []tls.Certificate{chain}}
}

func (s *fakeServer) accept(ln net.Listener, wg *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		s.open++
		s.mu.Unlock()
		wg.Go(func() {
			defer s.connClosed()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			s.serve(conn)
		})
	}
}

func (s *fakeServer) serve(conn net.Conn) {
	if s.misbehave != nil {
		s.misbehave(s, conn)
		return
	}
	rw := s.record(conn)
	backend := pgproto3.NewBackend(rw, rw)
	for {
		m, err := backend.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch m.(type) {
		case *pgproto3.SSLRequest:
			if s.tls == nil {
				conn.Write([]byte("N"))
				continue
			}
			conn.Write([]byte("S"))
			secure := tls.Server(conn, s.tls)
			if secure.Handshake() != nil {
				return
			}
			rw = s.record(secure)
			backend = pgproto3.NewBackend(rw, rw)
		case *pgproto3.StartupMessage:
			s.authenticate(rw, backend)
			return
		case *pgproto3.CancelRequest:
			return
		}
	}
}

// record returns conn, what is read from which is recorded.
func (s *fakeServer) record(conn net.Conn) io.ReadWriter {
	return struct {
		io.Reader
		io.Writer
	}{io.TeeReader(conn, &s.received), conn}
}

func (s *fakeServer) authenticate(rw io.ReadWriter, backend *pgproto3.Backend) {
	reply := s.reply
	if s.authRequest != nil {
		backend.Send(s.authRequest)
		if backend.Flush() != nil {
			return
		}
		response := make([]byte, 64<<10)
		n, err := io.ReadAtLeast(rw, response, 5)
		if err != nil {
			return
		}
		if s.verdict != nil {
			reply = s.verdict(string(response[:n]))
		}
	}
	for _, m := range reply {
		backend.Send(m)
	}
	backend.Flush()
	io.Copy(io.Discard, rw)
}

// connections returns how many connections the server has accepted.
func (s *fakeServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

func (s *fakeServer) connClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.closed.Broadcast()
}

// waitUntilClosed waits until there has been a connection and none is open, so that all
// that was sent is recorded.
func (s *fakeServer) waitUntilClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.conns == 0 || s.open > 0 {
		s.closed.Wait()
	}
}

// dsn returns a DSN of the server, with params at its end.
func (s *fakeServer) dsn(params string) string {
	return "host=" + s.host + " port=" + s.port + " user=me dbname=d connect_timeout=5 " + params
}

// trustedDSN returns a DSN that trusts the server's certificate, with params at its end.
func (s *fakeServer) trustedDSN(params string) string {
	return s.dsn("sslrootcert=" + entratest.Quote(s.certFile) + " " + params)
}

// overPipe lets pgx reach s through a pipe, after dialDelay, as a synctest bubble needs it.
func (s *fakeServer) overPipe(dialDelay time.Duration) Option {
	return withDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case <-time.After(dialDelay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			s.serve(server)
		}()
		return client, nil
	})
}

// withDial lets pgx dial by dial, and resolve every name.
func withDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return WithConnConfig(func(config *pgx.ConnConfig) {
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		config.DialFunc = dial
	})
}

// resolveTo resolves the name of each server to its address, and no other name.
func resolveTo(servers map[string]*fakeServer) Option {
	return WithConnConfig(func(config *pgx.ConnConfig) {
		config.LookupFunc = func(_ context.Context, host string) ([]string, error) {
			s := servers[host]
			if s == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []string{net.JoinHostPort(s.host, s.port)}, nil
		}
	})
}

// newConnector returns a connector that is closed at the end of the test.
func newConnector(t testing.TB, dsn string, opts ...Option) *Connector {
	t.Helper()
	c, err := NewConnector(dsn, opts...)
	if err != nil {
		t.Fatalf("NewConnector() = %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ping opens a pool on a new connector, opens one connection and closes both.
func ping(t *testing.T, dsn string, opts ...Option) error {
	t.Helper()
	c, err := NewConnector(dsn, opts...)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err == nil {
		conn.Close()
	}
	return err
}

// A syncBuffer is a buffer that is safe for concurrent use.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// rejectAfter returns a verdict that accepts every token while *accept, and then rejects the
// tokens that it has accepted, in words that do not name the token.
func rejectAfter(accept *bool, seen *string) func(string) []pgproto3.BackendMessage {
	return func(response string) []pgproto3.BackendMessage {
		if *accept {
			*seen = response
			return authOK
		}
		if response == *seen {
			return errorResponse("28P01", passwordFailed)
		}
		return authOK
	}
}
