package emulator

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Faults are knobs that make the emulator misbehave. The zero value behaves.
// They may be turned at any time.
type Faults struct {
	mu          sync.Mutex
	tokenDelay  time.Duration
	tokenLife   time.Duration
	maxTokenAge time.Duration
	notBefore   bool
	failures    int // negative: no end
	status      int
	retryAfter  time.Duration
	refuseTLS   bool
	roundTrip   time.Duration
	signInDelay time.Duration
	newWording  bool
	refusal     *pgconn.PgError
	denied      denial // code 0: none
	noIdentity  int    // status; 0: none
	noBody      string
	ahead       time.Duration
	certificate Certificate
	hangUp      bool
}

// TokenDelay makes every token request take at least d.
func (f *Faults) TokenDelay(d time.Duration) { f.set(func() { f.tokenDelay = d }) }

// TokenLife makes tokens live for d; 0 is an hour.
func (f *Faults) TokenLife(d time.Duration) { f.set(func() { f.tokenLife = d }) }

// MaxTokenAge makes the gateway refuse older tokens as expired; 0 is no limit.
func (f *Faults) MaxTokenAge(d time.Duration) { f.set(func() { f.maxTokenAge = d }) }

// NotBefore makes the gateway look at when tokens begin: it refuses those whose nbf
// or iat lies more than five minutes ahead of Azure's clock, as those of an authority
// whose clock is wrong.
func (f *Faults) NotBefore(on bool) { f.set(func() { f.notBefore = on }) }

// FailTokens answers the next n token requests with an HTTP status; a negative n
// is all of them, until told otherwise.
func (f *Faults) FailTokens(n, status int) { f.set(func() { f.failures, f.status = n, status }) }

// RetryAfter makes the answers of FailTokens carry a Retry-After header, of whole
// seconds, rounded up; 0 is none.
func (f *Faults) RetryAfter(d time.Duration) { f.set(func() { f.retryAfter = d }) }

// RefuseTLS makes the gateway answer N to a request for TLS.
func (f *Faults) RefuseTLS(on bool) { f.set(func() { f.refuseTLS = on }) }

// RoundTrip moves the gateway d away for connections from now on: a TCP connect
// costs d, and each exchange costs d. The token endpoints stay where they are.
func (f *Faults) RoundTrip(d time.Duration) { f.set(func() { f.roundTrip = d }) }

// SignInDelay makes the gateway take d between the password of an Entra role and
// its verdict.
func (f *Faults) SignInDelay(d time.Duration) { f.set(func() { f.signInDelay = d }) }

// NewWording makes the server refuse in the words that it has used since about
// 2025, instead of those that are still met more often.
func (f *Faults) NewWording(on bool) { f.set(func() { f.newWording = on }) }

// Refuse makes the gateway refuse every new session with e, as soon as it has its
// startup packet. The severity is FATAL unless e has one; nil is none.
func (f *Faults) Refuse(e *pgconn.PgError) {
	if e != nil {
		c := *e
		if e = &c; e.Severity == "" {
			e.Severity = "FATAL"
		}
		if e.SeverityUnlocalized == "" {
			e.SeverityUnlocalized = e.Severity
		}
	}
	f.set(func() { f.refusal = e })
}

// HangUp makes the gateway close new connections before it has said anything.
func (f *Faults) HangUp(on bool) { f.set(func() { f.hangUp = on }) }

// Certificate makes the gateway present that certificate from now on. Entra's own
// stays right.
func (f *Faults) Certificate(c Certificate) { f.set(func() { f.certificate = c }) }

// DenyTokens makes Entra answer every token request with an error of its own, 400
// with that AADSTS code and text; code 0 is none. Managed identities do not ask it.
func (f *Faults) DenyTokens(code int, text string) { f.set(func() { f.denied = denial{code, text} }) }

// DenyIdentity makes the endpoints of managed identities answer with that status
// and body, which should be JSON; status 0 is none.
func (f *Faults) DenyIdentity(status int, body string) {
	f.set(func() { f.noIdentity, f.noBody = status, body })
}

func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *Faults) life() (d time.Duration) {
	f.set(func() { d = f.tokenLife })
	if d == 0 {
		d = time.Hour
	}
	return d
}

func (f *Faults) distance() (d time.Duration) {
	f.set(func() { d = f.roundTrip })
	return d
}

func (f *Faults) presented() (c Certificate) {
	f.set(func() { c = f.certificate })
	return c
}

// ponder waits for as long as a sign-in is to take.
func (f *Faults) ponder(ctx context.Context) error {
	var d time.Duration
	f.set(func() { d = f.signInDelay })
	return sleepUntil(ctx, time.Now().Add(d))
}

// misbehave plays the faults that are set and tells whether it has answered.
func (a *Azure) misbehave(w http.ResponseWriter, r *http.Request) bool {
	f := &a.Faults
	var delay, retryAfter time.Duration
	status := 0
	f.set(func() {
		delay, retryAfter = f.tokenDelay, f.retryAfter
		if f.failures != 0 {
			status = f.status
		}
		if f.failures > 0 {
			f.failures--
		}
	})
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return true
	}
	if status != 0 {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(int(math.Ceil(retryAfter.Seconds()))))
		}
		a.refuse(w, status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
	}
	return status != 0
}
