package driver

import (
	"errors"
	"io"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// mostSaid is what a server may say before it has signed us in, in one message and
// in all: else a header of five bytes reserves a gigabyte, and parameters are kept
// for as long as they come. libpq takes 30000 bytes in one.
const mostSaid = 1 << 20

// longest is pgx's own limit to a message, which is PostgreSQL's.
const longest = 0x3fffffff - 1

// mostAsked is how often it is answered until then; a password takes one answer, SCRAM
// two. While an answer waits for who does not read, pgx keeps all that comes.
const mostAsked = 4

// A quota is what a server may say and be told.
type quota struct {
	r     io.Reader
	w     io.Writer
	left  int64 // bytes to come
	asked int64 // messages to go
}

func (q *quota) Read(b []byte) (int, error) {
	if q.left <= 0 {
		return 0, errors.New("the server says more than a sign-in takes")
	}
	n, err := q.r.Read(b[:min(int64(len(b)), q.left)])
	q.left -= int64(n)
	return n, err
}

func (q *quota) Write(b []byte) (int, error) {
	if q.asked <= 0 {
		return 0, errors.New("the server asks again and again")
	}
	q.asked--
	return q.w.Write(b)
}

// ration sets a quota for each host, which lift ends.
func (a *attempt) ration(config *pgx.ConnConfig) {
	build := config.BuildFrontend
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		a.quota = &quota{r, w, mostSaid, 1 + mostAsked} // the first one is ours
		f := build(a.quota, a.quota)
		f.SetMaxBodyLen(mostSaid)
		return f
	}
}

// lift gives a server that has signed us in its due: messages as long as most, which
// pgx has set already, or as PostgreSQL's are.
func (a *attempt) lift(conn *pgconn.PgConn, most int) {
	if a.quota == nil {
		return // somebody has replaced our hook
	}
	a.quota.left, a.quota.asked = math.MaxInt64, math.MaxInt64
	if most == 0 {
		conn.Frontend().SetMaxBodyLen(longest)
	}
}
