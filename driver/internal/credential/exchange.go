package credential

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// An exchange records what capturePolicy sees of one token request. azidentity's errors
// do not always bring the response along, or only after the library below has read it;
// and one that ran out of time between two tries does not say why the first one failed.
//
// It travels in the context, the only way through azidentity, and leaves this package as
// a token.Exchange. It is safe for concurrent use: a credential that does not notice the
// end of its context may still be at work.
type exchange struct {
	chained bool // several may be asked: endpoint and failure would say too little

	mu       sync.Mutex      // guards what follows
	wait     time.Duration   // how long the authority wants to be left alone
	skew     time.Duration   // how far this machine's clock is ahead of the authority's
	refused  []byte          // body of the latest refusal
	endpoint string          // a URL without its path
	ofHost   bool            // the endpoint is a managed identity's
	foreign  int             // responses of a managed identity's endpoint that are not a metadata service's
	absence  string          // why a managed identity is taken to be absent
	failure  string          // why the latest try failed
	seen     []string        // secrets that were sent or received
	current  *modeCredential // that is asked now, or was last; nil for the program's credential
	failures []failure       // of the modes that were asked
	pending  int             // requests that have no response yet
	answered bool            // a request has had a response
	prompted bool            // a person was shown a device code
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// exchangeFrom returns the exchange of ctx, or one that nobody reads.
func exchangeFrom(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

func (x *exchange) known() token.Exchange {
	x.mu.Lock()
	defer x.mu.Unlock()
	return token.Exchange{Endpoint: x.endpoint, Skew: x.skew}
}

// update changes what is recorded.
func (x *exchange) update(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

func (x *exchange) secrets() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.seen)
}

func (x *exchange) addSecrets(secrets []string) {
	x.update(func() { x.seen = append(x.seen, secrets...) })
}

// restoreBody puts the body of a refusal back into an error that has lost it, as that of a
// device code has: MSAL reads it while it polls. TestEveryMode/device-code holds it.
func (x *exchange) restoreBody(err error) {
	var failed *azidentity.AuthenticationFailedError
	x.mu.Lock()
	refused := x.refused
	x.mu.Unlock()
	if refused == nil || !errors.As(err, &failed) || failed.RawResponse == nil {
		return
	}
	b, err := runtime.Payload(failed.RawResponse)
	if err != nil || len(b) == 0 {
		failed.RawResponse.Body = io.NopCloser(bytes.NewReader(refused))
	}
}

// retryAfter returns how long to leave the authority alone after err, an hour at most,
// or 0 if it did not say. A credential that the program provides has a pipeline of its
// own, so the error is asked too.
func (x *exchange) retryAfter(err error) time.Duration {
	const maxWait = time.Hour // more would be a mistake
	x.mu.Lock()
	wait := x.wait
	x.mu.Unlock()
	if wait != 0 {
		return min(wait, maxWait)
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) {
		return min(retryAfter(failed.RawResponse), maxWait)
	}
	var response *azcore.ResponseError
	if errors.As(err, &response) {
		return min(retryAfter(response.RawResponse), maxWait)
	}
	return 0
}

// retryAfter reads the header of a refusal, in the forms that azcore knows.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil || resp.StatusCode < 400 {
		return 0
	}
	const maxValue = 86400 * 1000
	headers := []struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"X-Ms-Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}}
	for _, h := range headers {
		v := resp.Header.Get(h.name)
		if n, err := strconv.Atoi(v); err == nil && n > 0 && n <= maxValue {
			return time.Duration(n) * h.unit
		}
		if t, err := http.ParseTime(v); err == nil {
			return max(0, time.Until(t))
		}
	}
	return 0
}
