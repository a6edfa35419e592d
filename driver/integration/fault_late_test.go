package integration

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// inTime is how long after its deadline a caller may return at most, beside what
// the machine itself is late by.
const inTime = 100 * time.Millisecond

// A watch measures how late callers return, and how late this machine lets anyone
// be: all the while four callers of plain pgx, with nothing of this driver, connect to
// a server that begins TLS and then says nothing, each for a tenth of a second. On a
// busy machine, under the race detector even more, these are late too. The latest of the
// driver's callers may be later by inTime than the latest of those whose deadlines were
// near its own.
type watch struct {
	mu      sync.Mutex
	callers []late // the driver's, as far as they were late at all
	plain   []late // plain pgx's
	stop    func()
}

// near is how far apart deadlines are at most that one hiccup of the machine is taken to
// have delayed. Twenty or so of plain pgx's callers are near.
const near = 250 * time.Millisecond

// A late is one caller.
type late struct {
	who string
	due time.Time
	by  time.Duration
}

func newWatch(t testing.TB) *watch {
	w := &watch{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig("postgres://nobody@" + ln.Addr().String() + "/none?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if answerTLS(conn) == nil {
					io.Copy(io.Discard, conn)
				}
			})
		}
	})
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				w.connect(config)
			}
		})
	}
	w.stop = func() {
		cancel()
		ln.Close()
		wg.Wait()
	}
	t.Cleanup(w.stop)
	return w
}

func (w *watch) connect(config *pgx.ConnConfig) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	due, _ := ctx.Deadline()
	by := time.Since(due)
	if err == nil {
		conn.Close(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plain = append(w.plain, late{"", due, by})
}

// caller notes that a caller whose ctx it was has returned, and judges it.
func (w *watch) caller(t testing.TB, who string, ctx context.Context) {
	due, ok := ctx.Deadline()
	by := time.Since(due)
	if !ok || by < 0 {
		return
	}
	w.mu.Lock()
	w.callers = append(w.callers, late{who, due, by})
	w.mu.Unlock()
	if by <= inTime {
		return
	}
	<-time.After(2 * near) // those of plain pgx must be back as well
	if plain := w.beside(due); by > plain+inTime {
		t.Errorf("%s returned %s past its deadline, when plain pgx did so by %s at most", who, by, plain)
	}
}

// beside is by how much plain pgx's callers were late whose deadlines were near.
func (w *watch) beside(due time.Time) (by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.plain {
		if p.due.Sub(due).Abs() <= near {
			by = max(by, p.by)
		}
	}
	return by
}

// check ends the measuring and tells what came of it: the latest of the driver's callers
// and of plain pgx's beside it, and by how much one was later than those beside it.
func (w *watch) check(t testing.TB) string {
	w.stop()
	var worst, all late
	more := time.Duration(math.MinInt64)
	for _, c := range w.callers { // nobody is left to add to them
		more = max(more, c.by-w.beside(c.due))
		if c.by > worst.by {
			worst = c
		}
	}
	for _, p := range w.plain {
		all.by = max(all.by, p.by)
	}
	if len(w.callers) == 0 {
		more = 0
	}
	figures := fmt.Sprintf("%d callers past their deadline, the latest by %s when plain pgx's was by %s, none later than plain pgx's by more than %s",
		len(w.callers), worst.by.Round(time.Millisecond), w.beside(worst.due).Round(time.Millisecond), more.Round(time.Millisecond))
	t.Logf("%s (%s); of %d callers of plain pgx the latest by %s", figures, worst.who, len(w.plain), all.by.Round(time.Millisecond))
	return figures
}
