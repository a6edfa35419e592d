package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
	x.recordEndpoint(req.Raw().URL)
	secrets, err := requestSecrets(req.Raw())
	if err != nil {
		return nil, err
	}
	x.addSecrets(secrets)
	x.update(func() { x.pending++ })
	resp, body, err := do(req)
	if err == nil {
		err = x.checkForm(req.Raw(), resp, body)
	}
	x.update(func() {
		x.pending--
		x.answered = x.answered || err == nil
	})
	foreign := errors.As(err, new(foreignError))
	if !foreign || !x.chained {
		x.recordWait(req.Raw().Context(), resp)
	}
	if foreign {
		resp = nil // or azcore would wait in this request, for what may be a proxy
	}
	if err != nil {
		x.recordFailure(req.Raw().Context(), err)
		return resp, err
	}
	if resp.Request == nil {
		resp.Request = req.Raw()
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
		return resp, nil, aboutEndpoint(req.Raw(), err)
	}
	body, err := readBody(req.Raw(), resp)
	return resp, body, err
}

// aboutEndpoint says of a request that failed that it was one to this host, and not to an
// authority.
func aboutEndpoint(r *http.Request, err error) error {
	var settled nonRetriable
	if r.Context().Err() != nil || errors.As(err, &settled) || !isIdentityEndpoint(r.URL) {
		return err
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, whose query is of no interest
	}
	return fmt.Errorf("the managed identity's endpoint %s://%s: %w", r.URL.Scheme, r.URL.Host, err)
}

// A foreignError is the response of a managed identity's endpoint that is not a metadata
// service's. The text of the response is not quoted.
type foreignError struct {
	endpoint string
	status   int
}

func (e foreignError) Error() string {
	return fmt.Sprintf("the response of %s (HTTP %d) is not JSON of a metadata service", e.endpoint, e.status)
}

// maxForeign is how many responses of a server that is no metadata service are waited for
// in one token request. A metadata service that is being updated may respond with a page
// for a moment.
const maxForeign = 2

// checkForm refuses a response that is not JSON, because the libraries below would quote
// it. What responds at a managed identity's endpoint must have the form of one.
func (x *exchange) checkForm(r *http.Request, resp *http.Response, body []byte) error {
	if !isIdentityEndpoint(r.URL) {
		if resp.StatusCode/100 == 2 && len(body) > 0 && !json.Valid(body) {
			return nonRetriable{fmt.Errorf("the response of %s is not JSON", r.URL.Host)}
		}
		return nil
	}
	if isOfMetadataService(resp, body) {
		return nil
	}
	foreign := 0
	x.update(func() {
		x.foreign++
		foreign = x.foreign
	})
	err := foreignError{r.URL.Scheme + "://" + r.URL.Host, resp.StatusCode}
	if foreign < maxForeign && (resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests) {
		return err
	}
	return nonRetriable{err}
}

// recordEndpoint records where a request goes. In a chain it would say too little.
func (x *exchange) recordEndpoint(u *url.URL) {
	if x.chained {
		return
	}
	endpoint := u.Scheme + "://" + u.Host
	ofHost := isIdentityEndpoint(u)
	x.update(func() {
		x.endpoint = endpoint
		x.ofHost = ofHost
	})
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
