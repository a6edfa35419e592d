package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var seed = flag.Uint64("seed", 0, "repeat the random faults of this seed; 0 chooses a new one")

// newRand returns a random source and logs its seed.
func newRand(t testing.TB) *rand.Rand {
	s := *seed
	for s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", s)
	return rand.New(rand.NewPCG(s, s))
}

// A counter counts the faults that were tried, and those of them without a failure.
type counter struct{ tried, survived atomic.Int64 }

// run runs f as a subtest for one fault. f reports whether the fault took effect.
func (c *counter) run(t *testing.T, name string, f func(t *testing.T) bool) {
	t.Run(name, func(t *testing.T) {
		happened := f(t)
		if happened || t.Failed() {
			c.tried.Add(1)
		}
		if happened && !t.Failed() {
			c.survived.Add(1)
		}
	})
}

func (c *counter) String() string {
	return fmt.Sprintf("faults tried %d, survived %d", c.tried.Load(), c.survived.Load())
}

// A client is one identity with its connector, whose tokens come through a proxy.
type client struct {
	t                testing.TB
	az               *emulator.Azure
	id               emulator.Identity
	authority        *authorityProxy
	connector        *driver.Connector
	checker          *logChecker
	monitor          *deadlineMonitor
	slowestRejection atomic.Int64 // the duration of the slowest rejected sign-in
	reported         sync.Map     // texts of errors that were reported
}

const tokenTimeout = 3 * time.Second

// grantMu serializes grants: concurrent ones fail with "tuple concurrently updated".
var grantMu sync.Mutex

// newClient creates an application with a secret, or with managed a virtual machine's
// managed identity, and its connector.
func newClient(t testing.TB, az *emulator.Azure, ca *testCA, monitor *deadlineMonitor, name string, managed bool, dsn string, opts ...driver.Option) *client {
	c := &client{t: t, az: az, monitor: monitor, authority: newAuthorityProxy(t, az, ca, managed)}
	c.id = az.Add(emulator.Identity{Name: name, ClientID: newGUID(), ObjectID: newGUID(), Secret: "s3cr3t"})
	grantMu.Lock()
	err := az.Grant(context.Background(), c.id)
	grantMu.Unlock()
	if err != nil {
		t.Error(err)
	}
	params := managedDSN
	if !managed {
		_, port, _ := net.SplitHostPort(c.authority.addr)
		params = secretDSN + "aad_disable_instance_discovery=true aad_authority_host=https://127.0.0.1:" + port + " "
	}
	dsn += fill(" user='{name}' "+params, c.id) + "aad_token_timeout=" + tokenTimeout.String()
	c.checker = &logChecker{t: t, client: name, retryAfter: &c.authority.retryAfter, signIns: func() int64 { return c.connector.Stats().SignIns }}
	opts = append(opts, driver.WithTransport(c.authority.transport(t, ca)), driver.WithLogger(slog.New(c.checker)))
	connector, err := driver.NewConnector(dsn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connector.Close() })
	c.connector = connector
	return c
}

// connect connects within timeout and checks who is signed in. A failure must come in
// time and have one clear line.
func (c *client) connect(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	conn, err := c.connector.Connect(ctx)
	c.monitor.observe(ctx, c.t, c.id.Name)
	if err != nil {
		c.checkError(err, time.Since(began))
		return err
	}
	defer conn.Close()
	user := ""
	if err := conn.(*stdlib.Conn).Conn().QueryRow(ctx, "select session_user").Scan(&user); err != nil {
		return err
	}
	if user != c.id.Name {
		c.t.Errorf("session_user = %q, want %q", user, c.id.Name)
	}
	return nil
}

// checkError notes how long a rejected sign-in took, and reports each unclear error once.
func (c *client) checkError(err error, took time.Duration) {
	var e *driver.Error
	if errors.As(err, &e) && e.Step == driver.StepSignIn {
		c.slowestRejection.Store(max(c.slowestRejection.Load(), int64(took)))
	}
	problem := errorProblem(err)
	if problem == "" {
		return
	}
	if _, reported := c.reported.LoadOrStore(err.Error(), true); !reported {
		c.t.Errorf("%s: %s: %v", c.id.Name, problem, err)
	}
}

// errorProblem returns what is wrong with an error of Connect, or "".
func errorProblem(err error) string {
	var e *driver.Error
	text := err.Error()
	switch {
	case !errors.As(err, &e):
		return fmt.Sprintf("a %T, want a *driver.Error", err)
	case !strings.HasPrefix(text, "aadpostgres: "+e.Step+": ") || e.Step == "":
		return "names no step"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "is not one line"
	case strings.Contains(fmt.Sprintf("%+v %#v", err, err), "eyJ"):
		return "contains a token"
	case len(text) > 1500:
		return fmt.Sprintf("has %d characters, want at most 1500", len(text))
	case e.Hint == "" && e.Step != driver.StepSignIn: // a server's message may be unknown
		return "has no hint"
	}
	return ""
}

// containsAny reports whether text contains one of the alternatives, which "|" separates.
func containsAny(text, alternatives string) bool {
	for s := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(strings.ToLower(text), strings.ToLower(s)) {
			return true
		}
	}
	return false
}
