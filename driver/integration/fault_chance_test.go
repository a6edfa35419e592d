package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A mishap is a fault of the random run: on, and off a while later. What happens in
// an instant has no off.
type mishap struct {
	name, place string // of each place there is one at a time
	on, off     func()
	rare        bool // costs the emulator seconds
}

// mishaps are all that may happen to two stages on one street.
func mishaps(t testing.TB, s *street, stages []*stage, r *rand.Rand) (all []mishap) {
	for i, st := range stages {
		for _, f := range authority {
			if f.secret && st.front.tls == nil || f.heavy {
				continue
			}
			all = append(all, mishap{name: fmt.Sprintf("authority %d: %s", i, f.name), place: fmt.Sprint("authority ", i), on: func() { f.on(st) }, off: func() { f.off(st) }})
		}
	}
	for _, f := range troubles {
		all = append(all, mishap{name: f.name, place: f.place, on: func() { f.on(t, s) }, off: func() { f.off(t, s) }, rare: f.name == "stopped" || f.name == "restarted" || f.name == "crashed"})
	}
	for _, how := range []string{fin, reset, silent} {
		all = append(all, mishap{name: "every connection " + how, on: func() { s.proxy.cut(how) }, off: func() { s.proxy.cut(fin) }})
		// Half of the new connections, at a place of chance: in the sign-in or later.
		var mu sync.Mutex
		all = append(all, mishap{name: "new connections " + how + " somewhere", place: "plan", on: func() {
			s.proxy.set(func() *plan {
				mu.Lock()
				defer mu.Unlock()
				if r.IntN(2) == 0 {
					return nil
				}
				return &plan{at: spot{r.IntN(2), r.IntN(20), []string{"header", "body", "end"}[r.IntN(3)]}, how: how}
			})
		}, off: func() { s.proxy.set(nil); s.proxy.cut(fin) }})
	}
	all = append(all,
		mishap{name: "tokens revoked", on: s.az.RevokeTokens, off: func() {}},
		mishap{name: "sessions ended by an administrator", place: "server", on: func() {
			for _, st := range stages {
				s.server.terminate(st.id.Name)
			}
		}, off: func() {}},
		mishap{name: "full for both roles", place: "server", on: func() { s.limit(stages, 0) }, off: func() { s.limit(stages, -1) }},
		mishap{name: "slow tokens", on: func() { s.az.Faults.TokenDelay(time.Second) }, off: func() { s.az.Faults.TokenDelay(0) }},
		mishap{name: "Azure's clock ahead", place: "clock", on: func() { s.az.Faults.Clock(time.Hour) }, off: func() { s.az.Faults.Clock(0) }},
		mishap{name: "Azure's clock behind", place: "clock", on: func() { s.az.Faults.Clock(-time.Hour) }, off: func() { s.az.Faults.Clock(0) }},
	)
	return all
}

func (s *street) limit(stages []*stage, n int) {
	for _, st := range stages {
		s.server.limit(st.id.Name, n)
	}
}

// A round is one to three mishaps at once, each with its time.
func round(r *rand.Rand, all []mishap) (names []string, run func()) {
	var wg sync.WaitGroup
	var starts []func()
	taken := map[string]bool{}
	for _, i := range r.Perm(len(all))[:1+r.IntN(3)] {
		m := all[i]
		if m.rare && r.IntN(3) > 0 || taken[m.place] {
			continue
		}
		taken[m.place] = m.place != ""
		after, lasts := time.Duration(r.IntN(300))*time.Millisecond, time.Duration(100+r.IntN(1400))*time.Millisecond
		names = append(names, m.name)
		starts = append(starts, func() {
			<-time.After(after)
			m.on()
			<-time.After(lasts)
			m.off()
		})
	}
	return names, func() {
		for _, start := range starts {
			wg.Go(start)
		}
		wg.Wait()
	}
}

// newStages are a street for two stages: an application with a secret, and a
// managed identity.
func newStages(t testing.TB, life time.Duration) (*street, []*stage) {
	s := newStreet(t, "bystander")
	s.az.SetenvOn(t, emulator.VirtualMachine, emulator.Identity{})
	s.az.Faults.TokenLife(life)
	host, port, _ := net.SplitHostPort(s.proxy.addr)
	dsn := fmt.Sprintf("host=%s port=%s dbname=postgres sslrootcert='%s' connect_timeout=2", host, port, s.az.CertFile())
	return s, []*stage{newStage(t, s.az, s.issuer, s.watch, "first of two", false, dsn, s.names()), newStage(t, s.az, s.issuer, s.watch, "second of two", true, dsn, s.names())}
}
