package token

import (
	"context"
	"fmt"
	"time"
)

// A refresh is one request of a cache, with what it is to replace.
type refresh struct {
	old      *Token // nil if there is none
	rejected bool   // a server has rejected old
	noRetry  bool
}

// returned reports whether t is the token that r is to replace.
func (r refresh) returned(t *Token) bool { return r.old != nil && t.Value == r.old.Value }

// replacedBy reports whether t is another token than the one that r is to replace.
func (r refresh) replacedBy(t *Token) bool { return r.old != nil && t.Value != r.old.Value }

// request fetches once, and once more past the credential's own cache if that returned
// a token that will not do, or would not do the last time.
func (c *Cache) request(ctx context.Context, r refresh) (*Token, Exchange, error) {
	response, err := c.fetcher.Fetch(ctx, Request{NoRetry: r.noRetry})
	if err != nil {
		return nil, response.Exchange, err
	}
	now := wallClock()
	t := New(response, now, c.maxAge)
	exchange := response.Exchange
	var errYounger error
	if !c.needsYounger(t, response, r, now) {
		if c.pastCache && r.tooEarly(t, now) {
			t, exchange = c.requestEarly(ctx, t, now, exchange)
		}
	} else {
		var younger Response
		younger, errYounger = c.fetcher.Fetch(ctx, Request{IssuedAfter: now, NoRetry: r.noRetry})
		now = wallClock()
		exchange = exchange.followedBy(younger.Exchange)
		if errYounger == nil && checkFormat("", younger.Value) == nil {
			response = younger
			t = New(response, now, c.maxAge)
		}
	}
	if errYounger != nil && r.rejected && r.returned(t) {
		return nil, exchange, errYounger // the rejected token stays, and the cache backs off
	}
	if errYounger != nil && t.tooOld(response, now) {
		const prefix = "requesting a younger token: "
		exchange.Detail = prefix + (&Error{errYounger, exchange}).Detail()
		exchange.Cause = prefix + (&Error{errYounger, exchange}).Error()
		return nil, exchange, errYounger
	}
	exchange.Cause = "" // the errors below are this package's own
	exchange.Detail = ""
	if err := c.accept(t, response, r, now); err != nil {
		return nil, exchange, err
	}
	if r.tooEarly(t, now) {
		t.refreshOn = earlier(r.old.refreshBy, t.refreshBy)
		t.refreshBy = t.refreshOn
	}
	next := now.Add(max(maxBackoff, exchange.RetryAfter))
	if r.returned(t) && t.refreshOn.Before(next) && next.Before(t.ExpiresOn) {
		t.refreshOn = next // there is no other yet: ask again, but not with each connect
	}
	return t, exchange, nil
}

// tooEarly reports whether t, which is the old token again, is not due yet: the
// credential's cache has a newer one only from refreshBy on.
func (r refresh) tooEarly(t *Token, now time.Time) bool {
	return r.returned(t) && !r.rejected && now.Before(r.old.refreshBy)
}

// requestEarly asks past the credential's cache for a token in the place of t, which need
// not be replaced yet. A failure costs nothing: t stays until it is due.
func (c *Cache) requestEarly(ctx context.Context, t *Token, now time.Time, x Exchange) (*Token, Exchange) {
	response, err := c.fetcher.Fetch(ctx, Request{IssuedAfter: now, NoRetry: true})
	x = x.followedBy(response.Exchange)
	if err != nil {
		return t, x
	}
	now = wallClock()
	younger := New(response, now, c.maxAge)
	if younger.check(c.scope) != nil || younger.ExpiresOn.Before(t.ExpiresOn) {
		return t, x
	}
	return younger, x
}

// needsYounger reports whether to ask past the credential's own cache: it has returned
// a token that was rejected, that no server would accept, or that is too old.
func (c *Cache) needsYounger(t *Token, response Response, r refresh, now time.Time) bool {
	unusable := c.unusable.Load()
	if unusable != nil && t.Value == unusable.Value {
		return true
	}
	if r.rejected && r.returned(t) {
		return true
	}
	return c.maxAge > 0 && (r.returned(t) || !t.Valid(now)) && now.Before(response.ExpiresOn)
}

// tooOld reports whether t has not expired and yet must not be presented, for its age.
func (t *Token) tooOld(response Response, now time.Time) bool {
	return !t.Valid(now) && now.Before(response.ExpiresOn)
}

// accept decides whether t, of a response, can be presented.
func (c *Cache) accept(t *Token, response Response, r refresh, now time.Time) error {
	if err := t.check(c.scope); err != nil {
		c.unusable.Store(t) // the credential's cache would return it until it ends
		return err
	}
	if r.rejected && !r.returned(t) {
		c.unusable.Store(r.old) // a cache may keep it beside its replacement, if that lives for minutes only
	}
	if t.tooOld(response, now) {
		return fmt.Errorf("the token is %s old, and the credential returned no younger one", now.Sub(t.IssuedAt).Round(time.Second))
	}
	if !t.Valid(now) {
		return fmt.Errorf("the token expired at %s", response.ExpiresOn.UTC().Format(time.RFC3339))
	}
	return nil
}
