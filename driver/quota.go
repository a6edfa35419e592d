package driver

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync/atomic"
)

// mostSaid is what a server may say before it has signed us in, in one message and
// in all: else a header of five bytes reserves a gigabyte, and parameters are kept
// for as long as they come. libpq takes 30000 bytes in one.
const mostSaid = 1 << 20

// mostAsked is how often it is answered until then; a password takes one answer, SCRAM
// two. While an answer waits for who does not read, pgx keeps all that comes.
const mostAsked = 4

// A quota is what a server may say and be told until it has signed us in. It stands
// between pgx and the connection.
type quota struct {
	r     io.Reader
	w     io.Writer
	done  atomic.Bool
	left  int64 // bytes to come
	asked int   // messages to go

	head [5]byte // of the message that comes: its type, its length
	has  int     // of that
	body int64   // to come of the message
}

var errSaysMore = errors.New("the server says more than a sign-in takes")

func (q *quota) Read(b []byte) (int, error) {
	if q.done.Load() {
		return q.r.Read(b)
	}
	if q.left <= 0 {
		return 0, errSaysMore
	}
	n, err := q.r.Read(b[:min(int64(len(b)), q.left)])
	q.left -= int64(n)
	if !q.sane(b[:n]) {
		return 0, errSaysMore
	}
	return n, err
}

// sane looks at the length that each message claims, before pgx makes room for it.
func (q *quota) sane(b []byte) bool {
	for len(b) > 0 {
		if q.body > 0 {
			n := min(q.body, int64(len(b)))
			q.body, b = q.body-n, b[n:]
			continue
		}
		n := copy(q.head[q.has:], b)
		q.has, b = q.has+n, b[n:]
		if q.has < len(q.head) {
			break
		}
		length := binary.BigEndian.Uint32(q.head[1:]) // itself included; what is too little is pgx's to tell
		q.has, q.body = 0, int64(length)-4
		switch {
		case q.head[0] == 'Z': // ReadyForQuery ends a sign-in; what has come with the end is not of it
			q.body = math.MaxInt64
		case q.body > mostSaid && int32(length) >= 0:
			return false
		}
	}
	return true
}

func (q *quota) Write(b []byte) (int, error) {
	if !q.done.Load() {
		if q.asked <= 0 {
			return 0, errors.New("the server asks again and again")
		}
		q.asked--
	}
	return q.w.Write(b)
}
