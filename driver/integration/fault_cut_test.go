package integration

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5/stdlib"

	aad "github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// counting gives tokens of id and counts them.
type counting struct {
	az    *emulator.Azure
	id    emulator.Identity
	calls atomic.Int64
}

func (c *counting) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.calls.Add(1)
	return azcore.AccessToken{Token: c.az.Token(c.id, nil), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A line is an emulator with what it takes to be spoken to by way of proxies.
type line struct {
	az      *emulator.Azure
	issuer  *issuer
	watch   *watch
	cred    *counting
	gateway string
}

func newLine(t testing.TB, name string) *line {
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: name, ClientID: guid(), ObjectID: guid()})
	if err := az.Grant(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return &line{az, newIssuer(t), newWatch(t), &counting{az: az, id: id}, fmt.Sprintf("127.0.0.1:%d", az.Port())}
}

// through is a connector by way of p.
func (l *line) through(t testing.TB, p *proxy, opts ...aad.Option) *aad.Connector {
	ca := l.az.CertFile()
	if p.opens != nil {
		ca = l.issuer.file
	}
	host, port, _ := net.SplitHostPort(p.addr)
	c, err := aad.NewConnector(fmt.Sprintf("host=%s port=%s dbname=postgres sslrootcert='%s' user='%s'", host, port, ca, l.cred.id.Name), append(opts, aad.WithCredential(l.cred))...)
	if err != nil {
		t.Error(err)
	}
	return c
}

// connect connects in time, as whom it must, or fails in time with a clear line.
func (l *line) connect(t testing.TB, what string, c *aad.Connector, patience time.Duration) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := c.Connect(ctx)
	l.watch.caller(t, what, ctx)
	if err != nil {
		if blur := unclear(err); blur != "" {
			t.Errorf("%s: %s: %v", what, blur, err)
		}
		return nil, err
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second) // the connect was in time, if only just
	defer cancel()
	who := ""
	if err := conn.(*stdlib.Conn).Conn().QueryRow(ctx, "select session_user").Scan(&who); err != nil || who != l.cred.id.Name {
		t.Errorf("%s: %q is signed in: %v", what, who, err)
	}
	return conn, nil
}

// well tells that a connect works at once, as whom it must.
func (l *line) well(t testing.TB, what string, c *aad.Connector) {
	conn, err := l.connect(t, what, c, 10*time.Second)
	if err != nil {
		t.Errorf("%s: and after it: %v", what, err)
		return
	}
	conn.Close()
}

// A connection that breaks, or falls silent, at any place of the sign-in: inside a
// header, inside a body, between messages, either way, of TLS and of PostgreSQL. The
// caller has its error in time, as one clear line, and the next connect works at
// once, with the token that was there. In the end nothing is left.
func TestFaultsAtEachMessage(t *testing.T) {
	nothingLeft(t)
	l := newLine(t, "cut off")
	opens := &tls.Config{Certificates: []tls.Certificate{*l.issuer.sign(t, time.Now().Add(time.Hour))}}
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, 8)
		mu    sync.Mutex
		steps = map[string]int{}
		count tally
	)
	for name, layer := range map[string]*tls.Config{"TLS": nil, "PostgreSQL": opens} {
		p := newProxy(t, l.gateway, layer)
		c := l.through(t, p)
		defer c.Close() // at the end: who holds no connector has no token at hand
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		passed, _ := p.seen()
		conn.Close()
		l.well(t, name, c)
		t.Logf("a sign-in is %d messages up and %d down of %s", passed[up], passed[down], name)
		for _, plan := range plansFor(passed) {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				what := fmt.Sprintf("%s, %s %+v", name, plan.how, plan.at)
				count.of(t, func(t testing.TB) bool {
					step := l.breaks(t, what, layer, plan)
					mu.Lock()
					defer mu.Unlock()
					steps[step]++
					return step != "none"
				})
			})
		}
		wg.Wait()
	}
	noSessions(t, l.az)
	l.watch.check(t)
	t.Logf("%s; by the step that the error names (none: the message has no such place) %v; token requests %d", &count, steps, l.cred.calls.Load())
	if n := l.cred.calls.Load(); n != 1 {
		t.Errorf("%d token requests: the token at hand was good", n)
	}
	if steps[aad.StepNetwork] < 100 {
		t.Error("too few places")
	}
}

// plansFor are all places of that many messages, in each way of breaking.
func plansFor(passed [2]int) (plans []plan) {
	for _, how := range []string{fin, reset, silent} {
		plans = append(plans, plan{at: spot{where: "before"}, how: how})
		for dir, n := range passed {
			for m := range n {
				for _, where := range []string{"header", "body", "end"} {
					if dir == up || m < n-1 || where != "end" { // there the session is made
						plans = append(plans, plan{at: spot{dir, m, where}, how: how})
					}
				}
			}
		}
	}
	return plans
}

// breaks lets one connection break by plan, and tells at which step.
func (l *line) breaks(t testing.TB, what string, layer *tls.Config, plan plan) string {
	p := newProxy(t, l.gateway, layer)
	defer p.close()
	c := l.through(t, p)
	defer c.Close()
	patience := 10 * time.Second
	if plan.how == silent {
		patience = 300 * time.Millisecond
	}
	var (
		conn driver.Conn
		err  error
		hits int
	)
	for ; ; patience *= 6 { // it may be too slow to come there
		p.set(once(plan))
		conn, err = l.connect(t, what, c, patience)
		if _, hits = p.seen(); err == nil || hits > 0 || patience >= 10*time.Second {
			break
		}
	}
	switch {
	case err == nil:
		conn.Close()
		if hits > 0 {
			t.Errorf("%s: it connects", what)
		}
		return "none"
	case hits == 0:
		t.Errorf("%s: never came there: %v", what, err)
	case plan.how == silent != errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s: %v", what, err)
	}
	l.well(t, what, c)
	var e *aad.Error
	errors.As(err, &e)
	return e.Step
}
