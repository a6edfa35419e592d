package token

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache requests the tokens of one identity and keeps the latest. At most one request
// is under way at a time. It has no goroutine while idle. It is safe for
// concurrent use.
type Cache struct {
	fetcher   Fetcher
	scope     string
	maxAge    time.Duration
	timeout   time.Duration
	pastCache bool

	interactive bool
	slow        atomic.Bool // the next request is expected to take longer than MaxHold

	current  atomic.Pointer[Token]
	unusable atomic.Pointer[Token] // the latest token that no server would accept, or that one rejected
	skew     atomic.Int64          // of this machine's clock, by the latest response
	count    struct{ requests, failures, waits, refreshes atomic.Int64 }
	renewals Renewals

	mu          sync.Mutex // guards what follows; never held across a request
	users       int        // who may want a token later: see Retain
	call        *Call      // under way, or nil
	backoff     time.Duration
	failed      *Call         // the latest failure, until retryAt
	retryAt     time.Time     // when to request again after a failure
	retryIn     time.Duration // how long that was away when it failed
	refreshedAt time.Time     // when the latest replacement of a rejected token was requested
}

// Config says what a [Cache] requests.
type Config struct {
	Fetcher Fetcher
	Scope   string        // what the tokens must be for
	MaxAge  time.Duration // of a token that is presented; 0: until it expires
	Timeout time.Duration // of one request, its retries included

	// PastCache lets a refresh that comes before the credential's own cache has a newer
	// token ask past that cache. It must be false if that could ask a person.
	PastCache   bool
	Interactive bool // a person may have to act before there is a token
}

// NewCache returns a cache with one user. It requests nothing yet.
func NewCache(c Config) *Cache {
	cache := &Cache{fetcher: c.Fetcher, scope: c.Scope, maxAge: c.MaxAge, timeout: c.Timeout, pastCache: c.PastCache, interactive: c.Interactive, users: 1}
	cache.slow.Store(c.Interactive)
	return cache
}

const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// Token implements [Source]. It is one atomic load while the token needs no refresh. A
// token that is due is returned too, while its replacement is requested.
func (c *Cache) Token(o Observer) (*Token, *Call) {
	now := wallClock()
	t := c.current.Load()
	if !t.needsRefresh(now) {
		return t, nil
	}
	call := c.start(t, false, now, o)
	if t.Valid(now) {
		return t, nil
	}
	return nil, call
}

// Refresh implements [Source].
func (c *Cache) Refresh(rejected *Token, o Observer) *Call {
	now := wallClock()
	t := c.current.Load()
	if t != rejected && t.Valid(now) {
		return completed(t, nil) // it is replaced already
	}
	return c.start(rejected, true, now, o)
}

// Renewals implements [Source].
func (c *Cache) Renewals() *Renewals { return &c.renewals }

// start joins the call under way or begins one, for a caller that saw t, which a server
// may have rejected. After a failure start returns the failed call until the backoff is
// over, so that a pool that retries cannot flood the authority.
func (c *Cache) start(t *Token, rejected bool, now time.Time, o Observer) *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.current.Load()
	if current != t && current.Valid(now) {
		return completed(current, nil) // it has arrived since
	}
	// Many pools may be rejected at once, and each of them would ask by itself.
	since := now.Sub(c.refreshedAt)
	if rejected && since >= 0 && since < time.Second {
		return completed(t, nil)
	}
	if c.call != nil {
		if !t.Valid(now) {
			c.count.waits.Add(1)
		}
		return c.call
	}
	// A clock that is set back must not stretch the wait.
	if c.failed != nil && now.Before(c.retryAt) && c.retryAt.Sub(now) <= c.retryIn {
		return c.failed
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	c.call = &Call{done: make(chan struct{}), cache: c, cancel: cancel, observer: o, slow: c.slow.Load()}
	if f, ok := c.fetcher.(Asker); ok {
		c.call.asking = f.Asking
	}
	c.count.requests.Add(1)
	go c.run(ctx, c.call, refresh{old: t, rejected: rejected, noRetry: c.backoff > 0}, o)
	return c.call
}

// run makes one request on a separate context: a caller that gives up must not fail the
// others.
func (c *Cache) run(ctx context.Context, call *Call, r refresh, o Observer) {
	defer call.cancel()
	began := time.Now()
	t, exchange, err := c.request(ctx, r)
	if exchange.Skew != 0 { // 0 says only that there was no response
		c.skew.Store(int64(exchange.Skew))
	}
	if err != nil {
		err = &Error{Err: err, Exchange: exchange}
	}
	call.token = t
	call.err = err
	canceled := errors.Is(ctx.Err(), context.Canceled)
	if !canceled {
		c.slow.Store(c.interactive || time.Since(began) > MaxHold)
	}

	c.mu.Lock()
	if c.call == call { // else it was released, and another may be under way
		c.call = nil
	}
	var wait time.Duration
	switch {
	case err == nil:
		c.succeeded(t, r, began.Round(0))
	case !canceled:
		wait = c.failedWith(call, exchange.RetryAfter)
	}
	if !call.abandoned {
		call.observer = nil // the call may outlive the connector
	}
	c.mu.Unlock()
	close(call.done) // after the counts, which a waiter may read

	switch {
	case err == nil:
		o.TokenFetched(t, r.replacedBy(t), time.Since(began))
	case !canceled:
		o.TokenFailed(err, time.Since(began), wait)
	}
}

// succeeded keeps the token of a request that began at that time. c.mu is held.
func (c *Cache) succeeded(t *Token, r refresh, began time.Time) {
	c.current.Store(t)
	c.failed = nil
	c.backoff = 0
	if r.replacedBy(t) {
		c.count.refreshes.Add(1)
	}
	if r.rejected {
		c.refreshedAt = began
	}
}

// failedWith remembers a failed call and returns for how long. c.mu is held.
func (c *Cache) failedWith(call *Call, retryAfter time.Duration) time.Duration {
	c.count.failures.Add(1)
	c.backoff = min(max(2*c.backoff, minBackoff), maxBackoff)
	jittered := c.backoff/2 + rand.N(c.backoff/2) // many processes must not retry as one
	c.retryIn = max(jittered, retryAfter)
	c.retryAt = wallClock().Add(c.retryIn)
	c.failed = call
	return c.retryIn
}

// Retain adds a user: someone who may want a token later, such as an open connector. Who
// waits for a [Call] need not be one.
func (c *Cache) Retain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
}

// Release removes a user. When the last one goes, the request under way is canceled unless
// somebody waits for it, and the fetcher closes its idle connections. The cache can still be
// used.
func (c *Cache) Release() {
	c.mu.Lock()
	c.users--
	last := c.users <= 0
	c.cancelUnwanted()
	c.mu.Unlock()
	if last {
		c.fetcher.CloseIdle()
	}
}

// cancelUnwanted cancels the request under way if nobody may want its token: there is no
// user, and nobody waits for it. c.mu is held.
func (c *Cache) cancelUnwanted() {
	if c.call == nil || c.users > 0 || c.call.waiters > 0 {
		return
	}
	c.call.abandoned = true
	c.call.cancel()
	c.call = nil // nobody may join it any more
}

// Skew returns how far this machine's clock is ahead of the authority's, by the latest
// response.
func (c *Cache) Skew() time.Duration { return time.Duration(c.skew.Load()) }
