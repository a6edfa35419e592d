package integration

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// backoff is the step after the nth failure in a row: one second, doubling to 30.
func backoff(n int) time.Duration { return min(time.Second<<min(max(n-1, 0), 5), 30*time.Second) }

// A logChecker is a slog.Handler that checks the driver's backoff from its logs.
//
// After the nth token request in a row that fails, the driver must wait for between half
// and all of backoff(n), or longer if a Retry-After header asks for it, and log that wait.
// After the nth token in a row that a server rejected, it must request another one when
// backoff(n) has passed since the rejection that caused the last request.
type logChecker struct {
	t          testing.TB
	client     string
	retryAfter *atomic.Int64 // the last Retry-After header, as a time.Duration
	signIns    func() int64  // so far

	mu                 sync.Mutex  // guards the rest
	requestsEnded      int64       // token requests
	failures           int         // token requests since the last that succeeded
	nextAttempt        time.Time   // of the next token request after a failure
	rejections         int         // tokens that were rejected since the last sign-in
	firstRejection     time.Time   // of those
	nextRefresh        time.Time   // of the next token request after a rejection
	signInsAtRejection int64       // signIns at the last rejection
	fetches            []time.Time // when each token request began that returned a token

	healthy     bool          // the fault was removed
	pending     int64         // requests that began before, and may still fail
	dueBy       time.Time     // when the next request must have begun
	requestTook time.Duration // how long the first request took that began after the removal
}

func (l *logChecker) Enabled(context.Context, slog.Level) bool { return true }
func (l *logChecker) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logChecker) WithGroup(string) slog.Handler            { return l }

func (l *logChecker) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]slog.Value{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r.Message {
	case "token fetched", "token refreshed":
		l.tokenFetched(r.Time, attrs["took"].Duration())
	case "token request failed":
		l.requestFailed(r.Time, attrs["retry_in"].Duration())
	case "sign-in rejected":
		if strings.Contains(attrs["message"].String(), "token") {
			l.tokenRejected(r.Time)
		}
	}
	return nil
}

func (l *logChecker) tokenFetched(at time.Time, took time.Duration) {
	l.retryAfter.Store(0)
	l.failures = 0
	l.nextAttempt = time.Time{}
	began := at.Add(-took)
	l.fetches = append(l.fetches, began)
	if l.rejections > 0 { // the log may have the rejection and the request in reverse order
		l.nextRefresh = later(l.nextRefresh, began.Add(backoff(l.rejections)))
	}
	if l.healthy && l.pending == 0 {
		l.requestTook = took
	}
	l.requestEnded(at)
}

func (l *logChecker) requestFailed(at time.Time, wait time.Duration) {
	l.failures++
	step := backoff(l.failures)
	retryAfter := time.Duration(l.retryAfter.Swap(0))
	atLeast, atMost := max(step/2, retryAfter), max(step, retryAfter)
	if wait < atLeast || wait > atMost {
		l.t.Errorf("%s: retry_in = %s after %d failures in a row and a Retry-After of %s, want %s to %s", l.client, wait, l.failures, retryAfter, atLeast, atMost)
	}
	l.nextAttempt = at.Add(wait)
	l.requestEnded(l.nextAttempt)
}

// requestEnded records that a request has ended and that the next may begin at next.
func (l *logChecker) requestEnded(next time.Time) {
	l.requestsEnded++
	if l.pending > 0 {
		l.pending--
		l.dueBy = later(l.dueBy, next)
	}
}

func (l *logChecker) tokenRejected(at time.Time) {
	if n := l.signIns(); n != l.signInsAtRejection {
		l.signInsAtRejection = n
		l.rejections = 0
	}
	switch {
	case l.rejections == 0:
		l.rejections = 1
		l.firstRejection = at
		l.nextRefresh = at.Add(backoff(1))
		if l.healthy { // that token was fetched earlier, and presented only now
			l.dueBy = later(l.dueBy, l.nextRefresh)
		}
	case !at.Before(l.nextRefresh):
		l.rejections++
		l.nextRefresh = at.Add(backoff(l.rejections))
	}
}

// markHealthy records that the fault was removed.
func (c *client) markHealthy() {
	l := c.checker
	l.mu.Lock()
	defer l.mu.Unlock()
	l.healthy = true
	l.pending = c.connector.Stats().TokenRequests - l.requestsEnded
	l.dueBy = later(time.Now(), l.nextAttempt)
	if l.rejections > 0 && l.signIns() == l.signInsAtRejection {
		l.dueBy = later(l.dueBy, l.nextRefresh)
	}
}

// unhealthy reports whether the last token request failed or the last token was rejected.
func (l *logChecker) unhealthy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures > 0 {
		return true
	}
	return l.rejections > 0 && l.signIns() == l.signInsAtRejection
}

// reset records that a fault may be started again.
func (l *logChecker) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.healthy = false
	l.pending = 0
	l.requestTook = 0
}

// overdue returns how long ago the next request must have begun, and whether all
// requests have ended that began before the fault was removed.
func (l *logChecker) overdue(now time.Time) (by time.Duration, settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.dueBy), l.pending == 0
}

// requestDuration returns how long the first request took after the fault was removed,
// or 0 if there was none.
func (l *logChecker) requestDuration() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requestTook
}

// tokenFetches returns when each request began that returned a token.
func (l *logChecker) tokenFetches() (firstRejection time.Time, began []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstRejection, l.fetches
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slowestSignIn returns how long the slowest rejected sign-in took. A token may be rejected
// once more after its replacement was requested, and the driver counts from that rejection.
func (c *client) slowestSignIn() time.Duration { return time.Duration(c.slowestRejection.Load()) }

// recoveryTolerance is how much longer than the backoff a recovery may take: the backoff's
// first step.
const recoveryTolerance = time.Second

// recover connects until that and also succeed after the fault was removed. It returns
// how long that took, and how much longer than the backoff requires. A connect that
// begins when the backoff has passed must succeed.
func (c *client) recover(also func() error) (took, overdue time.Duration, err error) {
	defer c.checker.reset()
	began := time.Now()
	var (
		lastFailed time.Time // when the last connect began that failed
		lastErr    error
	)
	for {
		connectBegan := time.Now()
		err = c.connect(5 * time.Second)
		if err == nil {
			err = also()
		}
		now := time.Now()
		overdue, _ = c.checker.overdue(now)
		if overdue > recoveryTolerance {
			// The connect may return before the log record of the request that it waited for.
			eventually(time.Second, func() (settled bool) {
				overdue, settled = c.checker.overdue(now)
				return settled
			})
		}
		if err == nil {
			took = now.Sub(began)
			break
		}
		if overdue > 10*time.Second {
			return now.Sub(began), overdue, err
		}
		lastFailed, lastErr = connectBegan, err
		<-time.After(20 * time.Millisecond)
	}
	if by, _ := c.checker.overdue(lastFailed); by > 3*deadlineTolerance+c.slowestSignIn() {
		err = fmt.Errorf("a connect failed that began %s after the backoff had passed: %w", by, lastErr)
	}
	if overdue > recoveryTolerance {
		overdue -= c.unavoidable()
	}
	return took, overdue, err
}

// unavoidable estimates how long a recovery takes on a busy machine without any fault: a
// token request and four sign-ins, of which two come too early, one is rejected and causes
// the request, and one succeeds.
func (c *client) unavoidable() time.Duration {
	began := time.Now()
	if c.connect(5*time.Second) != nil {
		return 0
	}
	return c.checker.requestDuration() + 4*max(c.slowestSignIn(), time.Since(began)) + c.monitor.baselineAt(began)
}
