package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A source asks for the tokens of one identity and keeps the latest. It is
// shared by all connectors of that identity. No goroutine runs while nobody
// asks.
type source struct {
	ask     func(ctx context.Context, claims string) (azcore.AccessToken, error)
	about   situation     // what is known when a request fails
	maxAge  time.Duration // 0: none
	timeout time.Duration
	mixed   bool // ask is a chain of credentials
	current atomic.Pointer[token]
	count   sourceCount
	skew    atomic.Int64          // of this machine's clock, as the last answer showed it
	unfit   atomic.Pointer[token] // the last answer that no server would take, or did not

	mu      sync.Mutex // guards what follows; never held across a request
	users   int        // connectors that are not closed
	flight  *flight    // under way, or nil
	backoff time.Duration
	failed  *flight       // the last failure, until retry
	retry   time.Time     // when to ask again after it
	wait    time.Duration // how long that was away
	asked   time.Time     // when the token was asked for that came in place of a refused one
}

// get is one atomic load for a fresh token. A live one that is due is returned
// too, while its successor is on the way.
func (s *source) get(log *slog.Logger) (*token, *flight) {
	now := time.Now().Round(0)
	t := s.current.Load()
	if t.fresh(now) {
		return t, nil
	}
	f := s.start(t, "", now, log)
	if t.live(now) {
		return t, nil
	}
	return nil, f
}

func (s *source) newer(than *token, log *slog.Logger) (*token, *flight) {
	if t := s.current.Load(); t != than && t.live(time.Now()) {
		return t, nil // replaced already
	}
	return nil, s.start(than, than.value, time.Now().Round(0), log)
}

// start joins the request under way or begins one, for a caller that saw t. After
// a failure it returns that failure until the backoff is over, so that a pool
// that retries cannot hammer the authority. refused is a token that will not do.
func (s *source) start(t *token, refused string, now time.Time, log *slog.Logger) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.current.Load(); c != t && c.live(now) {
		return landed(c, nil) // it came since
	}
	// Many pools may be refused at once, each of which would ask for itself.
	since := now.Sub(s.asked)
	if refused != "" && since >= 0 && since < time.Second {
		return landed(t, nil)
	}
	if s.flight != nil {
		if !t.live(now) {
			s.count.waits.Add(1)
		}
		return s.flight
	}
	// A clock set back must not stretch the wait.
	if s.failed != nil && now.Before(s.retry) && s.retry.Sub(now) <= s.wait {
		return s.failed
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	if s.backoff > 0 {
		// This waits between requests already: azcore need not try each four times.
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	}
	s.flight = &flight{done: make(chan struct{}), cancel: cancel}
	s.count.requests.Add(1)
	go s.fly(ctx, s.flight, t, refused, log)
	return s.flight
}

const maxBackoff = 30 * time.Second

// fly makes one request on a context of its own: a caller that gives up must
// not fail the others. A credential that does not hear the context's end is left
// behind: several of azidentity's wait for a mutex, deaf to it.
func (s *source) fly(ctx context.Context, f *flight, old *token, refused string, log *slog.Logger) {
	defer f.cancel()
	began := time.Now()
	ctx, asked := withThrottle(ctx)
	asked.mixed = s.mixed
	answer := make(chan *flight, 1)
	go func() {
		t, err := s.request(ctx, old, refused)
		answer <- &flight{token: t, err: err}
	}()
	select {
	case r := <-answer:
		f.token, f.err = r.token, r.err
	case <-ctx.Done():
		f.err = asked.from(s.about).explainToken(asked.late(ctx, ctx.Err()))
	}
	s.skew.Store(asked.skew.Load())

	closed := errors.Is(ctx.Err(), context.Canceled)
	var wait time.Duration
	s.mu.Lock()
	if s.flight == f { // or it was released, and another may be under way
		s.flight = nil
	}
	switch {
	case f.err == nil:
		s.current.Store(f.token)
		s.failed, s.backoff = nil, 0
		if old != nil {
			s.count.renewals.Add(1)
		}
		if refused != "" {
			s.asked = began.Round(0)
		}
	case !closed:
		s.count.failures.Add(1)
		s.backoff = min(max(2*s.backoff, time.Second), maxBackoff)
		// Half to all of it, so that many processes do not retry as one.
		wait = max(s.backoff/2+rand.N(s.backoff/2), asked.wait(f.err))
		s.failed, s.wait, s.retry = f, wait, time.Now().Round(0).Add(wait)
	}
	s.mu.Unlock()
	close(f.done) // after the counts: who waited may read Stats

	took := slog.Duration("took", time.Since(began))
	switch {
	case f.err == nil && old != nil:
		log.Info("token refreshed", took, slog.Time("expires", f.token.expires))
	case f.err == nil:
		log.Info("token fetched", took, slog.Time("expires", f.token.expires))
	case !closed:
		log.Warn("token request failed", took, slog.Any("err", f.err), slog.Duration("retry_in", wait))
	}
}

