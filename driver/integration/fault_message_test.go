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

// A countingCredential returns tokens of id and counts them.
type countingCredential struct {
	az    *emulator.Azure
	id    emulator.Identity
	calls atomic.Int64
}

func (c *countingCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.calls.Add(1)
	return azcore.AccessToken{Token: c.az.Token(c.id, nil), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A proxyEnv is an emulator that is reached through proxies.
type proxyEnv struct {
	az         *emulator.Azure
	ca         *testCA
	monitor    *deadlineMonitor
	credential *countingCredential
	gateway    string
}

func newProxyEnv(t testing.TB, name string) *proxyEnv {
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: name, ClientID: newGUID(), ObjectID: newGUID()})
	if err := az.Grant(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return &proxyEnv{
		az:         az,
		ca:         newTestCA(t),
		monitor:    newDeadlineMonitor(t),
		credential: &countingCredential{az: az, id: id},
		gateway:    fmt.Sprintf("127.0.0.1:%d", az.Port()),
	}
}

// newConnector returns a connector that dials proxy.
func (p *proxyEnv) newConnector(t testing.TB, proxy *proxy, opts ...aad.Option) *aad.Connector {
	ca := p.az.CertFile()
	if proxy.tlsConfig != nil {
		ca = p.ca.file
	}
	host, port, _ := net.SplitHostPort(proxy.addr)
	dsn := fmt.Sprintf("host=%s port=%s dbname=postgres sslrootcert='%s' user='%s'", host, port, ca, p.credential.id.Name)
	c, err := aad.NewConnector(dsn, append(opts, aad.WithCredential(p.credential))...)
	if err != nil {
		t.Error(err)
	}
	return c
}

// connect connects within timeout and checks who is signed in. A failure must come in
// time and have one clear line.
func (p *proxyEnv) connect(t testing.TB, what string, c *aad.Connector, timeout time.Duration) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	conn, err := c.Connect(ctx)
	p.monitor.observe(ctx, t, what)
	if err != nil {
		if problem := errorProblem(err); problem != "" {
			t.Errorf("%s: %s: %v", what, problem, err)
		}
		return nil, err
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second) // the connect may have used up the first
	defer cancel()
	user := ""
	err = conn.(*stdlib.Conn).Conn().QueryRow(ctx, "select session_user").Scan(&user)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if user != p.credential.id.Name {
		t.Errorf("%s: session_user = %q, want %q", what, user, p.credential.id.Name)
	}
	return conn, nil
}

// mustConnect checks that one connect succeeds.
func (p *proxyEnv) mustConnect(t testing.TB, what string, c *aad.Connector) {
	conn, err := p.connect(t, what, c, 10*time.Second)
	if err != nil {
		t.Errorf("%s: Connect() = %v without a fault, want success", what, err)
		return
	}
	conn.Close()
}

// TestFaultsAtEachMessage breaks or silences a connection at every position of the
// sign-in: within a header, within a body, and between messages, in both directions, of
// TLS and of PostgreSQL. The caller gets its error in time, as one clear line. The next
// connect succeeds with the cached token. Nothing leaks.
func TestFaultsAtEachMessage(t *testing.T) {
	checkLeaks(t)
	env := newProxyEnv(t, "cut off")
	terminating := &tls.Config{Certificates: []tls.Certificate{*env.ca.sign(t, time.Now().Add(time.Hour))}}
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, 8)
		mu    sync.Mutex
		steps = map[string]int{}
		count counter
	)
	for _, layer := range []struct {
		name      string
		tlsConfig *tls.Config
	}{{"TLS", nil}, {"PostgreSQL", terminating}} {
		p := newProxy(t, env.gateway, layer.tlsConfig)
		c := env.newConnector(t, p)
		t.Cleanup(func() { c.Close() }) // not earlier: tokens are cached as long as a connector is open
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		passed, _ := p.progress()
		conn.Close()
		env.mustConnect(t, layer.name, c)
		t.Logf("a sign-in has %d messages to the server and %d to the client in layer %s", passed[toServer], passed[toClient], layer.name)
		for _, d := range newDisruptions(passed) {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				name := fmt.Sprintf("%s %s %s", layer.name, d.action, d.at)
				count.run(t, name, func(t *testing.T) bool {
					step := env.breakOnce(t, name, layer.tlsConfig, d)
					mu.Lock()
					defer mu.Unlock()
					steps[step]++
					return step != "none"
				})
			})
		}
		wg.Wait()
	}
	checkNoSessions(t, env.az)
	env.monitor.report(t)
	t.Logf("%s; errors by step (none: the message has no such position) %v; token requests %d", &count, steps, env.credential.calls.Load())
	if got := env.credential.calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1: the cached token was valid throughout", got)
	}
	if got := steps[aad.StepNetwork]; got < 100 {
		t.Errorf("network errors = %d, want at least 100", got)
	}
}

// newDisruptions returns each action at each position of a sign-in of that many
// messages. After the last message to the client there is none: the session exists.
func newDisruptions(passed [2]int) (all []disruption) {
	for _, action := range []string{actionClose, actionReset, actionSilence} {
		all = append(all, disruption{at: position{part: "before"}, action: action})
		for direction, n := range passed {
			for message := range n {
				for _, part := range []string{"header", "body", "end"} {
					if direction == toClient && message == n-1 && part == "end" {
						continue
					}
					all = append(all, disruption{at: position{direction, message, part}, action: action})
				}
			}
		}
	}
	return all
}

// breakOnce disrupts one connection and returns the step that its error names, or
// "none" if the connection has no such position.
func (p *proxyEnv) breakOnce(t testing.TB, what string, tlsConfig *tls.Config, d disruption) string {
	proxy := newProxy(t, p.gateway, tlsConfig)
	defer proxy.close()
	c := p.newConnector(t, proxy)
	defer c.Close()
	const longest = 10 * time.Second
	timeout := longest
	if d.action == actionSilence {
		timeout = 300 * time.Millisecond
	}
	var (
		conn      driver.Conn
		err       error
		triggered int
	)
	for ; ; timeout *= 6 { // a busy machine may not reach the position within a short timeout
		proxy.setDisruption(disruptOnce(d))
		conn, err = p.connect(t, what, c, timeout)
		_, triggered = proxy.progress()
		if err == nil || triggered > 0 || timeout >= longest {
			break
		}
	}
	if err == nil {
		conn.Close()
		if triggered > 0 {
			t.Errorf("Connect() succeeded through the disruption, want an error")
		}
		return "none"
	}
	if triggered == 0 {
		t.Errorf("Connect() = %v before it reached the position", err)
	} else if timedOut := errors.Is(err, context.DeadlineExceeded); timedOut != (d.action == actionSilence) {
		t.Errorf("Connect() = %v, want the deadline's error: %t", err, d.action == actionSilence)
	}
	p.mustConnect(t, what, c)
	var e *aad.Error
	errors.As(err, &e)
	return e.Step
}
