package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var seed = flag.Uint64("seed", 0, "repeat the faults of that seed; 0 takes another each time")

// seeded is a source of chance, whose seed is told.
func seeded(t testing.TB) *rand.Rand {
	s := *seed
	for s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", s)
	return rand.New(rand.NewPCG(s, s))
}

// A tally counts faults, and those after which nothing was wrong.
type tally struct{ tried, survived atomic.Int64 }

// of runs f for one fault.
func (y *tally) of(t testing.TB, f func(t testing.TB)) {
	v := &verdict{TB: t}
	f(v)
	if y.tried.Add(1); !v.failed.Load() {
		y.survived.Add(1)
	}
}

func (y *tally) String() string {
	return fmt.Sprintf("faults tried %d, survived %d", y.tried.Load(), y.survived.Load())
}

// A verdict is a test that knows whether it was said to fail by way of this.
type verdict struct {
	testing.TB
	failed atomic.Bool
}

func (v *verdict) Errorf(format string, args ...any) {
	v.TB.Helper()
	v.failed.Store(true)
	v.TB.Errorf(format, args...)
}

func (v *verdict) Error(args ...any) {
	v.TB.Helper()
	v.failed.Store(true)
	v.TB.Error(args...)
}

// A stage is one identity with what stands between it and the emulator.
type stage struct {
	t     testing.TB
	az    *emulator.Azure
	id    emulator.Identity
	front *front
	c     *driver.Connector
	diary diary
	watch *watch
	blurs sync.Map // complaints made
}

const tokenTimeout = 3 * time.Second

// PostgreSQL refuses grants that meet.
var granting sync.Mutex

// newStage makes a connector whose token comes by way of a front: as an
// application with a secret, or as the managed identity of a virtual machine.
func newStage(t testing.TB, az *emulator.Azure, i *issuer, w *watch, name string, managed bool, dsn string, opts ...driver.Option) *stage {
	s := &stage{t: t, az: az, watch: w, front: newFront(t, az, i, managed)}
	s.id = another(s, name)
	granting.Lock()
	err := az.Grant(context.Background(), s.id)
	granting.Unlock()
	if err != nil {
		t.Error(err)
	}
	mode := mi
	if !managed {
		mode = secret + "aad_disable_instance_discovery=true aad_authority_host=https://127.0.0.1:" + s.front.addr[strings.LastIndex(s.front.addr, ":")+1:] + " "
	}
	dsn += fill(" user='{name}' "+mode, s.id) + "aad_token_timeout=" + tokenTimeout.String()
	c, err := driver.NewConnector(dsn, append(opts, driver.WithTransport(s.front.transport(t, i)), driver.WithLogger(slog.New(&s.diary)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s.c = c
	return s
}

// connect connects once, asks who is signed in, and tells whether all that was
// as it must be: in time, and if it fails, with one clear line.
func (s *stage) connect(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := s.c.Connect(ctx)
	s.watch.caller(s.id.Name, ctx)
	if err != nil {
		if blur := unclear(err); blur != "" {
			if _, said := s.blurs.LoadOrStore(err.Error(), true); !said {
				s.t.Errorf("%s: %s: %v", s.id.Name, blur, err)
			}
		}
		return err
	}
	defer conn.Close()
	who := ""
	if err := conn.(*stdlib.Conn).Conn().QueryRow(ctx, "select session_user").Scan(&who); err != nil {
		return err
	}
	if who != s.id.Name {
		s.t.Errorf("%s is signed in as %s", s.id.Name, who)
	}
	return nil
}

// unclear says what is wrong with an error's words, or nothing.
func unclear(err error) string {
	var e *driver.Error
	text := err.Error()
	switch {
	case !errors.As(err, &e):
		return fmt.Sprintf("a %T", err)
	case !strings.HasPrefix(text, "aadpostgres: "+e.Step+": ") || e.Step == "":
		return "no step"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "not one line"
	case strings.Contains(fmt.Sprintf("%+v %#v", err, err), "eyJ"):
		return "a token in it"
	case len(text) > 1500:
		return fmt.Sprintf("%d characters", len(text))
	case e.Hint == "" && e.Step != driver.StepSignIn: // a server may say what nobody has reported yet
		return "no hint"
	}
	return ""
}

// A diary is a log handler that knows when the next token request may be.
type diary struct {
	mu     sync.Mutex
	failed int // since the last success
	series int // of failures, each after a success or at the start
	total  int
	retry  time.Time
	wait   time.Duration
}

func (d *diary) Enabled(context.Context, slog.Level) bool { return true }
func (d *diary) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d *diary) WithGroup(string) slog.Handler            { return d }

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.Message {
	case "token fetched", "token refreshed":
		d.failed, d.retry, d.wait = 0, time.Time{}, 0
	case "token request failed":
		if d.failed == 0 {
			d.series++
		}
		d.failed++
		d.total++
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "retry_in" {
				d.wait, d.retry = a.Value.Duration(), r.Time.Add(a.Value.Duration())
			}
			return true
		})
	}
	return nil
}

// step is the backoff in force: one second, doubling to thirty, or what the
// authority asked for.
func (d *diary) step() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	step := time.Second << min(max(d.failed-1, 0), 5)
	return max(min(step, 30*time.Second), d.wait)
}

// recover connects until that works, and returns how long it took.
func (s *stage) recover(most time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		err := s.connect(5 * time.Second)
		if err == nil || time.Since(began) > most {
			return time.Since(began), err
		}
		<-time.After(20 * time.Millisecond)
	}
}

func contains(text, alternatives string) bool {
	for one := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(strings.ToLower(text), strings.ToLower(one)) {
			return true
		}
	}
	return false
}
