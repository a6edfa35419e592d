package driver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/tracelog"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// request reads the client's request for TLS, which says nothing yet.
func (s *fakeServer) request(conn net.Conn) bool {
	_, err := io.ReadFull(io.TeeReader(conn, s), make([]byte, 8))
	return err == nil
}

// greet goes on to the startup message, over TLS, and returns what the rest is
// spoken over, or nil if the client has left.
func (s *fakeServer) greet(conn net.Conn) *tls.Conn {
	if !s.request(conn) {
		return nil
	}
	if _, err := conn.Write([]byte("S")); err != nil {
		return nil
	}
	secure := tls.Server(conn, s.tls)
	length := make([]byte, 4)
	if _, err := io.ReadFull(secure, length); err != nil {
		return nil
	}
	startup := make([]byte, min(binary.BigEndian.Uint32(length)-4, 10000))
	if _, err := io.ReadFull(io.TeeReader(secure, s), startup); err != nil {
		return nil
	}
	return secure
}

// says is a rogue that says b once the client has started up, listens to what
// comes of it, and says then, once.
func says(b []byte, then ...[]byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		secure := s.greet(conn)
		if secure == nil {
			return
		}
		if _, err := secure.Write(b); err != nil {
			return
		}
		answer := make([]byte, 64<<10)
		for _, b := range then {
			n, err := secure.Read(answer)
			if s.Write(answer[:n]); err != nil {
				return
			}
			if _, err := secure.Write(b); err != nil {
				return
			}
		}
		io.Copy(s, secure)
	}
}

// endlessly is a rogue that says b over and over.
func endlessly(b func(n int) []byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		if secure := s.greet(conn); secure != nil {
			for n := 0; ; n++ {
				if _, err := secure.Write(b(n)); err != nil {
					return
				}
			}
		}
	}
}

// plainly is a rogue that answers the request for TLS with b, and goes on with a
// handshake if it is asked to.
func plainly(b []byte, handshake bool) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		if !s.request(conn) {
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
		if handshake {
			conn := tls.Server(conn, s.tls)
			io.Copy(s, conn)
			return
		}
		io.Copy(s, conn)
	}
}

func encode(messages ...pgproto3.BackendMessage) (b []byte) {
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			panic(err)
		}
	}
	return b
}

// message makes one that claims a length, whatever it holds.
func message(kind byte, length uint32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, length), body...)
}

// authentication makes a request of any kind, of which pgx knows not all.
func authentication(kind byte, body ...byte) []byte {
	return message('R', uint32(8+len(body)), append([]byte{0, 0, 0, kind}, body...)...)
}

var cleartext = encode(&pgproto3.AuthenticationCleartextPassword{})

