package integration

import (
	"context"
	"errors"
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
// so are connects.
func TestFaultsOfTheAuthority(t *testing.T) {
	az := emulator.Start(t)
	az.SetenvOn(t, emulator.VirtualMachine, emulator.Identity{})
	az.Faults.TokenLife(tokenLife)
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
					count.of(t, func(t testing.TB) { requests.Add(f.test(t, az, i, w, managed)) })
				})
			}
		}
		wg.Wait()
	}
	w.check(t)
	t.Logf("%s; token requests %d", &count, requests.Load())
}

const tokenLife = 4 * time.Second

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
	if !f.spoils {
		if err := s.connect(5 * time.Second); err != nil {
			t.Errorf("%s: before: %v", name, err)
			return 0
		}
	}
	asked, before, end := s.front.asked.Load(), s.c.Stats().TokenRequests, s.c.Stats().TokenExpires
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
				err := s.connect(2 * time.Second)
				if blame := f.blame(err, from, end); blame != "" {
					t.Errorf("%s: %s: %v", name, blame, err)
				}
				if err != nil {
					mu.Lock()
					seen[err.Error()]++
					mu.Unlock()
				}
				<-time.After(200 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	lasted := time.Since(began)
	st, step := s.c.Stats(), s.diary.step()
	asked = s.front.asked.Load() - asked
	flights := st.TokenRequests - before
	f.off(s)
	if f.spoils { // it does not fail, so the diary knows nothing of it
		step = min(time.Second<<flights, 30*time.Second)
	}
	most := step + tokenTimeout // a request may be under way, and hang
	took, err := s.recover(2 * most)
	said := ""
	for _, e := range slices.Sorted(maps.Keys(seen)) {
		if f.says == "" || contains(e, f.says) {
			said = e
		}
	}
	t.Logf("%-50s %2d requests in %d tries, back after %s of at most %s: %s", name, asked, flights, took.Round(time.Millisecond), most, said)
	if err != nil || took > most+time.Second {
		t.Errorf("%s: after %s, %s too late: %v", name, took, took-most, err)
	}
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

// blame says why a connect that began at from should not have ended so, or nothing.
func (f fault) blame(err error, from, end time.Time) string {
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
	case !f.spoils && from.Before(end.Add(-2*time.Second)):
		return "with a token at hand"
	case !f.spoils && from.Before(end) && strings.Contains(err.Error(), "token has expired"):
		return "" // tokens end at whole seconds, and what the authority says of them is rounded
	case e.Step == "token" && strings.Contains(e.Hint, "still on its way"):
		return ""
	case e.Step != f.step || !contains(err.Error(), f.says):
		return "not the cause"
	}
	return ""
}
