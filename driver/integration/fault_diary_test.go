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

// doubling is the wait after the nth time in a row that something went wrong: a
// second, doubling to thirty.
func doubling(n int) time.Duration { return min(time.Second<<min(max(n-1, 0), 5), 30*time.Second) }

// A diary is a log handler that holds the driver to what it promises of its waits.
//
// After the nth token request in a row that fails it waits for between half and all
// of doubling(n), or longer if a Retry-After has asked for that, and says for how long.
// After the nth token in a row that a server refused it asks for another one when
// doubling(n) is over, counted from the refusal that made it ask for the last.
type diary struct {
	t      testing.TB
	who    string
	after  *atomic.Int64 // what a Retry-After has asked for
	worked func() int64  // sign-ins

	mu      sync.Mutex
	ended   int64       // requests
	failed  int         // requests since one that did not
	retry   time.Time   // when the next may be
	refused int         // tokens since a sign-in that worked
	first   time.Time   // when the first of them was
	next    time.Time   // when another may be asked for
	good    int64       // sign-ins when one was last refused
	began   []time.Time // requests that brought a token

	healed bool          // what was wrong is no more
	late   int64         // requests that were under way then, and may fail yet
	due    time.Time     // when the next request must have begun
	took   time.Duration // what it took then
}

func (d *diary) Enabled(context.Context, slog.Level) bool { return true }
func (d *diary) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d *diary) WithGroup(string) slog.Handler            { return d }

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	a := map[string]slog.Value{}
	r.Attrs(func(attr slog.Attr) bool { a[attr.Key] = attr.Value; return true })
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.Message {
	case "token fetched", "token refreshed":
		d.after.Store(0)
		d.failed, d.retry = 0, time.Time{}
		took := a["took"].Duration()
		began := r.Time.Add(-took)
		d.began = append(d.began, began)
		if d.refused > 0 { // what was refused, and when it was asked, the log may have had the other way round
			d.next = latest(d.next, began.Add(doubling(d.refused)))
		}
		if d.healed && d.late == 0 {
			d.took = took
		}
		d.end(r.Time)
	case "token request failed":
		d.failed++
		wait, step, after := a["retry_in"].Duration(), doubling(d.failed), time.Duration(d.after.Swap(0))
		if wait < max(step/2, after) || wait > max(step, after) {
			d.t.Errorf("%s: after %d failures in a row, with a Retry-After of %s, the next request is to be after %s", d.who, d.failed, after, wait)
		}
		d.retry = r.Time.Add(wait)
		d.end(d.retry)
	case "sign-in rejected":
		if strings.Contains(a["message"].String(), "token") {
			d.reject(r.Time)
		}
	}
	return nil
}

// end notes that a request has ended, and that the next may be from then on.
func (d *diary) end(next time.Time) {
	if d.ended++; d.late > 0 {
		d.late--
		d.due = latest(d.due, next)
	}
}

// reject notes that a token was refused.
func (d *diary) reject(at time.Time) {
	if n := d.worked(); n != d.good {
		d.good, d.refused = n, 0
	}
	switch {
	case d.refused == 0:
		d.refused, d.first, d.next = 1, at, at.Add(doubling(1))
		if d.healed { // nobody had presented that token yet
			d.due = latest(d.due, d.next)
		}
	case !at.Before(d.next):
		d.refused++
		d.next = at.Add(doubling(d.refused))
	}
}

// heal notes that from now on nothing is wrong.
func (s *stage) heal() {
	d := s.diary
	d.mu.Lock()
	defer d.mu.Unlock()
	d.healed, d.late, d.due = true, s.c.Stats().TokenRequests-d.ended, latest(time.Now(), d.retry)
	if d.refused > 0 && d.worked() == d.good {
		d.due = latest(d.due, d.next)
	}
}

// wrong tells whether the last request failed or the last token was refused.
func (d *diary) wrong() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed > 0 || d.refused > 0 && d.worked() == d.good
}

// relapse notes that something may be wrong again.
func (d *diary) relapse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.healed, d.late, d.took = false, 0, 0
}

// overdue is for how long the next request should have begun, and settled whether no
// request is left that began when something was wrong.
func (d *diary) overdue(now time.Time) (by time.Duration, settled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Sub(d.due), d.late == 0
}

// request is what the first request took that found nothing wrong, or nothing.
func (d *diary) request() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.took
}

// requests is when each request began that brought a token.
func (d *diary) requests() (first time.Time, began []time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first, d.began
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// signIn is what the slowest sign-in took that was refused. A token that has been asked
// about may be refused once more when that is over, and the driver counts from there.
func (s *stage) signIn() time.Duration { return time.Duration(s.slow.Load()) }

// prompt is how much later than it has to be a driver may be back: the first step of the
// backoff. A busy machine may need more for a token request and four sign-ins by
// themselves: two that come too early, one that is refused and asks, one that is let in.
const prompt = time.Second

// recover connects until that works after what was wrong has healed, and returns how
// long it took and how much longer than the driver had to wait. A connect that begins
// when the driver need not wait any more must work. It works when also does.
func (s *stage) recover(also func() error) (took, overdue time.Duration, err error) {
	defer s.diary.relapse()
	began := time.Now()
	var (
		failed time.Time // when the last began that did not work
		why    error
	)
	for {
		from := time.Now()
		if err = s.connect(5 * time.Second); err == nil {
			err = also()
		}
		now := time.Now()
		if overdue, _ = s.diary.overdue(now); overdue > prompt {
			// The connect may be back before the record of the request that it waited for.
			within(time.Second, func() (settled bool) { overdue, settled = s.diary.overdue(now); return settled })
		}
		if err == nil {
			took = now.Sub(began)
			break
		}
		if overdue > 10*time.Second {
			return now.Sub(began), overdue, err
		}
		failed, why = from, err
		<-time.After(20 * time.Millisecond)
	}
	if by, _ := s.diary.overdue(failed); by > 3*inTime+s.signIn() {
		err = fmt.Errorf("%s after it had to, a connect began that did not work: %w", by, why)
	}
	if again := time.Now(); overdue > prompt && s.connect(5*time.Second) == nil {
		overdue -= s.diary.request() + 4*max(s.signIn(), time.Since(again)) + s.watch.beside(again)
	}
	return took, overdue, err
}
