package driver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/tracelog"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A server that misbehaves, or that is not PostgreSQL, causes an error of one line, in
// little time and memory. The token is sent only where a verified server requests it in a
// way that keeps it secret from others. TestHostileText is about the text of an error.
func TestHostileServer(t *testing.T) {
	entratest.CleanEnv(t)
	ready := encode(authOK...)
	opaque := "opaque-" + entratest.Marker // not a JWT, which would be recognized by its form
	kilobyte := strings.Repeat("x", 1024)
	notice := encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: kilobyte})
	bearerRequest := encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}})
	rejection := func(message string) []byte { return encode(errorResponse("28000", message)...) }
	for _, tt := range []struct {
		name         string
		misbehave    func(*fakeServer, net.Conn)
		params       string
		want         string // in the error
		tokenSent    bool   // the server receives the token, which it may request
		certificates int    // in the server's chain; 0: one
		maxMessage   int    // MaxProtocolMessageBodyLen
	}{
		{name: "MD5", misbehave: send(encode(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}})), want: "sign-in: "},
		{name: "SCRAM", misbehave: send(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})), want: "sign-in: "},
		{name: "SCRAM with channel binding", misbehave: send(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}})), want: "sign-in: "},
		{name: "GSS", misbehave: send(encodeAuthRequest(7)), want: "sign-in: "},
		{name: "GSS continues", misbehave: send(encodeAuthRequest(8, 1, 2, 3)), want: "network: "},
		{name: "SSPI", misbehave: send(encodeAuthRequest(9)), want: "AuthTypeSSPI is unimplemented"},
		{name: "Kerberos", misbehave: send(encodeAuthRequest(2)), want: "unknown authentication type: 2"},
		{name: "SCM", misbehave: send(encodeAuthRequest(6)), want: "AuthTypeSCMCreds is unimplemented"},
		{name: "unknown authentication", misbehave: send(encodeAuthRequest(99)), want: "unknown authentication type: 99"},
		{name: "no authentication", misbehave: send(ready), want: "check the host: it does not authenticate its clients"},
		{name: "ready without authentication", misbehave: send(encode(&pgproto3.ReadyForQuery{TxStatus: 'I'})), want: "received ReadyForQuery before AuthenticationOk"},
		{name: "MD5 after the token", misbehave: send(cleartextRequest, encode(&pgproto3.AuthenticationMD5Password{})), want: "sign-in: ", tokenSent: true},
		{name: "no mechanism", misbehave: send(encode(&pgproto3.AuthenticationSASL{})), want: "sign-in: "},
		{name: "mechanisms that resemble OAUTHBEARER", misbehave: send(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"oauthbearer", "OAUTHBEARER ", "PLAIN"}})), want: "sign-in: "},
		{name: "unterminated mechanism", misbehave: send(encodeAuthRequest(10, []byte("OAUTHBEARER")...)), want: "unterminated string"},
		{name: "10,000 mechanisms", misbehave: send(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: append(make([]string, 10000), "PLAIN")})), want: "sign-in: "},
		{name: "bearer, among other mechanisms", misbehave: send(encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256", "OAUTHBEARER"}}), rejection("no")), want: "sign-in: no", tokenSent: true},
		{name: "bearer, token repeated in an error", misbehave: send(bearerRequest, rejection("bad "+opaque)), want: "sign-in: bad xxxxx", tokenSent: true},
		{name: "bearer, response is not JSON", misbehave: send(bearerRequest,
			encode(&pgproto3.AuthenticationSASLContinue{Data: []byte("\x1b[31m" + opaque)})), want: "invalid OAuth error response from server", tokenSent: true},
		{name: "bearer, token repeated in the status", misbehave: send(bearerRequest,
			encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"\u001b[31m` + opaque + `\n is bad"}`)})), want: "OAuth authentication failed: [31mxxxxx is bad", tokenSent: true},
		{name: "bearer, token escaped in the status", misbehave: send(bearerRequest,
			encode(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"\u006f` + opaque[1:] + ` is bad"}`)})), want: "OAuth authentication failed: xxxxx is bad", tokenSent: true},
		{name: "the token repeated", misbehave: send(cleartextRequest, rejection("bad password "+opaque+"\x1b[0m\r\nfor me")), want: "bad password xxxxx [0m for me", tokenSent: true},
		{name: "the token in a notice", misbehave: send(cleartextRequest, append(encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: opaque, Detail: opaque}), rejection("no")...)), want: "sign-in: no", tokenSent: true},
		{name: "the token repeated in an error that is not fatal", misbehave: send(cleartextRequest, encode(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "28000", Message: opaque, Detail: opaque, Hint: opaque})), want: "sign-in: xxxxx (SQLSTATE 28000)", tokenSent: true},
		{name: "the token in a severity", misbehave: send(cleartextRequest, encode(&pgproto3.ErrorResponse{Severity: "FATAL " + opaque, Code: "28000", Message: "no"})), want: "sign-in: no", tokenSent: true},
		{name: "the token in a code", misbehave: send(cleartextRequest, encode(&pgproto3.ErrorResponse{Severity: "FATAL", Code: opaque, Message: "no"})), want: "sign-in: no (SQLSTATE xxxxx)", tokenSent: true},
		{name: "the token in every other field", misbehave: send(cleartextRequest, encode(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: opaque, Code: "28000", Message: "no", InternalQuery: opaque, Where: opaque,
			SchemaName: opaque, TableName: opaque, ColumnName: opaque, DataTypeName: opaque, ConstraintName: opaque, File: opaque, Routine: opaque})), want: "sign-in: no", tokenSent: true},

		{name: "no TLS", misbehave: answerSSLRequest([]byte("N"), false), want: "server refused TLS connection"},
		{name: "no TLS, then a password request", misbehave: answerSSLRequest(append([]byte("N"), cleartextRequest...), false), want: "server refused TLS connection"},
		{name: "a password request before TLS", misbehave: answerSSLRequest(cleartextRequest, false), want: "server refused TLS connection"},
		{name: "an error before TLS", misbehave: answerSSLRequest(rejection("run curl evil.example"), true), want: "server refused TLS connection"},
		{name: "GSS in place of TLS", misbehave: answerSSLRequest([]byte("G"), true), want: "server refused TLS connection"},
		{name: "HTTP", misbehave: answerSSLRequest([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false), want: "server refused TLS connection"},
		{name: "SSH", misbehave: answerSSLRequest([]byte("SSH-2.0-OpenSSH_9.9\r\n"), false), want: "first record does not look like a TLS handshake"},
		{name: "a password request injected before the handshake", misbehave: answerSSLRequest(append([]byte("S"), cleartextRequest...), true), want: "first record does not look like a TLS handshake"},
		{name: "an error injected before the handshake", misbehave: answerSSLRequest(append([]byte("S"), rejection("forged")...), true), want: "first record does not look like a TLS handshake"},
		{name: "closes at once", misbehave: func(*fakeServer, net.Conn) {}, want: "network: "},
		{name: "certificate chain too long", misbehave: send(cleartextRequest), certificates: 500, want: "tls: handshake message of length"},
		{name: "long certificate chain", misbehave: send(cleartextRequest, rejection("no")), certificates: 200, want: "sign-in: no", tokenSent: true},

		{name: "a message of 1 GB", misbehave: send(encodeRaw('R', 0x3fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "an error of 1 GB", misbehave: send(encodeRaw('E', 0x3fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "a message of 2 GB", misbehave: send(encodeRaw('S', 0x7fffffff)), want: "the server sends more than a sign-in takes"},
		{name: "a message of negative length", misbehave: send(encodeRaw('R', 0xffffffff)), want: "invalid message length"},
		{name: "a message shorter than its length field", misbehave: send(encodeRaw('R', 3)), want: "invalid message length"},
		{name: "a message of 1 GB within the program's limit", misbehave: send(encodeRaw('R', 0x3fffffff)), maxMessage: 1 << 30, want: "the server sends more than a sign-in takes"},
		{name: "an error of 1 GB after the token", misbehave: send(cleartextRequest, encodeRaw('E', 0x3fffffff)), want: "the server sends more than a sign-in takes", tokenSent: true},
		{name: "a parameter of 1 GB after the token", misbehave: send(cleartextRequest, append(encode(&pgproto3.AuthenticationOk{}), encodeRaw('S', 0x3fffffff)...)), want: "the server sends more than a sign-in takes", tokenSent: true},
		{name: "endless notices", misbehave: sendForever(func(int) []byte { return notice }), want: "the server sends more than a sign-in takes"},
		{name: "endless parameters", misbehave: sendForever(func(n int) []byte {
			return encode(&pgproto3.ParameterStatus{Name: fmt.Sprint(n), Value: kilobyte})
		}), want: "the server sends more than a sign-in takes"},
		{name: "endless keys", misbehave: sendForever(func(n int) []byte { return encode(&pgproto3.BackendKeyData{SecretKey: make([]byte, 256)}) }),
			want: "the server sends more than a sign-in takes"},
		{name: "endless password requests", misbehave: sendWhileReading(cleartextRequest), want: "the server requests authentication again and again", tokenSent: true},
		{name: "endless password requests, responses unread", misbehave: sendForever(func(int) []byte { return bytes.Repeat(cleartextRequest, 100) }), want: "the server requests authentication again and again"},
		{name: "a data row", misbehave: send(encode(&pgproto3.DataRow{Values: [][]byte{[]byte("x")}})), want: "): received unexpected message"},
		{name: "unknown message", misbehave: send(encodeRaw('\x1b', 4)), want: "unknown message type:"},
		{name: "garbage", misbehave: send(bytes.Repeat([]byte{0x80, 0x1b, 0x0a}, 1000)), want: "network: "},

		{name: "newer protocol", misbehave: send(encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 9999, UnrecognizedOptions: []string{"_pq_.\x1b"}}, &pgproto3.AuthenticationMD5Password{})), want: "sign-in: "},
		{name: "4 billion protocol options", misbehave: send(encodeRaw('v', 12, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)), want: "NegotiateProtocolVersion"},
		{name: "older protocol", misbehave: send(encode(&pgproto3.NegotiateProtocolVersion{})), params: "min_protocol_version=3.2 max_protocol_version=3.2", want: "server protocol version too low"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				s.misbehave = tt.misbehave
				if tt.certificates > 0 {
					s.setCertificateChain(tt.certificates)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			// log holds all that a program can learn about a sign-in from pgx and from us.
			log := &syncBuffer{}
			logger := WithLogger(slog.New(slog.NewTextHandler(log, nil)))
			c := newConnector(t, s.trustedDSN(tt.params), WithCredential(opaqueCredential(opaque)), logger, WithConnConfig(func(c *pgx.ConnConfig) {
				logHooks(c, log)
				c.MaxProtocolMessageBodyLen = tt.maxMessage
			}))
			if _, err := tokenOf(ctx, c); err != nil {
				t.Fatal(err)
			}
			var err error
			cost := measure(func() { _, err = c.Connect(ctx) })
			checkSafeError(t, err, tt.want)
			cost.check(t, 32<<20, 3*time.Second)
			checkNoSecret(t, "log", log.String())
			s.waitUntilClosed()
			received := s.received.String()
			if sent := strings.Contains(received, entratest.Marker); sent != tt.tokenSent {
				t.Errorf("the server received %.300q, want the token in it: %t", received, tt.tokenSent)
			}
		})
	}
}

// logHooks writes to log what pgx tells a program's tracer and hooks.
func logHooks(c *pgx.ConnConfig, log io.Writer) {
	logf := func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) }
	c.Tracer = &tracelog.TraceLog{
		LogLevel: tracelog.LogLevelTrace,
		Logger: tracelog.LoggerFunc(func(_ context.Context, _ tracelog.LogLevel, msg string, data map[string]any) {
			logf("%s %v", msg, data)
		}),
	}
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { logf("%v", *n) }
	c.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool {
		logf("%v", *e)
		return true
	}
}

