package driver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// requireAuth keeps a server that requests a hash of the token, or nothing, from getting
// a session. An Entra role is asked for a cleartext password, over TLS, or for
// OAUTHBEARER.
const requireAuth = "password,oauth"

const (
	// maxAuthBytes is what a server may send before it has signed us in, in one message
	// and in all. Without a bound a header of five bytes reserves a gigabyte, and
	// parameters are kept for as long as they come. libpq accepts 30,000 bytes in one
	// message.
	maxAuthBytes = 1 << 20

	// maxAuthReplies is how often the server is answered until then. A password takes one
	// answer, SCRAM two. While an answer waits for a server that does not read, pgx keeps
	// all that it sends.
	maxAuthReplies = 4
)

var (
	errTooLong  = errors.New("the server sends more than a sign-in takes")
	errTooOften = errors.New("the server requests authentication again and again")
	errOptions  = errors.New("invalid NegotiateProtocolVersion: it counts more options than it holds")
	errNoToken  = errors.New("no token was set for this connection")
)

// bearerPlaceholder is what pgx puts into its OAUTHBEARER message. An authFilter replaces
// the message.
const bearerPlaceholder = "token"

// An authFilter stands between pgx and the connection until the sign-in is over. It writes
// the token in place of the password that pgx has, so that no config holds the token, and
// no hook or tracer that sees a config. It masks the token in what the server sends. It
// bounds what a server may send and be sent.
type authFilter struct {
	r          io.Reader
	w          io.Writer
	token      string // "" after the sign-in
	done       atomic.Bool
	bytesLeft  int
	writesLeft int

	pending []byte // of the current message: what pgx has not read
	method  uint32 // of the server's latest authentication request
	ready   bool   // ReadyForQuery has arrived
}

func newAuthFilter(r io.Reader, w io.Writer, token string) *authFilter {
	return &authFilter{r: r, w: w, token: token, bytesLeft: maxAuthBytes, writesLeft: 1 + maxAuthReplies} // the first is our startup message
}

// finish ends the filter's work and drops the token.
func (f *authFilter) finish() {
	f.token = ""
	f.done.Store(true)
}

// Read implements io.Reader.
func (f *authFilter) Read(b []byte) (int, error) {
	if len(f.pending) == 0 {
		if f.ready || f.done.Load() {
			return f.r.Read(b)
		}
		if err := f.readMessage(); err != nil {
			return 0, err
		}
	}
	n := copy(b, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

const headerBytes = 5 // a message's type, and its length, which counts itself

// readMessage reads one message and checks it before pgx decodes it.
func (f *authFilter) readMessage() error {
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(f.r, header); err != nil {
		return err
	}
	kind := header[0]
	length := int32(binary.BigEndian.Uint32(header[1:]))
	if length < 4 {
		f.pending = header // pgx refuses it
		return nil
	}
	bodyLen := int(length) - 4
	if bodyLen > f.bytesLeft-headerBytes {
		return errTooLong
	}
	f.bytesLeft -= headerBytes + bodyLen
	body := make([]byte, bodyLen)
	if _, err := io.ReadFull(f.r, body); err != nil {
		return err
	}
	switch kind {
	case 'Z':
		f.ready = true // the sign-in is over, and what follows is not part of it
	case 'R':
		if len(body) >= 4 {
			f.method = binary.BigEndian.Uint32(body)
		}
	case 'v':
		if !optionsFit(body) {
			return errOptions
		}
	}
	f.pending = append(header, f.mask(kind, body)...)
	binary.BigEndian.PutUint32(f.pending[1:], uint32(len(f.pending)-1))
	return nil
}

// optionsFit reports whether NegotiateProtocolVersion counts no more options than there
// are bytes. Where an int has 32 bits, pgx panics at a count that is negative as an int.
func optionsFit(body []byte) bool {
	const fixed = 8 // the version and the count
	return len(body) < fixed || uint64(binary.BigEndian.Uint32(body[4:])) <= uint64(len(body)-fixed)
}

// mask takes the token out of the body of a message in which a server may repeat it: an
// error, a notice, a parameter, the response to OAUTHBEARER.
func (f *authFilter) mask(kind byte, body []byte) []byte {
	switch kind {
	case 'E', 'N', 'S':
	case 'R':
		if f.method != pgproto3.AuthTypeSASLContinue {
			return body
		}
	default:
		return body
	}
	return []byte(redact.Text(string(withoutEscapes(body)), f.token))
}

// withoutEscapes returns the JSON of a response to OAUTHBEARER without escapes, behind which
// a token could be hidden, and any other body as it is.
func withoutEscapes(body []byte) []byte {
	const authType = 4
	var v any
	if len(body) <= authType || json.Unmarshal(body[authType:], &v) != nil {
		return body
	}
	b := bytes.NewBuffer(bytes.Clone(body[:authType]))
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return body
	}
	return b.Bytes()
}

// Write implements io.Writer. pgx writes each message by one call.
func (f *authFilter) Write(b []byte) (int, error) {
	if f.done.Load() {
		return f.w.Write(b)
	}
	if f.writesLeft <= 0 {
		return 0, errTooOften
	}
	f.writesLeft--
	message, err := f.answer(b)
	if err != nil {
		return 0, err
	}
	if _, err := f.w.Write(message); err != nil {
		return 0, err
	}
	return len(b), nil
}

// answer returns b, or the message with the token if b answers a request for it.
func (f *authFilter) answer(b []byte) ([]byte, error) {
	if len(b) < headerBytes || b[0] != 'p' {
		return b, nil
	}
	switch f.method {
	case pgproto3.AuthTypeCleartextPassword:
		if f.token == "" {
			return nil, errNoToken
		}
		return (&pgproto3.PasswordMessage{Password: f.token}).Encode(nil)
	case pgproto3.AuthTypeSASL:
		var m pgproto3.SASLInitialResponse
		if m.Decode(b[headerBytes:]) != nil || m.AuthMechanism != "OAUTHBEARER" {
			return b, nil
		}
		if f.token == "" {
			return nil, errNoToken
		}
		m.Data = []byte("n,,\x01auth=Bearer " + f.token + "\x01\x01") // RFC 7628
		return m.Encode(nil)
	}
	return b, nil
}

// requireToken returns a BuildFrontend for connections whose config went through no
// AfterNetConnect of ours: they fail instead of sending an empty password or no user, about
// which the server's words would mislead.
func requireToken(build pgconn.BuildFrontendFunc) pgconn.BuildFrontendFunc {
	return func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		if conn, ok := w.(net.Conn); ok { // pgx's own; else there is a hook between, as in a sign-in with a token
			w = tokenChecker{conn}
		}
		return build(r, w)
	}
}

type tokenChecker struct{ io.Writer }

// Write implements io.Writer.
func (c tokenChecker) Write(b []byte) (int, error) {
	const emptyPassword = "p\x00\x00\x00\x05\x00"
	if string(b) == emptyPassword || withoutUser(b) {
		return 0, newError(StepToken, errNoToken, nil)
	}
	return c.Writer.Write(b)
}

// withoutUser reports whether b is a startup message without a user: it is the token's.
func withoutUser(b []byte) bool {
	var m pgproto3.StartupMessage
	isStartup := len(b) > 4 && b[0] == 0 // other messages begin with a letter
	return isStartup && m.Decode(b[4:]) == nil && m.Parameters["user"] == ""
}
