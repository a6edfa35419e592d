package driver

import (
	"bytes"
	"crypto/tls"
	"database/sql"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// fakeServer speaks just enough of PostgreSQL's protocol to show what a client
// would give away. It records every byte that it can read.
type fakeServer struct {
	host, port string
	certFile   string // trusts the server's certificate
	tls        *tls.Config
	auth       pgproto3.BackendMessage // what to ask for; nil asks for nothing
	reply      []pgproto3.BackendMessage
	judge      func(said string) []pgproto3.BackendMessage // replies instead, if not nil
	rogue      func(s *fakeServer, conn net.Conn)          // does all of it instead, if not nil

	mu    sync.Mutex
	heard bytes.Buffer
	conns int
	open  int        // of conns
	ended *sync.Cond // of one of them
}

var welcome = []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}, &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'}}

func refusal(code, text string) []pgproto3.BackendMessage {
	return []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: text}}
}

// newFakeServer starts a server that asks for a cleartext password over TLS and
// lets everyone in. change may spoil it.
func newFakeServer(t testing.TB, change func(*fakeServer)) *fakeServer {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate, which is its own authority
	web.Close()
	s := &fakeServer{certFile: filepath.Join(t.TempDir(), "ca.pem"), tls: web.TLS, auth: &pgproto3.AuthenticationCleartextPassword{}, reply: welcome}
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
	s.host, s.port = "127.0.0.1", strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	s.ended = sync.NewCond(&s.mu)
	var wg sync.WaitGroup
	wg.Go(func() { s.accept(ln, &wg) })
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return s
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
			defer s.hangUp()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			s.serve(conn)
		})
	}
}

func (s *fakeServer) serve(conn net.Conn) {
	if s.rogue != nil {
		s.rogue(s, conn)
		return
	}
	var rw io.ReadWriter = struct {
		io.Reader
		io.Writer
	}{io.TeeReader(conn, s), conn}
	be := pgproto3.NewBackend(rw, rw)
	for {
		m, err := be.ReceiveStartupMessage()
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
			rw = struct {
				io.Reader
				io.Writer
			}{io.TeeReader(secure, s), secure}
			be = pgproto3.NewBackend(rw, rw)
		case *pgproto3.StartupMessage:
			reply := s.reply
			if s.auth != nil {
				be.Send(s.auth)
				if be.Flush() != nil {
					return
				}
				said := make([]byte, 64<<10)
				n, err := io.ReadAtLeast(rw, said, 5)
				if err != nil {
					return
				}
				if s.judge != nil {
					reply = s.judge(string(said[:n]))
				}
			}
			for _, m := range reply {
				be.Send(m)
			}
			be.Flush()
			io.Copy(io.Discard, rw)
			return
		}
	}
}

// Write records what was heard.
func (s *fakeServer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.Write(b)
}

func (s *fakeServer) got() (heard string, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.String(), s.conns
}

func (s *fakeServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.ended.Broadcast()
}

// hungUp waits until no connection is left of those that there were, so that all is
// heard.
func (s *fakeServer) hungUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.conns == 0 || s.open > 0 {
		s.ended.Wait()
	}
}

// dsn leads to the server; params follow.
func (s *fakeServer) dsn(params string) string {
	return "host=" + s.host + " port=" + s.port + " user=me dbname=d connect_timeout=5 " + params
}

// ping opens a pool of one on a connector and uses it once.
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
