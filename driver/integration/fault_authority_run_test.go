package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestFaultsOfTheAuthority covers each fault of the authority, for an application with a
// secret and for a managed identity. A cached token is used until it expires. After that
// the error names the cause. Token requests follow the backoff. After the fault, connects
// succeed as soon as the backoff allows a request. Nothing leaks.
func TestFaultsOfTheAuthority(t *testing.T) {
	checkLeaks(t)
	az := emulator.Start(t)
	az.SetenvOn(t, emulator.VirtualMachine, emulator.Identity{})
	az.Faults.TokenLife(tokenLife)
	az.Faults.NotBefore(true)
	ca, monitor := newTestCA(t), newDeadlineMonitor(t)
	var (
		wg       sync.WaitGroup
		count    counter
		requests atomic.Int64
	)
	slots := make(chan struct{}, 12)
	for _, heavy := range []bool{false, true} { // heavy ones last: they would slow the others down
		for _, f := range authorityFaults {
			for _, identity := range []struct {
				name    string
				managed bool
			}{{"secret", false}, {"managed identity", true}} {
				if (f.tlsOnly && identity.managed) || f.heavy != heavy {
					continue
				}
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					name := f.name + ", " + identity.name
					count.run(t, name, func(t *testing.T) bool {
						c := newClient(t, az, ca, monitor, name, identity.managed, az.DSN())
						requests.Add(f.run(t, c))
						return true
					})
				})
			}
		}
		wg.Wait()
	}
	checkNoSessions(t, az)
	monitor.report(t)
	t.Logf("%s; token requests %d", &count, requests.Load())
}

const (
	tokenLife       = 4 * time.Second
	connectInterval = 200 * time.Millisecond
)

// maxFailures returns how many failing token requests the backoff allows within d. The
// wait between two of them is at least half a step. Steps double from one second to 30.
func maxFailures(d time.Duration) (n int64) {
	for step := time.Second; d >= 0; step = min(2*step, 30*time.Second) {
		d -= step / 2
		n++
	}
	return n
}

// run tries the fault on one client and returns the number of HTTP requests.
func (f authorityFault) run(t *testing.T, c *client) int64 {
	began := time.Now()
	if !f.badTokens {
		if err := c.connect(5 * time.Second); err != nil {
			t.Errorf("before the fault: %v", err)
			return 0
		}
	}
	httpRequests := c.authority.requests.Load()
	tokenRequests := c.connector.Stats().TokenRequests
	expires := c.connector.Stats().TokenExpires
	// The server reads the token's own exp. It is earlier than expires: the token arrived some
	// time after it was issued, and exp is in whole seconds.
	cached := cachedToken{expires: expires, usableUntil: expires.Add(-time.Since(began) - time.Second)}
	f.start(c)
	began = time.Now()
	errs := f.connectAll(t, c, cached)
	duration := time.Since(began)
	tokenRequests = c.connector.Stats().TokenRequests - tokenRequests
	httpRequests = c.authority.requests.Load() - httpRequests
	if f.badTokens {
		c.checkRefreshIntervals(f)
	}
	recovery := c.removeFault(f)
	if f.recurs {
		f.start(c)
		noticed := eventually(tokenLife+tokenTimeout, func() bool {
			c.connect(2 * time.Second)
			return c.checker.unhealthy()
		})
		if !noticed {
			t.Error("the fault was started again, and no token request failed")
		}
		c.removeFault(f)
	}
	cause := ""
	for _, text := range errs {
		if f.want == "" || containsAny(text, f.want) {
			cause = text
		}
	}
	t.Logf("%-50s %2d HTTP requests for %d token requests, %s: %s", c.id.Name, httpRequests, tokenRequests, recovery, cause)
	if f.step != "" && cause == "" {
		t.Errorf("errors = %q, want one with %q", errs, f.want)
	}
	limit := 1 + maxFailures(duration) // one refresh before the fault is noticed, and the failures
	if tokenRequests > limit {
		t.Errorf("token requests = %d in %s, want at most %d", tokenRequests, duration, limit)
	}
	// azcore tries the first request that fails four times, and requests the authority's
	// endpoints once more.
	if httpRequests > 2*limit+4 {
		t.Errorf("HTTP requests = %d in %s, want at most %d", httpRequests, duration, 2*limit+4)
	}
	return httpRequests
}