// A server that sends a byte a second, or nothing, holds a connect no longer than the
// caller's context, or connect_timeout, allows.
func TestSlowServer(t *testing.T) {
	entratest.CleanEnv(t)
	sendSlowly := func(conn net.Conn, b []byte) {
		for i := range b {
			if _, err := conn.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	notice := encode(&pgproto3.NoticeResponse{Message: strings.Repeat("x", 1000)})
	for _, tt := range []struct {
		name      string
		misbehave func(*fakeServer, net.Conn)
	}{
		{"before TLS", func(s *fakeServer, conn net.Conn) {
			s.readSSLRequest(conn)
			io.Copy(io.Discard, conn)
		}},
		{"in the handshake", func(s *fakeServer, conn net.Conn) {
			s.readSSLRequest(conn)
			conn.Write([]byte("S"))
			go io.Copy(io.Discard, conn)
			sendSlowly(conn, append([]byte{22, 3, 3, 0x10, 0, 2, 0, 0x0f, 0xff}, make([]byte, 0xfff)...))
		}},
		{"in a message", func(s *fakeServer, conn net.Conn) {
			secure := s.readStartup(conn)
			if secure == nil {
				return
			}
			go io.Copy(io.Discard, conn)
			sendSlowly(secure, notice)
		}},
		{"after the token", func(s *fakeServer, conn net.Conn) {
			secure := s.readStartup(conn)
			if secure == nil {
				return
			}
			secure.Write(cleartextRequest)
			secure.Read(make([]byte, 64<<10))
			go io.Copy(io.Discard, conn)
			sendSlowly(secure, notice)
		}},
	} {
		for _, limit := range []struct {
			name           string
			connectTimeout string
			deadline       time.Duration // of the context
		}{
			{name: "the context", connectTimeout: "3600", deadline: 5 * time.Second},
			{name: "connect_timeout", connectTimeout: "5", deadline: time.Hour},
		} {
			t.Run(tt.name+", "+limit.name, func(t *testing.T) {
				s := newFakeServer(t, func(s *fakeServer) { s.misbehave = tt.misbehave })
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), limit.deadline)
					defer cancel()
					dsn := strings.Replace(s.trustedDSN(""), "connect_timeout=5", "connect_timeout="+limit.connectTimeout, 1)
					c := newConnector(t, dsn, WithCredential(&entratest.Credential{}), s.overPipe(0))
					began := time.Now()
					_, err := c.Connect(ctx)
					if took := time.Since(began); took != 5*time.Second {
						t.Errorf("Connect() took %s, want %s", took, 5*time.Second)
					}
					checkSafeError(t, err, "aadpostgres: ")
					time.Sleep(2 * time.Second) // of the bubble: the server notices that the client has gone
				})
			})
		}
	}
}
