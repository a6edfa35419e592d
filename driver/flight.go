package driver

import "context"

// A flight is one request. token and err are written before done is closed.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
	token  *token
	err    error
}

// landed is a flight that needed no request.
func landed(t *token, err error) *flight {
	f := &flight{done: make(chan struct{}), token: t, err: err}
	close(f.done)
	return f
}

// Token waits for the request, no longer than ctx: the request goes on for others.
func (f *flight) Token(ctx context.Context) (*token, error) {
	select {
	case <-f.done: // first: what is known is said even to a caller out of time
		return f.token, f.err
	default:
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, &Error{Step: StepToken, Err: context.Cause(ctx), Hint: "the token was still on its way; allow more time (connect_timeout counts too), or see that the authority can be reached"}
	}
}

// failure is the error of a request that has failed, and nil before.
func (f *flight) failure() error {
	select {
	case <-f.done:
		return f.err
	default:
		return nil
	}
}

// brought tells whether the request has ended and brought that same token.
func (f *flight) brought(t *token) bool {
	select {
	case <-f.done:
		return f.token != nil && f.token.value == t.value
	default:
		return false
	}
}

// bind returns a context that ends when the request fails.
func (f *flight) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-f.done:
			if f.err != nil {
				cancel(f.err)
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// during does what is of no use if the request fails: then it ends, with the
// request's error.
func (f *flight) during(ctx context.Context, do func(context.Context) error) error {
	bound, stop := f.bind(ctx)
	defer stop()
	err := do(bound)
	if err != nil && bound.Err() != nil && ctx.Err() == nil {
		return context.Cause(bound)
	}
	return err
}
