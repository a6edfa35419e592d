package credential

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
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

	latest atomic.Pointer[string]   // the value of the latest token, which a later refusal may repeat
	asking atomic.Pointer[exchange] // of the latest request
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
	f.asking.Store(x)
	x.chained = f.chained
	if latest := f.latest.Load(); latest != nil {
		x.addSecrets([]string{*latest})
	}
	done := make(chan result, 1)
	go getToken(ctx, f.credential, options, done)
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

// Asking implements token.Asker.
func (f *fetcher) Asking() token.Exchange {
	x := f.asking.Load()
	if x == nil {
		return token.Exchange{}
	}
	known := x.known()
	x.mu.Lock()
	m := x.current
	x.mu.Unlock()
	if m != nil {
		x.describe(&known, m.mode)
	}
	return known
}

type result struct {
	token azcore.AccessToken
	err   error
}

// getToken sends what a credential returns, which may be the program's. One that panics or
// ends its goroutine must not end the program, or leave the request without a result: the
// goroutine is this driver's.
func getToken(ctx context.Context, c azcore.TokenCredential, o policy.TokenRequestOptions, done chan<- result) {
	got := result{err: errors.New("the credential has ended its goroutine (runtime.Goexit)")}
	defer func() {
		if v := recover(); v != nil {
			// What it panicked with may hold a secret.
			got = result{err: fmt.Errorf("the credential panicked in %s with a value of type %T", panicking(), v)}
		}
		done <- got
	}()
	at, err := c.GetToken(ctx, o)
	got = result{at, err}
}

// panicking returns the name of the function that has panicked. A deferred function calls
// it.
func panicking() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return frame.Function
		}
		if !more {
			return "an unknown function"
		}
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
	about, reason, detail := x.explain(err)
	text := err.Error()
	if len(text) > 2*maxResponseBytes { // not a response, but the output of a developer tool
		text = text[:maxResponseBytes]
		err = errors.New(text)
	}
	secrets := x.secrets()
	known := x.known()
	known.RetryAfter = x.retryAfter(err)
	known.Cause = redact.Line(redact.Text(reason, secrets...))
	detail = redact.Text(detail, secrets...)
	known.Detail = detail[:min(len(detail), maxDetailBytes)]
	x.describe(&known, about)
	redacted := redact.Text(text, secrets...)
	if redacted != text {
		err = errors.New(redacted)
	}
	return token.Response{Exchange: known}, err
}
