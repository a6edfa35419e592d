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

// Faults injects failures into the emulator. The zero value injects none. Each method
// sets one fault, which stays in effect until it is set again. The methods are safe for
// concurrent use, and may be called while the emulator serves clients.
type Faults struct {
	mu       sync.Mutex // guards settings; never held while a fault is in effect
	settings faultSettings
}

type faultSettings struct {
	// Entra and the hosts
	tokenDelay     time.Duration
	tokenLife      time.Duration // 0: an hour
	failures       int           // requests that still fail; negative: all
	failureStatus  int
	retryAfter     time.Duration
	entraError     entraError // code 0: none
	identityStatus int        // 0: none
	identityBody   string
	clockOffset    time.Duration

	// the gateway
	maxTokenAge time.Duration // 0: unlimited, but on single server ten minutes
	notBefore   bool
	refuseTLS   bool
	roundTrip   time.Duration
	signInDelay time.Duration
	newWording  bool
	refusal     *pgconn.PgError
	certificate Certificate
	hangUp      bool
}

// TokenDelay makes every token request take at least d.
func (f *Faults) TokenDelay(d time.Duration) { f.update(func(s *faultSettings) { s.tokenDelay = d }) }

// TokenLife sets the lifetime of new tokens. 0 means an hour.
func (f *Faults) TokenLife(d time.Duration) { f.update(func(s *faultSettings) { s.tokenLife = d }) }

// MaxTokenAge makes the gateway refuse tokens older than d as expired. 0 means the
// default: no limit, but ten minutes on single server.
func (f *Faults) MaxTokenAge(d time.Duration) { f.update(func(s *faultSettings) { s.maxTokenAge = d }) }

// NotBefore makes the gateway refuse tokens whose nbf or iat claim is more than five
// minutes ahead of Azure's clock, such as those of an authority whose clock is wrong.
func (f *Faults) NotBefore(on bool) { f.update(func(s *faultSettings) { s.notBefore = on }) }

// FailTokens answers the next n token requests with an HTTP status. A negative n means
// all requests until FailTokens is called again.
func (f *Faults) FailTokens(n, status int) {
	f.update(func(s *faultSettings) {
		s.failures = n
		s.failureStatus = status
	})
}

// RetryAfter adds a Retry-After header to the responses of [Faults.FailTokens], in whole
// seconds, rounded up. 0 means no header.
func (f *Faults) RetryAfter(d time.Duration) { f.update(func(s *faultSettings) { s.retryAfter = d }) }

// RefuseTLS makes the gateway answer N to a request for TLS.
func (f *Faults) RefuseTLS(on bool) { f.update(func(s *faultSettings) { s.refuseTLS = on }) }

// RoundTrip gives new connections to the gateway a round-trip time of d: a TCP connect
// takes d, and each exchange takes d. The token endpoints keep theirs.
func (f *Faults) RoundTrip(d time.Duration) { f.update(func(s *faultSettings) { s.roundTrip = d }) }

// SignInDelay makes the gateway wait for d after it has received the password of an
// Entra role.
func (f *Faults) SignInDelay(d time.Duration) { f.update(func(s *faultSettings) { s.signInDelay = d }) }

// NewWording makes the gateway refuse sign-ins in the words that Azure has used since
// about 2025, instead of the older ones, which are still more common.
func (f *Faults) NewWording(on bool) { f.update(func(s *faultSettings) { s.newWording = on }) }

// Refuse makes the gateway answer every startup packet with e. The severity is FATAL if e
// has none. nil means no error.
func (f *Faults) Refuse(e *pgconn.PgError) {
	if e != nil {
		c := *e // the caller may change its own
		if c.Severity == "" {
			c.Severity = "FATAL"
		}
		if c.SeverityUnlocalized == "" {
			c.SeverityUnlocalized = c.Severity
		}
		e = &c
	}
	f.update(func(s *faultSettings) { s.refusal = e })
}

// HangUp makes the gateway close new connections before it sends anything.
func (f *Faults) HangUp(on bool) { f.update(func(s *faultSettings) { s.hangUp = on }) }

// Certificate makes the gateway present c on new connections. Entra always presents
// [ValidCertificate].
func (f *Faults) Certificate(c Certificate) { f.update(func(s *faultSettings) { s.certificate = c }) }

// DenyTokens makes Entra answer every token request with status 400 and an error of that
// AADSTS code and text. Code 0 means no error. It does not affect managed identities,
// whose tokens come from the host.
func (f *Faults) DenyTokens(code int, text string) {
	f.update(func(s *faultSettings) { s.entraError = entraError{code, text} })
}

// DenyIdentity makes the managed identity endpoints answer every request with an HTTP
// status and body, which should be JSON. Status 0 means no error.
func (f *Faults) DenyIdentity(status int, body string) {
	f.update(func(s *faultSettings) {
		s.identityStatus = status
		s.identityBody = body
	})
}

// Clock sets how far Azure's clock is ahead of this machine's. A negative offset means
// behind. Azure's clock determines the times in tokens, whether a token has expired, and
// the Date header of responses.
func (f *Faults) Clock(ahead time.Duration) {
	f.update(func(s *faultSettings) { s.clockOffset = ahead })
}

func (f *Faults) update(change func(s *faultSettings)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.settings)
}

// current returns a copy of the settings.
func (f *Faults) current() faultSettings {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settings
}

// nextFailure returns the status with which a token request is to fail, or 0, and counts
// the request.
func (f *Faults) nextFailure() (status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.settings
	if s.failures == 0 {
		return 0
	}
	if s.failures > 0 {
		s.failures--
	}
	return s.failureStatus
}

func (f *Faults) tokenLife() time.Duration {
	if d := f.current().tokenLife; d != 0 {
		return d
	}
	return time.Hour
}

// waitSignInDelay waits for as long as SignInDelay says.
func (f *Faults) waitSignInDelay(ctx context.Context) error {
	return sleepUntil(ctx, time.Now().Add(f.current().signInDelay))
}

// misbehave applies the faults of token requests and reports whether it has answered r.
func (a *Azure) misbehave(w http.ResponseWriter, r *http.Request) (answered bool) {
	settings := a.Faults.current()
	status := a.Faults.nextFailure()
	select {
	case <-time.After(settings.tokenDelay):
	case <-r.Context().Done():
		return true
	}
	if status == 0 {
		return false
	}
	if settings.retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(math.Ceil(settings.retryAfter.Seconds()))))
	}
	a.writeError(w, status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
	return true
}
