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

// A Call is one token request, shared by its waiters. It is safe for concurrent use.
type Call struct {
	done   chan struct{} // closed when token and err are written
	cancel context.CancelFunc
	token  *Token
	err    error

	slow    bool        // the request is expected to take longer than MaxHold
	claimed atomic.Bool // by Overlap
}

// completed returns a call that needed no request.
func completed(t *Token, err error) *Call {
	c := &Call{done: make(chan struct{}), token: t, err: err}
	close(c.done)
	return c
}

// Token waits until the request ends, or ctx does. The request goes on for others. Errors
// are of type [*Error].
func (c *Call) Token(ctx context.Context) (*Token, error) {
	select {
	case <-c.done: // first: a caller whose time is up still gets what is there
		return c.token, c.err
	default:
	}
	select {
	case <-c.done:
		return c.token, c.err
	case <-ctx.Done():
		return nil, &Error{Err: fmt.Errorf("waiting for the token: %w", ctx.Err())}
	}
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
	go func() {
		select {
		case <-c.done:
			if c.err != nil {
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
