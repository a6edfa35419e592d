package driver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// A throttle notes how long the authority asked to be left alone during one
// token request, its last refusal, and its clock. azidentity's errors do not always bring its
// answer along, or only after the library below has read it.
type throttle struct {
	after atomic.Int64
	skew  atomic.Int64 // how far this machine's clock is ahead of the authority's
	said  atomic.Pointer[[]byte]
}

// restore puts the words of a refusal back into an error that has lost them.
func (t *throttle) restore(err error) {
	var failed *azidentity.AuthenticationFailedError
	if said := t.said.Load(); said != nil && errors.As(err, &failed) && failed.RawResponse != nil {
		if b, err := runtime.Payload(failed.RawResponse); err != nil || len(b) == 0 {
			failed.RawResponse.Body = io.NopCloser(bytes.NewReader(*said))
		}
	}
}

type throttleKey struct{}

func withThrottle(ctx context.Context) (context.Context, *throttle) {
	t := &throttle{}
	return context.WithValue(ctx, throttleKey{}, t), t
}

// heard returns what was noted for ctx, or an empty one.
func heard(ctx context.Context) *throttle {
	if t, ok := ctx.Value(throttleKey{}).(*throttle); ok {
		return t
	}
	return &throttle{}
}

// wait is how long to leave the authority alone after err: 0 where it did not say.
func (t *throttle) wait(err error) time.Duration {
	after := time.Duration(t.after.Load())
	var (
		failed   *azidentity.AuthenticationFailedError
		response *azcore.ResponseError
	)
	switch { // what a pipeline that is not ours heard, with WithCredential
	case after != 0:
	case errors.As(err, &failed):
		after = retryAfter(failed.RawResponse)
	case errors.As(err, &response):
		after = retryAfter(response.RawResponse)
	}
	return min(after, time.Hour) // more would be a mistake
}

// heed is a policy of azcore's pipeline, run for each try.
type heed struct{}

func (heed) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	t := heard(req.Raw().Context())
	if err == nil && resp.StatusCode >= 400 {
		if b, err := runtime.Payload(resp); err == nil {
			t.said.Store(&b)
		}
	}
	if err == nil {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			t.skew.Store(int64(time.Since(date)))
		}
	}
	after := retryAfter(resp)
	if after == 0 {
		return resp, err
	}
	t.after.Store(int64(after))
	if deadline, ok := req.Raw().Context().Deadline(); ok && time.Until(deadline) < after {
		// azcore would wait until the deadline, in vain, and lose the answer. It
		// returns at once from what is longer than it is willing to wait.
		resp.Header.Set("Retry-After-Ms", "86400000")
	}
	return resp, err
}

// retryAfter reads the header of a refusal, in the forms that azcore knows.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil || resp.StatusCode < 400 {
		return 0
	}
	for _, h := range []struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"X-Ms-Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		v := resp.Header.Get(h.name)
		if n, err := strconv.Atoi(v); err == nil && n > 0 && n <= 86400*1000 {
			return time.Duration(n) * h.unit
		}
		if t, err := http.ParseTime(v); err == nil {
			return max(0, time.Until(t))
		}
	}
	return 0
}