// What a server does that means ill, or is none: an error of one line, in little
// time and memory, and the token goes nowhere but where a verified server asks for
// it. TestHostileText has what it says in a refusal.
func TestHostileServer(t *testing.T) {
	entratest.CleanEnv(t)
	ready := encode(welcome...)
	opaque := "opaque-" + entratest.Marker // no JWT, by which it could be told
	kilobyte := strings.Repeat("x", 1024)
	notice := encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: kilobyte})
	text := func(s string) []byte { return encode(refusal("28000", s)...) }
	for _, tt := range []struct {
		name   string
		rogue  func(*fakeServer, net.Conn)
		params string
		want   string // of the error
		asked  bool   // for the token, as one may
		chain  int    // of certificates
		most   int    // MaxProtocolMessageBodyLen
	}{
		{name: "MD5", rogue: says(encode(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}})), want: "sign-in: "},
		{name: "SCRAM", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})), want: "sign-in: "},
		{name: "SCRAM with a channel", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}})), want: "sign-in: "},
		{name: "GSS", rogue: says(authentication(7)), want: "sign-in: "},
		{name: "GSS goes on", rogue: says(authentication(8, 1, 2, 3)), want: "network: "},
		{name: "SSPI", rogue: says(authentication(9)), want: "AuthTypeSSPI is unimplemented"},
		{name: "Kerberos", rogue: says(authentication(2)), want: "unknown authentication type: 2"},
		{name: "SCM", rogue: says(authentication(6)), want: "AuthTypeSCMCreds is unimplemented"},
		{name: "an authentication to come", rogue: says(authentication(99)), want: "unknown authentication type: 99"},
		{name: "nothing", rogue: says(ready), want: "check the host: it does not authenticate its clients"},
		{name: "not even that", rogue: says(encode(&pgproto3.ReadyForQuery{TxStatus: 'I'})), want: "received ReadyForQuery before AuthenticationOk"},
		{name: "MD5 after the token", rogue: says(cleartext, encode(&pgproto3.AuthenticationMD5Password{})), want: "sign-in: ", asked: true},
		{name: "no mechanism", rogue: says(encode(&pgproto3.AuthenticationSASL{})), want: "sign-in: "},
		{name: "a mechanism in lower case", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"oauthbearer", "OAUTHBEARER ", "PLAIN"}})), want: "sign-in: "},
		{name: "a mechanism without end", rogue: says(authentication(10, []byte("OAUTHBEARER")...)), want: "unterminated string"},
		{name: "mechanisms by the thousand", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: append(make([]string, 10000), "PLAIN")})), want: "sign-in: "},
		{name: "bearer among others", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256", "OAUTHBEARER"}}), text("no")), want: "sign-in: no", asked: true},
		{name: "bearer refused, and said again", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}), text("bad "+opaque)), want: "sign-in: bad xxxxx", asked: true},
		{name: "bearer and no JSON", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}),
			encode(&pgproto3.AuthenticationSASLContinue{Data: []byte("\x1b[31m" + opaque)})), want: "invalid OAuth error response from server", asked: true},
		{name: "bearer said again", rogue: says(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}),
			encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"\u001b[31m` + opaque + `\n is bad"}`)})), want: "OAuth authentication failed: [31mxxxxx is bad", asked: true},
		{name: "the token said again", rogue: says(cleartext, text("bad password "+opaque+"\x1b[0m\r\nfor me")), want: "bad password xxxxx [0m for me", asked: true},
		{name: "the token in a notice", rogue: says(cleartext, append(encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: opaque, Detail: opaque}), text("no")...)), want: "sign-in: no", asked: true},
		{name: "the token said again, not fatal", rogue: says(cleartext, encode(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "28000", Message: opaque, Detail: opaque, Hint: opaque})), want: "sign-in: xxxxx (SQLSTATE 28000)", asked: true},
		{name: "the token in a severity", rogue: says(cleartext, encode(&pgproto3.ErrorResponse{Severity: "FATAL " + opaque, Code: "28000", Message: "no"})), want: "sign-in: no", asked: true},
		{name: "the token in a code", rogue: says(cleartext, encode(&pgproto3.ErrorResponse{Severity: "FATAL", Code: opaque, Message: "no"})), want: "sign-in: no (SQLSTATE xxxxx)", asked: true},
		{name: "the token in all the rest", rogue: says(cleartext, encode(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: opaque, Code: "28000", Message: "no", InternalQuery: opaque, Where: opaque,
			SchemaName: opaque, TableName: opaque, ColumnName: opaque, DataTypeName: opaque, ConstraintName: opaque, File: opaque, Routine: opaque})), want: "sign-in: no", asked: true},

		{name: "no TLS", rogue: plainly([]byte("N"), false), want: "server refused TLS connection"},
		{name: "no TLS, and a password", rogue: plainly(append([]byte("N"), cleartext...), false), want: "server refused TLS connection"},
		{name: "a password before TLS", rogue: plainly(cleartext, false), want: "server refused TLS connection"},
		{name: "an error before TLS", rogue: plainly(text("run curl evil.example"), true), want: "server refused TLS connection"},
		{name: "GSS in place of TLS", rogue: plainly([]byte("G"), true), want: "server refused TLS connection"},
		{name: "HTTP", rogue: plainly([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false), want: "server refused TLS connection"},
		{name: "SSH", rogue: plainly([]byte("SSH-2.0-OpenSSH_9.9\r\n"), false), want: "first record does not look like a TLS handshake"},
		{name: "stuffed before the handshake", rogue: plainly(append([]byte("S"), cleartext...), true), want: "first record does not look like a TLS handshake"},
		{name: "an error stuffed before the handshake", rogue: plainly(append([]byte("S"), text("forged")...), true), want: "first record does not look like a TLS handshake"},
		{name: "nobody", rogue: func(*fakeServer, net.Conn) {}, want: "network: "},
		{name: "a long chain", rogue: says(cleartext), chain: 500, want: "tls: handshake message of length"},
		{name: "a chain that is just read", rogue: says(cleartext, text("no")), chain: 200, want: "sign-in: no", asked: true},

		{name: "a message of 1 GB", rogue: says(message('R', 0x3fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "an error of 1 GB", rogue: says(message('E', 0x3fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "a message of 2 GB", rogue: says(message('S', 0x7fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "a message of less than nothing", rogue: says(message('R', 0xffffffff)), want: "invalid message length"},
		{name: "a message without its length", rogue: says(message('R', 3)), want: "invalid message length"},
		{name: "1 GB, as the program allows", rogue: says(message('R', 0x3fffffff)), most: 1 << 30, want: "the server sends more than a sign-in takes"},
		{name: "1 GB after the token", rogue: says(cleartext, message('E', 0x3fffffff)), want: "the server sends more than a sign-in takes", asked: true},
		{name: "1 GB within the session's settings", rogue: says(cleartext, append(encode(&pgproto3.AuthenticationOk{}), message('S', 0x3fffffff)...)), want: "the server sends more than a sign-in takes", asked: true},
		{name: "notices without end", rogue: endlessly(func(int) []byte { return notice }), want: "the server sends more than a sign-in takes"},
		{name: "settings without end", rogue: endlessly(func(n int) []byte {
			return encode(&pgproto3.ParameterStatus{Name: fmt.Sprint(n), Value: kilobyte})
		}), want: "the server sends more than a sign-in takes"},
		{name: "keys without end", rogue: endlessly(func(n int) []byte { return encode(&pgproto3.BackendKeyData{SecretKey: make([]byte, 256)}) }),
			want: "the server sends more than a sign-in takes"},
		{name: "passwords without end", rogue: func(s *fakeServer, conn net.Conn) {
			if secure := s.greet(conn); secure != nil {
				go func() {
					for {
						if _, err := secure.Write(cleartext); err != nil {
							return
						}
					}
				}()
				io.Copy(s, secure)
			}
		}, want: "the server requests authentication again and again", asked: true},
		{name: "passwords without end, unread", rogue: endlessly(func(int) []byte { return bytes.Repeat(cleartext, 100) }), want: "the server requests authentication again and again"},
		{name: "a result", rogue: says(encode(&pgproto3.DataRow{Values: [][]byte{[]byte("x")}})), want: "): received unexpected message"},
		{name: "no message", rogue: says(message('\x1b', 4)), want: "unknown message type:"},
		{name: "garbage", rogue: says(bytes.Repeat([]byte{0x80, 0x1b, 0x0a}, 1000)), want: "network: "},

		{name: "a protocol to come", rogue: says(encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 9999, UnrecognizedOptions: []string{"_pq_.\x1b"}}, &pgproto3.AuthenticationMD5Password{})), want: "sign-in: "},
		{name: "options by the billion", rogue: says(message('v', 12, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)), want: "NegotiateProtocolVersion"},
		{name: "a protocol of the past", rogue: says(encode(&pgproto3.NegotiateProtocolVersion{})), params: "min_protocol_version=3.2 max_protocol_version=3.2", want: "server protocol version too low"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				if s.rogue = tt.rogue; tt.chain > 0 {
					present(s, tt.chain)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			log := &record{}
			note := func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) }
			trace := &tracelog.TraceLog{LogLevel: tracelog.LogLevelTrace, Logger: tracelog.LoggerFunc(func(_ context.Context, _ tracelog.LogLevel, msg string, data map[string]any) {
				note("%s %v", msg, data)
			})}
			c, err := NewConnector(s.dsn("sslrootcert="+s.certFile+" "+tt.params), WithCredential(opaquely(opaque)), WithLogger(slog.New(slog.NewTextHandler(log, nil))), WithConnConfig(func(c *pgx.ConnConfig) {
				// What a program may hear of a sign-in by pgx itself. Of the answer to a bearer's
				// token pgx lets nobody hear before its tracer.
				if c.Tracer = trace; strings.HasPrefix(tt.name, "bearer") {
					c.Tracer = nil
				}
				c.MaxProtocolMessageBodyLen = tt.most
				c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { note("%v", *n) }
				c.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool { note("%v", *e); return true }
			}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tokenOf(ctx, c); err != nil {
				t.Fatal(err)
			}
			allocated, took := cost(func() { _, err = c.Connect(ctx) })
			oneHarmlessLine(t, err, tt.want)
			if strings.Contains(log.String(), entratest.Marker) {
				t.Errorf("logged: %s", log)
			}
			if allocated > 32<<20 || took > 3*time.Second {
				t.Errorf("it took %d KiB and %s", allocated>>10, took)
			}
			s.hungUp()
			heard, _ := s.got()
			if strings.Contains(heard, entratest.Marker) != tt.asked {
				t.Errorf("the server heard %.300q", heard)
			}
		})
	}
}

// cost measures what f allocates, in the whole process, and how long it takes.
func cost(f func()) (allocated uint64, took time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	f()
	took = time.Since(began)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took
}

// oneHarmlessLine tells that err is ours, says want, and prints as one line without
// a secret, by itself and as what it wraps.
func oneHarmlessLine(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
		return
	}
	for _, text := range routes(err) {
		if strings.Contains(text, entratest.Marker) {
			t.Errorf("it holds a secret: %s", text)
		}
	}
	for _, wrapped := range chain(err) {
		if strings.Contains(wrapped.Error(), entratest.Marker) {
			t.Errorf("within it %T holds a secret: %.500s", wrapped, wrapped)
		}
	}
	line := err.Error()
	if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || len(line) > 2000 || strings.Contains(line, "%!") {
		t.Errorf("%d bytes, of which those at %d do not print: %.300q", len(line), i, line)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.Contains(fmt.Sprintf("%#v", *pg), entratest.Marker) {
		t.Errorf("pgx's error holds a secret: %#v", *pg)
	}
}

// chain lists err and all that it wraps, as reporters of errors do.
func chain(err error) []error {
	all := []error{err}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if err := w.Unwrap(); err != nil {
			all = append(all, chain(err)...)
		}
	case interface{ Unwrap() []error }:
		for _, err := range w.Unwrap() {
			all = append(all, chain(err)...)
		}
	}
	return all
}

// record is a log that many may write.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// opaquely answers with one token that is no JWT, for an hour.
func opaquely(token string) *entratest.Credential {
	return &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, nil
	}}
}

// A server that takes its time, at any step, holds a connect no longer than the
// caller allows.
func TestDrip(t *testing.T) {
	entratest.CleanEnv(t)
	drip := func(conn net.Conn, b []byte) {
		for i := range b {
			if _, err := conn.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	notice := encode(&pgproto3.NoticeResponse{Message: strings.Repeat("x", 1000)})
	for name, rogue := range map[string]func(*fakeServer, net.Conn){
		"before TLS": func(s *fakeServer, conn net.Conn) { s.request(conn); io.Copy(io.Discard, conn) },
		"in the handshake": func(s *fakeServer, conn net.Conn) {
			s.request(conn)
			conn.Write([]byte("S"))
			go io.Copy(io.Discard, conn)
			drip(conn, append([]byte{22, 3, 3, 0x10, 0, 2, 0, 0x0f, 0xff}, make([]byte, 0xfff)...))
		},
		"in a message": func(s *fakeServer, conn net.Conn) {
			if secure := s.greet(conn); secure != nil {
				go io.Copy(io.Discard, conn)
				drip(secure, notice)
			}
		},
		"after the token": func(s *fakeServer, conn net.Conn) {
			if secure := s.greet(conn); secure != nil {
				secure.Write(cleartext)
				secure.Read(make([]byte, 64<<10))
				go io.Copy(io.Discard, conn)
				drip(secure, notice)
			}
		},
	} {
		for _, by := range []string{"the context", "connect_timeout"} {
			t.Run(name+", "+by, func(t *testing.T) {
				s := newFakeServer(t, func(s *fakeServer) { s.rogue = rogue })
				synctest.Test(t, func(t *testing.T) {
					dsn, ctx := s.dsn("sslrootcert="+s.certFile), t.Context()
					if by == "the context" {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
						defer cancel()
						dsn = strings.Replace(dsn, "connect_timeout=5", "connect_timeout=3600", 1)
					}
					c, err := NewConnector(dsn, WithCredential(&entratest.Credential{}), s.piped(0))
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					_, err = c.Connect(ctx)
					if took := time.Since(began); took != 5*time.Second {
						t.Errorf("it took %s", took)
					}
					oneHarmlessLine(t, err, "aadpostgres: ")
					time.Sleep(2 * time.Second) // of the bubble: the server sees that the client has left
				})
			})
		}
	}
}

// present gives the server a chain of n certificates, its own over and over.
func present(s *fakeServer, n int) {
	own := s.tls.Certificates[0]
	chain := tls.Certificate{PrivateKey: own.PrivateKey}
	for range n {
		chain.Certificate = append(chain.Certificate, own.Certificate[0])
	}
	s.tls = &tls.Config{Certificates: []tls.Certificate{chain}}
}
