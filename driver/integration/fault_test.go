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

// of runs f for one fault. f tells whether the fault came to pass.
func (y *tally) of(t testing.TB, f func(t testing.TB) bool) {
	v := &verdict{TB: t}
	switch passed := f(v); {
	case v.failed.Load():
		y.tried.Add(1)
	case passed:
		y.tried.Add(1)
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
	diary *diary
	watch *watch
	slow  atomic.Int64 // what the slowest sign-in took that was refused
	blurs sync.Map     // complaints made
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
	s.diary = &diary{t: t, who: name, after: &s.front.after, worked: func() int64 { return s.c.Stats().SignIns }}
	c, err := driver.NewConnector(dsn, append(opts, driver.WithTransport(s.front.transport(t, i)), driver.WithLogger(slog.New(s.diary)))...)
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
	from := time.Now()
	conn, err := s.c.Connect(ctx)
	s.watch.caller(s.t, s.id.Name, ctx)
	if err != nil {
		if e := (*driver.Error)(nil); errors.As(err, &e) && e.Step == driver.StepSignIn {
			s.slow.Store(max(s.slow.Load(), int64(time.Since(from))))
		}
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

func contains(text, alternatives string) bool {
	for one := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(strings.ToLower(text), strings.ToLower(one)) {
			return true
		}
	}
	return false
}
