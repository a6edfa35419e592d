package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A fault is one of the random run. It is started, and stopped a while later.
type fault struct {
	name        string
	group       string // at most one fault of a group is active; "": any number
	start, stop func()
	slow        bool // takes the emulator seconds
}

// allFaults returns every fault that may happen to the clients of one env.
func allFaults(t testing.TB, e *env, clients []*client, r *rand.Rand) (all []fault) {
	none := func() {}
	for i, c := range clients {
		for _, f := range authorityFaults {
			if (f.tlsOnly && c.authority.tls == nil) || f.heavy {
				continue
			}
			all = append(all, fault{
				name:  fmt.Sprintf("authority %d: %s", i, f.name),
				group: fmt.Sprint("authority ", i),
				start: func() { f.start(c) },
				stop:  func() { f.stop(c) },
			})
		}
	}
	for _, f := range serverFaults {
		all = append(all, fault{name: f.name, group: f.group, start: func() { f.start(t, e) }, stop: func() { f.stop(t, e) }, slow: f.slow})
	}
	for _, action := range []string{actionClose, actionReset, actionSilence} {
		all = append(all,
			fault{name: "all connections " + action, start: func() { e.proxy.disconnect(action) }, stop: func() { e.proxy.disconnect(actionClose) }},
			randomDisruption(e, action, r))
	}
	return append(all,
		fault{name: "tokens revoked", start: e.az.RevokeTokens, stop: none},
		fault{name: "sessions terminated", group: "server", start: func() { e.terminate(clients) }, stop: none},
		fault{name: "too many connections of both roles", group: "server", start: func() { e.limit(clients, 0) }, stop: func() { e.limit(clients, -1) }},
		fault{name: "slow tokens", start: func() { e.az.Faults.TokenDelay(time.Second) }, stop: func() { e.az.Faults.TokenDelay(0) }},
		fault{name: "Azure's clock ahead", group: "clock", start: func() { e.az.Faults.Clock(time.Hour) }, stop: func() { e.az.Faults.Clock(0) }},
		fault{name: "Azure's clock behind", group: "clock", start: func() { e.az.Faults.Clock(-time.Hour) }, stop: func() { e.az.Faults.Clock(0) }},
	)
}

// randomDisruption disrupts half of the new connections at a random position, during
// the sign-in or later.
func randomDisruption(e *env, action string, r *rand.Rand) fault {
	var mu sync.Mutex // guards r
	next := func() *disruption {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(2) == 0 {
			return nil
		}
		return &disruption{at: position{r.IntN(2), r.IntN(20), []string{"header", "body", "end"}[r.IntN(3)]}, action: action}
	}
	return fault{
		name:  "new connections " + action + " at a random position",
		group: "disruption",
		start: func() { e.proxy.setDisruption(next) },
		stop: func() {
			e.proxy.setDisruption(nil)
			e.proxy.disconnect(actionClose)
		},
	}
}

func (e *env) terminate(clients []*client) {
	for _, c := range clients {
		e.server.terminate(c.id.Name)
	}
}

func (e *env) limit(clients []*client, n int) {
	for _, c := range clients {
		e.server.limit(c.id.Name, n)
	}
}

// newRound chooses up to three faults, with the delay and the duration of each. run
// starts and stops them and returns when all are stopped.
func newRound(r *rand.Rand, all []fault) (names []string, run func()) {
	var wg sync.WaitGroup
	var runs []func()
	taken := map[string]bool{}
	for _, i := range r.Perm(len(all))[:1+r.IntN(3)] {
		f := all[i]
		if f.slow && r.IntN(3) > 0 {
			continue
		}
		if taken[f.group] {
			continue
		}
		taken[f.group] = f.group != ""
		delay := time.Duration(r.IntN(300)) * time.Millisecond
		duration := time.Duration(100+r.IntN(1400)) * time.Millisecond
		names = append(names, f.name)
		runs = append(runs, func() {
			<-time.After(delay)
			f.start()
			<-time.After(duration)
			f.stop()
		})
	}
	return names, func() {
		for _, run := range runs {
			wg.Go(run)
		}
		wg.Wait()
	}
}

// newClients returns an env with two clients: an application with a secret, and a
// managed identity. Their tokens live for life.
func newClients(t testing.TB, life time.Duration) (*env, []*client) {
	e := newEnv(t, "bystander")
	e.az.SetenvOn(t, emulator.VirtualMachine, emulator.Identity{})
	e.az.Faults.TokenLife(life)
	host, port, _ := net.SplitHostPort(e.proxy.addr)
	dsn := fmt.Sprintf("host=%s port=%s dbname=postgres sslrootcert='%s' connect_timeout=2", host, port, e.az.CertFile())
	return e, []*client{
		newClient(t, e.az, e.ca, e.monitor, "first of two", false, dsn, e.lookup()),
		newClient(t, e.az, e.ca, e.monitor, "second of two", true, dsn, e.lookup()),
	}
}

// A recordingTB remembers whether Error or Errorf was called on it, for one round after
// the other.
type recordingTB struct {
	testing.TB
	failed atomic.Bool
}

func (r *recordingTB) Errorf(format string, args ...any) {
	r.TB.Helper()
	r.failed.Store(true)
	r.TB.Errorf(format, args...)
}

func (r *recordingTB) Error(args ...any) {
	r.TB.Helper()
	r.failed.Store(true)
	r.TB.Error(args...)
}
