package credential

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// capturePolicy is a policy of azcore's pipeline that runs for each try. It records the
// exchange, and redacts what a refusal repeats of the request.
type capturePolicy struct{}

// Do implements policy.Policy.
func (capturePolicy) Do(req *policy.Request) (*http.Response, error) {
	x := exchangeFrom(req.Raw().Context())
	if !x.chained {
		url := req.Raw().URL
		endpoint := url.Scheme + "://" + url.Host
		x.update(func() { x.endpoint = endpoint })
	}
	secrets, err := requestSecrets(req.Raw())
	if err != nil {
		return nil, err
	}
	x.addSecrets(secrets)
	x.update(func() { x.pending++ })
	resp, body, err := do(req)
	x.update(func() {
		x.pending--
		x.answered = x.answered || err == nil
	})
	x.recordWait(req.Raw().Context(), resp)
	if err != nil {
		x.recordFailure(req.Raw().Context(), err)
		return resp, err
	}
	if resp.StatusCode >= 400 {
		x.recordRefusal(resp, body)
	} else {
		x.addSecrets(responseSecrets(body)) // the library below may quote it, if it cannot parse it
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		x.update(func() { x.skew = time.Since(date) })
	}
	return resp, nil
}

// do sends the request and reads the body of the response, which can be read again. A
// response whose body breaks off is returned with the error: azcore obeys its Retry-After.
func do(req *policy.Request) (*http.Response, []byte, error) {
	runtime.SkipBodyDownload(req) // readBody does it
	resp, err := req.Next()
	if err != nil {
		return resp, nil, err
	}
	body, err := readBody(req.Raw(), resp)
	return resp, body, err
}

func (x *exchange) recordFailure(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the error says only that time is up
	}
	failure := redact.FirstLine(err.Error())
	x.update(func() { x.failure = failure })
}

// recordRefusal redacts the refusal, so that azidentity's error, which quotes it, can be
// kept.
func (x *exchange) recordRefusal(resp *http.Response, body []byte) {
	secrets := x.secrets()
	body = []byte(redact.Text(string(body), secrets...))
	resp.Status = redact.Text(resp.Status, secrets...)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	runtime.Payload(resp) // makes it a body that can be read more than once
	x.update(func() { x.refused = body })
	failure := strings.TrimSpace(fmt.Sprintf("%s (HTTP %d)", description(resp), resp.StatusCode))
	x.update(func() { x.failure = failure })
}

// recordWait records a Retry-After. azcore would sleep through the deadline and lose the
// response, so a wait that is longer than the time left is replaced by one that azcore does
// not accept: then it returns the response.
func (x *exchange) recordWait(ctx context.Context, resp *http.Response) {
	wait := retryAfter(resp)
	if wait == 0 {
		return
	}
	x.update(func() { x.wait = wait })
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		resp.Header.Set("Retry-After-Ms", beyondMaxRetryDelay)
	}
}

// beyondMaxRetryDelay is a day, in milliseconds. azcore waits for no more than a minute.
const beyondMaxRetryDelay = "86400000"
