package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// A throttle notes of one token request how long the authority asked to be left
// alone, its last refusal, and its clock. azidentity's errors do not always bring its
// answer along, or only after the library below has read it; and one that ran out of
// time between two tries says nothing of why the first had failed.
type throttle struct {
	after atomic.Int64
	skew  atomic.Int64 // how far this machine's clock is ahead of the authority's
	said  atomic.Pointer[[]byte]
	asked atomic.Pointer[string] // who was, a URL without its path
	last  atomic.Pointer[string] // how the last try failed
	mixed bool                   // several may be asked: asked and last would say too little

	secrets atomic.Pointer[[]string] // that went to and fro
}

// A timeout is a request that ran out of time, with what had come of it.
type timeout struct {
	error        // of the context
	words string // what is known
}

func (t *timeout) Error() string { return t.words }
func (t *timeout) Unwrap() error { return t.error }

// late says of a request that ended with its time what had come of it.
func (t *throttle) late(ctx context.Context, err error) error {
	asked, last := t.asked.Load(), t.last.Load()
	switch {
	case !errors.Is(ctx.Err(), context.DeadlineExceeded) || asked == nil:
		return err
	case last != nil:
		return &timeout{context.DeadlineExceeded, *last + ", and no better answer in time"}
	}
	return &timeout{context.DeadlineExceeded, "no answer from " + *asked + ": " + context.DeadlineExceeded.Error()}
}

// from is s with what is known of who was asked and what was shown: a managed
// identity's endpoint is not the cloud's authority.
func (t *throttle) from(s situation) situation {
	if secrets := t.secrets.Load(); secrets != nil {
		s.secrets = *secrets
	}
	if asked := t.asked.Load(); asked != nil && !sameHost(*asked, s.authority) {
		s.authority = *asked
	}
	return s
}

func (t *throttle) keep(secrets []string) {
	if before := t.secrets.Load(); before != nil {
		secrets = append(slices.Clone(*before), secrets...)
	}
	t.secrets.Store(&secrets)
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
	t, url := heard(req.Raw().Context()), req.Raw().URL
	if asked := url.Scheme + "://" + url.Host; !t.mixed {
		t.asked.Store(&asked)
	}
	secrets, err := sent(req.Raw())
	if err != nil {
		return nil, err
	}
	t.keep(secrets)
	runtime.SkipBodyDownload(req) // of what is no refusal: download does it
	resp, err := req.Next()
	var b []byte
	if err == nil {
		b, err = download(req.Raw(), resp)
	}
	switch {
	case err == nil && resp.StatusCode >= 400:
		// So that azidentity's error need not be given up for what it quotes.
		b = mask(b, secrets)
		resp.Status = string(mask([]byte(resp.Status), secrets))
		resp.Body = io.NopCloser(bytes.NewReader(b))
		runtime.Payload(resp) // makes it a body that can be read again
		t.said.Store(&b)
		words := strings.TrimSpace(fmt.Sprintf("%s (HTTP %d)", description(resp), resp.StatusCode))
		t.last.Store(&words)
	case err == nil:
		t.keep(brought(b)) // the library below may quote it, if it does not understand
	case req.Raw().Context().Err() == nil:
		words := firstLine(err.Error())
		t.last.Store(&words)
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
