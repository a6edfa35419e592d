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

// deadlineTolerance is how much later than plain pgx the driver may return after its
// caller's deadline.
const deadlineTolerance = 100 * time.Millisecond

// baselineWindow is how far apart two deadlines are at most for one delay of the machine
// to affect both. About twenty of plain pgx's deadlines fall into it.
const baselineWindow = 250 * time.Millisecond

// A deadlineMonitor measures how late the driver returns after its callers' deadlines.
// A busy machine delays every goroutine, even more so under the race detector.
// Therefore four goroutines of plain pgx connect at the same time to a server that
// accepts TLS and then is silent, each with a deadline of 100 ms. The driver may be later
// than the latest of them within baselineWindow by deadlineTolerance.
type deadlineMonitor struct {
	mu       sync.Mutex
	callers  []overrun // the driver's callers that returned after their deadline
	baseline []overrun // plain pgx
	stop     func()
}

// An overrun is how late one caller returned.
type overrun struct {
	caller   string
	deadline time.Time
	by       time.Duration
}

func newDeadlineMonitor(t testing.TB) *deadlineMonitor {
	m := &deadlineMonitor{}
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
				if acceptTLS(conn) == nil {
					io.Copy(io.Discard, conn)
				}
			})
		}
	})
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				m.connect(config)
			}
		})
	}
	m.stop = func() {
		cancel()
		ln.Close()
		wg.Wait()
	}
	t.Cleanup(m.stop)
	return m
}

func (m *deadlineMonitor) connect(config *pgx.ConnConfig) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	deadline, _ := ctx.Deadline()
	by := time.Since(deadline)
	if err == nil {
		conn.Close(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.baseline = append(m.baseline, overrun{"", deadline, by})
}

// observe records that a caller with this ctx has returned, and checks that it is not
// too late.
func (m *deadlineMonitor) observe(ctx context.Context, t testing.TB, caller string) {
	deadline, ok := ctx.Deadline()
	by := time.Since(deadline)
	if !ok || by < 0 {
		return
	}
	m.mu.Lock()
	m.callers = append(m.callers, overrun{caller, deadline, by})
	m.mu.Unlock()
	if by <= deadlineTolerance {
		return
	}
	<-time.After(2 * baselineWindow) // the baseline of that time must be complete
	if baseline := m.baselineAt(deadline); by > baseline+deadlineTolerance {
		t.Errorf("%s returned %s after its deadline, want at most %s (plain pgx: %s)", caller, by, baseline+deadlineTolerance, baseline)
	}
}

// baselineAt returns the largest overrun of plain pgx within baselineWindow of deadline.
func (m *deadlineMonitor) baselineAt(deadline time.Time) (by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.baseline {
		if o.deadline.Sub(deadline).Abs() <= baselineWindow {
			by = max(by, o.by)
		}
	}
	return by
}

// report stops the monitor and logs and returns the largest overruns: the driver's,
// plain pgx's at the same time, and the largest difference between them.
func (m *deadlineMonitor) report(t testing.TB) string {
	m.stop()
	var worst, worstBaseline overrun
	difference := time.Duration(math.MinInt64)
	for _, o := range m.callers { // no caller is left that could append
		difference = max(difference, o.by-m.baselineAt(o.deadline))
		if o.by > worst.by {
			worst = o
		}
	}
	for _, o := range m.baseline {
		worstBaseline.by = max(worstBaseline.by, o.by)
	}
	if len(m.callers) == 0 {
		difference = 0
	}
	figures := fmt.Sprintf("%d callers returned after their deadline, the latest by %s (plain pgx: %s), at most %s later than plain pgx",
		len(m.callers), worst.by.Round(time.Millisecond), m.baselineAt(worst.deadline).Round(time.Millisecond), difference.Round(time.Millisecond))
	t.Logf("%s (%s); %d connects of plain pgx, the latest by %s", figures, worst.caller, len(m.baseline), worstBaseline.by.Round(time.Millisecond))
	return figures
}
