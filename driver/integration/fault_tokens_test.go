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

// Everything that may be wrong with an authority, for an application with a secret
// and for a managed identity: a token at hand serves until its end; then the error
// says what is wrong; the authority is not hammered; and when all is well again,
// so are connects, as soon as the driver's rule for its waits allows. In the end
// nothing is left.
func TestFaultsOfTheAuthority(t *testing.T) {
	nothingLeft(t)
	az := emulator.Start(t)
	az.SetenvOn(t, emulator.VirtualMachine, emulator.Identity{})
	az.Faults.TokenLife(tokenLife)
	az.Faults.NotBefore(true)
	i, w := newIssuer(t), newWatch(t)
	var (
		wg       sync.WaitGroup
		count    tally
		requests atomic.Int64
	)
	slots := make(chan struct{}, 12)
	for _, heavy := range []bool{false, true} { // they would be the others' fault
		for _, f := range authority {
			for _, managed := range []bool{false, true} {
				if f.secret && managed || f.heavy != heavy {
					continue
				}
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					count.of(t, func(t testing.TB) bool { requests.Add(f.test(t, az, i, w, managed)); return true })
				})
			}
		}
		wg.Wait()
	}
	noSessions(t, az)
	w.check(t)
	t.Logf("%s; token requests %d", &count, requests.Load())
}

const (
	tokenLife = 4 * time.Second
	pace      = 200 * time.Millisecond // of those who connect
)

// failuresIn is how many token requests that fail fit into d. Between them lies half
// of the backoff at least, which doubles from a second to thirty.
func failuresIn(d time.Duration) (n int64) {
	for step := time.Second; d >= 0; step = min(2*step, 30*time.Second) {
		d -= step / 2
		n++
	}
	return n
}

// test tries one fault and returns how many requests were made.
func (f fault) test(t testing.TB, az *emulator.Azure, i *issuer, w *watch, managed bool) int64 {
	name := f.name + ", secret"
	if managed {
		name = f.name + ", managed identity"
	}
	s := newStage(t, az, i, w, name, managed, az.DSN())
	from := time.Now()
	if !f.spoils {
		if err := s.connect(5 * time.Second); err != nil {
			t.Errorf("%s: before: %v", name, err)
			return 0
		}
	}
	asked, before, end := s.front.asked.Load(), s.c.Stats().TokenRequests, s.c.Stats().TokenExpires
	earlier := time.Since(from) + time.Second // what the token itself says: it came a while after its issue, and ends at a whole second
	patience := 5 * time.Second               // more than a busy machine needs
	if f.hangs {
		patience = 2 * time.Second // less than the driver has
	}
	f.on(s)
	began := time.Now()
	var (
		mu   sync.Mutex
		seen = map[string]int{} // errors
		wg   sync.WaitGroup
	)
	for range 3 {
		wg.Go(func() {
			for time.Since(began) < tokenLife+3*time.Second {
				from := time.Now()
				err := s.connect(patience)
				if blame := f.blame(err, from, end, end.Add(-earlier)); blame != "" && !s.overloaded(err) {
					t.Errorf("%s: %s: %v", name, blame, err)
				}
				if err != nil {
					mu.Lock()
					seen[err.Error()]++
					mu.Unlock()
				}
				<-time.After(pace)
			}
		})
	}
	wg.Wait()
	lasted := time.Since(began)
	flights := s.c.Stats().TokenRequests - before
	asked = s.front.asked.Load() - asked
	if f.spoils {
		s.regular(f)
	}
	took := s.back(f)
	if f.twice {
		f.on(s)
		if !within(tokenLife+tokenTimeout, func() bool { s.connect(2 * time.Second); return s.diary.wrong() }) {
			t.Errorf("%s: nobody has noticed the second time", name)
		}
		s.back(f)
	}
	said := ""
	for _, e := range slices.Sorted(maps.Keys(seen)) {
		if f.says == "" || contains(e, f.says) {
			said = e
		}
	}
	t.Logf("%-50s %2d requests in %d tries, %s: %s", name, asked, flights, took, said)
	if f.step != "" && said == "" {
		t.Errorf("%s: nobody was told: %v", name, seen)
	}
	// One renewal that finds the token good, and those that fail. azcore tries the first
	// of them four times, and asks for the authority's addresses once more.
	if n := 1 + failuresIn(lasted); flights > n || asked > 2*n+4 {
		t.Errorf("%s: %d requests in %d tries, the backoff allows %d in %s", name, asked, flights, n, lasted)
	}
	return asked
}

// back takes the fault away and sees to it that connects work again in time.
func (s *stage) back(f fault) (how string) {
	f.off(s)
	s.heal()
	took, overdue, err := s.recover(func() error { return nil })
	if err != nil || overdue > prompt {
		s.t.Errorf("%s: back after %s, which is %s later than it had to be: %v", s.id.Name, took, overdue, err)
	}
	return fmt.Sprintf("back after %s, %s of it without need", took.Round(time.Millisecond), overdue.Round(time.Millisecond))
}

// regular sees to it that requests in place of tokens that were refused came as far
// apart as they must, while somebody connected all the time.
func (s *stage) regular(f fault) {
	most := pace + 2*s.signIn() + inTime // a connect that came a little too early, and the next
	before, began := s.diary.requests()
	if before.IsZero() {
		return // none was refused
	}
	if f.old && len(began) > 1 && began[1].Sub(before) < doubling(1)/2 {
		began = began[1:]
	}
	for n := 1; n < len(began); n++ {
		if gap := began[n].Sub(before); gap < doubling(n)-inTime || gap > doubling(n)+most {
			s.t.Errorf("%s: %s between refused tokens %d and %d", s.id.Name, gap, n, n+1)
		}
		before = began[n]
	}
	if open := time.Since(before); open > doubling(len(began))+most {
		s.t.Errorf("%s: no request since %s, when refused token %d came", s.id.Name, open, len(began))
	}
}

// overloaded tells whether a connect ran out of time because this machine has none: then
// so do plain pgx's.
func (s *stage) overloaded(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && s.watch.beside(time.Now()) > inTime
}

// blame says why a connect that began at from should not have ended so, or nothing.
// The driver takes the token's end to be at end; it is at sure, or later.
func (f fault) blame(err error, from, end, sure time.Time) string {
	var e *driver.Error
	switch {
	case err == nil && f.spoils && f.step != "":
		return "it works"
	case err == nil:
		return ""
	case f.heavy && errors.Is(err, context.DeadlineExceeded):
		return "" // it is this machine that is slow
	case !errors.As(err, &e):
		return "a session was cut"
	case f.step == "":
		return "it does not work"
	case !f.spoils && from.Before(end) && time.Now().After(sure) && strings.Contains(err.Error(), "token has expired"):
		return ""
	case !f.spoils && from.Before(sure.Add(-time.Second)):
		return "with a token at hand"
	case e.Step == "token" && strings.Contains(e.Hint, "still on its way"):
		return ""
	case e.Step != f.step || !contains(err.Error(), f.says):
		return "not the cause"
	}
	return ""
}
