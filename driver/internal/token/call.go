package token

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// MaxHold is how long a connect may hold a server's session while it waits for a token. A
// server that waits for a password counts the session among its connections, and closes
// it after authentication_timeout.
const MaxHold = time.Second

// A Call is one token request, shared by its waiters. If nobody waits for it and its cache
// has no user, it is canceled. It is safe for concurrent use.
type Call struct {
	done     chan struct{} // closed when token and err are written
	cache    *Cache        // nil if there was no request
	cancel   context.CancelFunc
	observer Observer
	token    *Token
	err      error
	asking   func() Exchange // what is known of the request under way; nil: nothing

	// The cache's mu guards these. Once done is closed, abandoned does not change.
	waiters   int
	abandoned bool // canceled because nobody wanted it

	slow    bool        // the request is expected to take longer than MaxHold
	claimed atomic.Bool // by Overlap
}

// completed returns a call that needed no request.
func completed(t *Token, err error) *Call {
	c := &Call{done: make(chan struct{}), token: t, err: err}
	close(c.done)
	return c
}

// join makes the caller one who waits for the request, until it calls leave.
func (c *Call) join() (leave func()) {
	if c.cache == nil {
		return func() {}
	}
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	c.waiters++
	return func() {
		c.cache.mu.Lock()
		defer c.cache.mu.Unlock()
		c.waiters--
		c.cache.cancelUnwanted()
	}
}

// Token waits until the request ends, or ctx does. The request goes on for others. If it
// was canceled before somebody waited for it, Token makes another. Errors are of type
// [*Error].
func (c *Call) Token(ctx context.Context) (*Token, error) {
	for {
		leave := c.join()
		t, err := c.wait(ctx)
		leave()
		if !c.Abandoned() || ctx.Err() != nil {
			return t, err
		}
		t, c = c.cache.Token(c.observer)
		if c == nil {
			return t, nil
		}
	}
}

// Abandoned reports whether the request was canceled because nobody wanted its token. Who
// wants it after all gets it by [Call.Token].
func (c *Call) Abandoned() bool {
	select {
	case <-c.done:
		return c.abandoned
	default:
		return false
	}
}

func (c *Call) wait(ctx context.Context) (*Token, error) {
	select {
	case <-c.done: // first: a caller whose time is up still gets what is there
		return c.token, c.err
	default:
	}
	select {
	case <-c.done:
		return c.token, c.err
	case <-ctx.Done():
		return nil, c.unfinished(ctx.Err())
	}
}

// unfinished returns the error of a caller that has stopped waiting, with what is known of
// the request.
func (c *Call) unfinished(cause error) *Error {
	e := &Error{Err: fmt.Errorf("waiting for the token: %w", cause)}
	if c.asking == nil {
		return e
	}
	e.Exchange = c.asking()
	if e.Exchange.Credential != "" {
		e.Exchange.Cause = fmt.Sprintf("waiting for the token: %s: %v", e.Exchange.Credential, cause)
	}
	return e
}

// Overlap reports whether the caller may dial while it waits for the token. One caller of
// a call may, unless the token is expected to take longer than [MaxHold]. The others wait
// for the token first, so that they take no session from anybody.
func (c *Call) Overlap() bool { return !c.slow && !c.claimed.Swap(true) }

// Err returns why the request failed, and nil while it is under way.
func (c *Call) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Returned reports whether the request has ended and returned the same token as t.
func (c *Call) Returned(t *Token) bool {
	select {
	case <-c.done:
		return c.token != nil && c.token.Value == t.Value
	default:
		return false
	}
}

// WithCancelOnFailure returns a context that ends when the request fails. The caller must
// call the function that comes with it.
func (c *Call) WithCancelOnFailure(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	leave := c.join()
	go func() {
		defer leave()
		select {
		case <-c.done:
			if c.err != nil && !c.abandoned {
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
