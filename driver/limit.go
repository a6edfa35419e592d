package driver

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync/atomic"
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
)

// An authLimiter stands between pgx and the connection, and bounds what a server may
// send and be sent until done is set.
type authLimiter struct {
	r          io.Reader
	w          io.Writer
	done       atomic.Bool
	bytesLeft  int64
	writesLeft int

	header    [5]byte // of the next message: its type, its length
	headerLen int     // how much of it is here
	bodyLeft  int64   // what is to come of the current message
}

func newAuthLimiter(r io.Reader, w io.Writer) *authLimiter {
	return &authLimiter{r: r, w: w, bytesLeft: maxAuthBytes, writesLeft: 1 + maxAuthReplies} // the first is our startup message
}

// Read implements io.Reader.
func (l *authLimiter) Read(b []byte) (int, error) {
	if l.done.Load() {
		return l.r.Read(b)
	}
	if l.bytesLeft <= 0 {
		return 0, errTooLong
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.bytesLeft)])
	l.bytesLeft -= int64(n)
	if !l.checkLengths(b[:n]) {
		return 0, errTooLong
	}
	return n, err
}

// checkLengths looks at the length that each message claims, before pgx allocates it.
func (l *authLimiter) checkLengths(b []byte) bool {
	for len(b) > 0 {
		if l.bodyLeft > 0 {
			n := min(l.bodyLeft, int64(len(b)))
			l.bodyLeft -= n
			b = b[n:]
			continue
		}
		n := copy(l.header[l.headerLen:], b)
		l.headerLen += n
		b = b[n:]
		if l.headerLen < len(l.header) {
			return true
		}
		l.headerLen = 0
		length := binary.BigEndian.Uint32(l.header[1:])
		l.bodyLeft = int64(length) - 4 // the length counts itself; pgx refuses one that is too small
		negative := int32(length) < 0  // as pgx reads it, and refuses it
		if l.header[0] == readyForQuery {
			l.bodyLeft = math.MaxInt64 // the sign-in is over, and what follows is not part of it
		} else if l.bodyLeft > maxAuthBytes && !negative {
			return false
		}
	}
	return true
}

// readyForQuery is the type of the message that ends a sign-in.
const readyForQuery = 'Z'

// Write implements io.Writer.
func (l *authLimiter) Write(b []byte) (int, error) {
	if !l.done.Load() {
		if l.writesLeft <= 0 {
			return 0, errTooOften
		}
		l.writesLeft--
	}
	return l.w.Write(b)
}
