package token

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// request fetches once, and once more past the credential's own cache if that returned
// a token that will not do, or would not do the last time.
func (c *Cache) request(ctx context.Context, old *Token, rejected string, noRetry bool) (*Token, Exchange, error) {
	response, err := c.fetcher.Fetch(ctx, Request{NoRetry: noRetry})
	if err != nil {
		return nil, response.Exchange, err
	}
	now := wallClock()
	t := New(response, now, c.maxAge)
	cached := old != nil && t.Value == old.Value
	exchange := response.Exchange
	var errYounger error
	if c.needsYounger(t, response, cached, rejected, now) {
		var younger Response
		younger, errYounger = c.fetcher.Fetch(ctx, Request{IssuedAfter: now, NoRetry: noRetry})
		now = wallClock()
		exchange = exchange.followedBy(younger.Exchange)
		if errYounger == nil && checkFormat(younger.Value) == nil {
			response = younger
			t = New(response, now, c.maxAge)
		}
	}
	causeYounger := exchange.Cause
	exchange.Cause = "" // of the errors below, which are our own
	if err := t.check(c.scope); err != nil {
		c.unusable.Store(t) // the credential's cache would return it until it ends
		return nil, exchange, err
	}
	if rejected != "" && t.Value != rejected {
		c.unusable.Store(old) // a cache may keep it beside its replacement, if that lives for minutes only
	}
	if t.Valid(now) {
		next := now.Add(maxBackoff)
		if cached && t.Value == old.Value && t.refreshOn.Before(next) && next.Before(t.ExpiresOn) {
			t.refreshOn = next // there is no other yet: ask again, but not with each connect
		}
		return t, exchange, nil
	}
	if !now.Before(response.ExpiresOn) {
		return nil, exchange, fmt.Errorf("the token expired at %s", response.ExpiresOn.UTC().Format(time.RFC3339))
	}
	if errYounger != nil {
		exchange.Cause = "requesting a younger token: " + cmp.Or(causeYounger, errYounger.Error())
		return nil, exchange, errYounger
	}
	return nil, exchange, fmt.Errorf("the token is %s old, and the credential returned no younger one", now.Sub(t.IssuedAt).Round(time.Second))
}

// needsYounger reports whether to ask past the credential's own cache: it has returned
// a token that was rejected, that no server would accept, or that is too old.
func (c *Cache) needsYounger(t *Token, r Response, cached bool, rejected string, now time.Time) bool {
	unusable := c.unusable.Load()
	if t.Value == rejected || (unusable != nil && t.Value == unusable.Value) {
		return true
	}
	return c.maxAge > 0 && (cached || !t.Valid(now)) && now.Before(r.ExpiresOn)
}
