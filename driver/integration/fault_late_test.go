package integration

import (
	"context"
	"io"
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
// driver's callers may be later than the latest of those by inTime.
type watch struct {
	mu      sync.Mutex
	latest  time.Duration // of the driver's callers
	who     string
	machine time.Duration // of plain pgx's
	callers int           // that were past their deadline at all
	plain   int
	stop    func()
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
	late := time.Since(due)
	if err == nil {
		conn.Close(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.machine = max(w.machine, late)
	w.plain++
}

// caller notes that a caller whose ctx it was has returned.
func (w *watch) caller(who string, ctx context.Context) {
	due, ok := ctx.Deadline()
	late := time.Since(due)
	if !ok || late < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.callers++
	if late > w.latest {
		w.latest, w.who = late, who
	}
}

// check ends the measuring and judges.
func (w *watch) check(t testing.TB) (latest, machine time.Duration) {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d callers past their deadline, the latest by %s (%s); of %d callers of plain pgx the latest by %s",
		w.callers, w.latest.Round(time.Millisecond), w.who, w.plain, w.machine.Round(time.Millisecond))
	if w.latest > w.machine+inTime {
		t.Errorf("a caller returned %s past its deadline: %s", w.latest, w.who)
	}
	return w.latest, w.machine
}