// request asks once, and once more past the credential's own cache if that
// answered with what will not do, or would not the last time.
func (s *source) request(ctx context.Context, old *token, refused string) (*token, error) {
	at, err := s.ask(ctx, "")
	heard(ctx).restore(err)
	about := heard(ctx).from(s.about)
	about.skew = time.Duration(heard(ctx).skew.Load())
	if err != nil {
		return nil, about.explainToken(heard(ctx).late(ctx, err))
	}
	now := time.Now().Round(0)
	t := newToken(at, now, s.maxAge)
	cached := old != nil && t.value == old.value
	unfit := s.unfit.Load()
	if t.value == refused || unfit != nil && t.value == unfit.value || s.maxAge > 0 && (cached || !t.live(now)) && now.Before(at.ExpiresOn) {
		var younger azcore.AccessToken
		younger, err = s.ask(ctx, notBefore(now))
		heard(ctx).restore(err)
		if now = time.Now().Round(0); err == nil && shape(younger.Token) == nil {
			at, t = younger, newToken(younger, now, s.maxAge)
		}
	}
	if err := t.fits(s.about.scope); err != nil {
		s.unfit.Store(t) // the credential's cache would answer with it to its end
		return nil, err
	}
	if refused != "" && t.value != refused {
		s.unfit.Store(old) // a cache may keep it beside its successor, if that lives for minutes only
	}
	switch {
	case t.live(now):
		if next := now.Add(maxBackoff); cached && t.value == old.value && t.refresh.Before(next) && next.Before(t.expires) {
			t.refresh = next // there is no other yet: ask again, but not with every connect
		}
		return t, nil
	case !now.Before(at.ExpiresOn):
		return nil, about.explainToken(fmt.Errorf("the token expired at %s", at.ExpiresOn.UTC().Format(time.RFC3339)))
	case err != nil:
		e := *about.explainToken(err)
		e.Hint = cmp.Or(e.Hint, "the token at hand is too old, and this credential cannot ask for a younger one; raise aad_token_max_age")
		return nil, &e
	}
	return nil, &Error{Step: StepToken, Err: fmt.Errorf("the token is %s old, and no younger one is to be had", now.Sub(t.issued).Round(time.Second)),
		Hint: "raise aad_token_max_age"}
}

// notBefore is a claim that the token be no older than now. It asks past
// azidentity's cache; the form is that of continuous access evaluation.
func notBefore(now time.Time) string {
	return fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, now.Unix())
}

// release ends the request under way when the last connector that could want it
// is closed.
func (s *source) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users <= 0 && s.flight != nil {
		s.flight.cancel()
		s.flight = nil // nobody may join it any more
	}
}

// asker adapts a credential.
func asker(cred azcore.TokenCredential, scope string) func(context.Context, string) (azcore.AccessToken, error) {
	return func(ctx context.Context, claims string) (azcore.AccessToken, error) {
		return cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, Claims: claims})
	}
}
