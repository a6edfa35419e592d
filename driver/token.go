package driver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// tokens gives the token to present now. Implementations are safe for
// concurrent use, and ctx bounds the caller's wait only.
type tokens interface {
	Token(ctx context.Context) (*token, error)
}

// A token is immutable. Its times are wall clock: a laptop that slept must not
// present a dead token.
type token struct {
	value   string
	claims  claims
	issued  time.Time
	refresh time.Time // from here on a newer one is asked for, in the background
	expires time.Time
}

func newToken(at azcore.AccessToken, now time.Time) *token {
	t := &token{value: at.Token, claims: decode(at.Token), issued: now, refresh: at.RefreshOn.Round(0), expires: at.ExpiresOn.Round(0)}
	if iat := t.claims.issued(); !iat.IsZero() && iat.Before(now) {
		t.issued = iat
	}
	switch left := t.expires.Sub(now); {
	case !t.refresh.IsZero() && !t.refresh.After(now):
		// The credential's cache answered with one that is due already: ask
		// again, but not with every connect.
		t.refresh = now.Add(maxBackoff)
	case !t.refresh.IsZero() && t.refresh.Before(t.expires):
	case left < 10*time.Minute:
		t.refresh = now.Add(left / 2)
	default:
		t.refresh = t.expires.Add(-5 * time.Minute)
	}
	return t
}

// A source asks for the tokens of one identity and keeps the latest. It is
// shared by all connectors of that identity. No goroutine runs while nobody
// asks.
type source struct {
	ask     func(ctx context.Context, claims string) (azcore.AccessToken, error)
	maxAge  time.Duration // 0: none
	timeout time.Duration
	current atomic.Pointer[token]

	mu      sync.Mutex // guards what follows; never held across a request
	flight  *flight    // under way, or nil
	backoff time.Duration
	failed  *flight   // the last failure
	retry   time.Time // when to ask again after it
}

// A flight is one request. token and err are written before done is closed.
type flight struct {
	done  chan struct{}
	token *token
	err   error
}

// Token returns the token to present: at once when there is a live one, else
// after the request that all callers share.
func (s *source) Token(ctx context.Context) (*token, error) {
	now := time.Now().Round(0)
	t := s.current.Load()
	live := t != nil && s.live(t, now)
	if live && now.Before(t.refresh) {
		return t, nil
	}
	f := s.start(now)
	if live {
		return t, nil // the old one serves while the new one is on its way
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, &Error{Step: StepToken, Err: context.Cause(ctx), Hint: "the token was still on its way; allow more time, or see that the authority can be reached"}
	}
}

func (s *source) live(t *token, now time.Time) bool {
	return now.Before(t.expires) && (s.maxAge == 0 || now.Sub(t.issued) < s.maxAge)
}

// start joins the request under way or begins one. After a failure it returns
// that failure until the backoff is over, so that a pool that retries cannot
// hammer the authority.
func (s *source) start(now time.Time) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	// A clock set back must not stretch the wait.
	if s.failed != nil && now.Before(s.retry) && s.retry.Sub(now) <= maxBackoff {
		return s.failed
	}
	s.flight = &flight{done: make(chan struct{})}
	go s.fly(s.flight)
	return s.flight
}

const maxBackoff = 30 * time.Second

// fly makes one request on a context of its own: a caller that gives up must
// not fail the others. A credential that does not hear the context's end is left
// behind: several of azidentity's wait for a mutex, deaf to it.
func (s *source) fly(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	heard := make(chan *flight, 1)
	go func() {
		t, err := s.request(ctx)
		heard <- &flight{token: t, err: err}
	}()
	select {
	case r := <-heard:
		f.token, f.err = r.token, r.err
	case <-ctx.Done():
		f.err = explainToken(ctx.Err())
	}

	s.mu.Lock()
	s.flight = nil
	if f.err == nil {
		s.current.Store(f.token)
		s.failed, s.backoff = nil, 0
	} else {
		s.backoff = min(max(2*s.backoff, time.Second), maxBackoff)
		s.failed = f
		// Half to all of it, so that many processes do not retry as one.
		s.retry = time.Now().Round(0).Add(s.backoff/2 + rand.N(s.backoff/2))
	}
	s.mu.Unlock()
	close(f.done)
}

func (s *source) request(ctx context.Context) (*token, error) {
	at, err := s.ask(ctx, "")
	now := time.Now().Round(0)
	if err != nil {
		return nil, explainToken(err)
	}
	t := newToken(at, now)
	if s.live(t, now) {
		return t, nil
	}
	if s.maxAge > 0 && now.Before(t.expires) {
		// azidentity's own cache answered. A claim that the token be no older
		// than now asks past it (the form is that of continuous access evaluation).
		at, err = s.ask(ctx, fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, now.Unix()))
		if now = time.Now().Round(0); err == nil {
			if t = newToken(at, now); s.live(t, now) {
				return t, nil
			}
		}
		return nil, &Error{Step: StepToken, Err: fmt.Errorf("the token is %s old and no younger one is to be had", now.Sub(t.issued).Round(time.Second)),
			Hint: "raise aad_token_max_age"}
	}
	return nil, &Error{Step: StepToken, Err: fmt.Errorf("the token expired at %s", t.expires.UTC().Format(time.RFC3339)),
		Hint: "get a new one, and check this machine's clock"}
}

// asker adapts a credential.
func asker(cred azcore.TokenCredential, scope string) func(context.Context, string) (azcore.AccessToken, error) {
	return func(ctx context.Context, claims string) (azcore.AccessToken, error) {
		return cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, Claims: claims})
	}
}