// A cachedToken is the token that the driver has when a fault begins.
type cachedToken struct {
	expires     time.Time // according to the driver
	usableUntil time.Time // the server accepts it at least until then
}

// connectAll connects from three goroutines until the cached token has expired and some
// seconds longer. It returns the distinct errors, sorted.
func (f authorityFault) connectAll(t *testing.T, c *client, cached cachedToken) []string {
	timeout := 5 * time.Second // more than the token timeout, with a margin for a busy machine
	if f.hangs {
		timeout = 2 * time.Second // less than the token timeout
	}
	began := time.Now()
	var (
		mu   sync.Mutex
		errs = map[string]bool{}
		wg   sync.WaitGroup
	)
	for range 3 {
		wg.Go(func() {
			for time.Since(began) < tokenLife+3*time.Second {
				connectBegan := time.Now()
				err := c.connect(timeout)
				if problem := f.problem(err, connectBegan, cached); problem != "" && !c.overloaded(err) {
					t.Errorf("%s: %v", problem, err)
				}
				if err != nil {
					mu.Lock()
					errs[err.Error()] = true
					mu.Unlock()
				}
				<-time.After(connectInterval)
			}
		})
	}
	wg.Wait()
	return slices.Sorted(maps.Keys(errs))
}

// removeFault stops the fault and checks that connects succeed again in time.
func (c *client) removeFault(f authorityFault) (recovery string) {
	f.stop(c)
	c.markHealthy()
	took, overdue, err := c.recover(func() error { return nil })
	if err != nil {
		c.t.Errorf("%s: no recovery within %s: %v", c.id.Name, took, err)
	}
	if overdue > recoveryTolerance {
		c.t.Errorf("%s: recovery took %s, %s more than the backoff, want at most %s more", c.id.Name, took, overdue, recoveryTolerance)
	}
	return fmt.Sprintf("recovered in %s, %s more than the backoff", took.Round(time.Millisecond), overdue.Round(time.Millisecond))
}

// checkRefreshIntervals checks that tokens were requested in place of rejected ones at
// the intervals of the backoff, while somebody connected all the time.
func (c *client) checkRefreshIntervals(f authorityFault) {
	tolerance := connectInterval + 2*c.slowestSignIn() + deadlineTolerance // a connect that came a little early, and the next
	last, fetches := c.checker.tokenFetches()
	if last.IsZero() {
		return // none was rejected
	}
	if f.oldTokens && len(fetches) > 1 && fetches[1].Sub(last) < backoff(1)/2 {
		fetches = fetches[1:]
	}
	for n := 1; n < len(fetches); n++ {
		if gap := fetches[n].Sub(last); gap < backoff(n)-deadlineTolerance || gap > backoff(n)+tolerance {
			c.t.Errorf("%s: interval between rejected tokens %d and %d = %s, want %s", c.id.Name, n, n+1, gap, backoff(n))
		}
		last = fetches[n]
	}
	if gap := time.Since(last); gap > backoff(len(fetches))+tolerance {
		c.t.Errorf("%s: no token request for %s after rejected token %d, want one after %s", c.id.Name, gap, len(fetches), backoff(len(fetches)))
	}
}

// overloaded reports whether a connect timed out because the machine is busy: then plain
// pgx is late too.
func (c *client) overloaded(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && c.monitor.baselineAt(time.Now()) > deadlineTolerance
}

// problem returns why a connect that began then should not have had this result, or "".
func (f authorityFault) problem(err error, began time.Time, cached cachedToken) string {
	var e *driver.Error
	switch {
	case err == nil && f.badTokens && f.step != "":
		return "connected with a bad token"
	case err == nil:
		return ""
	case f.heavy && errors.Is(err, context.DeadlineExceeded):
		return "" // this machine is slow
	case !errors.As(err, &e):
		return "a session was cut"
	case f.step == "":
		return "failed, want success"
	case !f.badTokens && began.Before(cached.expires) && time.Now().After(cached.usableUntil) && strings.Contains(err.Error(), "token has expired"):
		return ""
	case !f.badTokens && began.Before(cached.usableUntil.Add(-time.Second)):
		return "failed with a valid token in the cache"
	case e.Step == "token" && strings.Contains(e.Hint, "still under way"):
		return ""
	case e.Step != f.step:
		return fmt.Sprintf("step = %q, want %q", e.Step, f.step)
	case !containsAny(err.Error(), f.want):
		return fmt.Sprintf("does not name the cause, want %q", f.want)
	}
	return ""
}
