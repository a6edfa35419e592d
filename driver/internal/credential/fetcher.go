package credential

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A fetcher requests tokens for a scope by a credential. It implements token.Fetcher.
type fetcher struct {
	credential azcore.TokenCredential
	scope      string
	chained    bool     // several endpoints may be asked, so none is named
	key        cacheKey // under which connectors share it
	closeIdle  func()   // closes idle connections to the token endpoint; nil if they are the program's

	latest atomic.Pointer[string] // the value of the latest token, which a later refusal may repeat
}

// Fetch implements token.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r token.Request) (token.Response, error) {
	if r.NoRetry {
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	}
	options := policy.TokenRequestOptions{Scopes: []string{f.scope}}
	if !r.IssuedAfter.IsZero() {
		options.Claims = notBefore(r.IssuedAfter)
	}
	ctx, x := withExchange(ctx)
	x.chained = f.chained
	if latest := f.latest.Load(); latest != nil {
		x.addSecrets([]string{*latest})
	}
	type result struct {
		token azcore.AccessToken
		err   error
	}
	done := make(chan result, 1)
	go func() {
		at, err := f.credential.GetToken(ctx, options)
		done <- result{at, err}
	}()
	select {
	case got := <-done:
		if got.err != nil {
			return x.failed(ctx, got.err)
		}
		f.latest.Store(&got.token.Token)
		return token.Response{
			Value:     got.token.Token,
			ExpiresOn: got.token.ExpiresOn,
			RefreshOn: got.token.RefreshOn,
			Exchange:  x.known(),
		}, nil
	case <-ctx.Done():
		// Several of azidentity's credentials wait for a mutex and do not notice: the
		// goroutine is left behind.
		return x.failed(ctx, ctx.Err())
	}
}

// CloseIdle implements token.Fetcher.
func (f *fetcher) CloseIdle() {
	if f.closeIdle != nil {
		f.closeIdle()
	}
}

// notBefore is a claim that the token be issued no earlier than t. It asks past
// azidentity's cache. Its form is that of continuous access evaluation.
func notBefore(t time.Time) string {
	return fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, t.Unix())
}

// maxDetailBytes is how much of an error's text a hint is found by.
const maxDetailBytes = 8 << 10

// failed returns what is known of a request that failed, and the error without secrets.
func (x *exchange) failed(ctx context.Context, err error) (token.Response, error) {
	x.restoreBody(err)
	err = x.timedOut(ctx, err)
	text := err.Error()
	if len(text) > 2*maxResponseBytes { // not a response, but the output of a developer tool
		text = text[:maxResponseBytes]
		err = errors.New(text)
	}
	secrets := x.secrets()
	known := x.known()
	known.RetryAfter = x.retryAfter(err)
	known.Cause = redact.Line(redact.Text(cause(err), secrets...))
	redacted := redact.Text(text, secrets...)
	known.Detail = redacted[:min(len(redacted), maxDetailBytes)]
	if redacted != text {
		err = errors.New(redacted)
	}
	return token.Response{Exchange: known}, err
}

// A timeoutError is a request that ran out of time, with what is known of it.
type timeoutError struct {
	text string
	err  error // the context's
}

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Unwrap() error { return e.err }

// timedOut says of a request that ran out of time how far it came.
func (x *exchange) timedOut(ctx context.Context, err error) error {
	x.mu.Lock()
	endpoint := x.endpoint
	failure := x.failure
	x.mu.Unlock()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || endpoint == "" {
		return err
	}
	if failure != "" {
		return &timeoutError{failure + ", and no better response in time", context.DeadlineExceeded}
	}
	return &timeoutError{"no response from " + endpoint + ": " + context.DeadlineExceeded.Error(), context.DeadlineExceeded}
}
