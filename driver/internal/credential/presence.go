package credential

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// How long a list of modes waits for a managed identity's endpoint that has not responded
// yet. A virtual machine's is probed first, as azidentity does it. A host that names an
// endpoint has one as a rule, and it may be starting: it gets the time for a token.
const (
	probeTimeout    = time.Second
	responseTimeout = 3 * time.Second
)

// A presence is a policy of a managed identity in a list of modes. It finds out whether a
// metadata service is there, with one try, because azidentity would try for longer than a
// person waits. Once a metadata service has responded, requests are sent as azidentity
// sends them.
type presence struct{ found atomic.Bool }

// Do implements policy.Policy.
func (p *presence) Do(req *policy.Request) (*http.Response, error) {
	if p.found.Load() {
		return req.Next()
	}
	isVM := req.Raw().URL.Hostname() == metadataAddress
	if isVM {
		probe := req.Clone(req.Raw().Context())
		probe.Raw().Header.Del("Metadata") // any answer will do, and a refusal comes fastest
		_, err := p.try(probe, probeTimeout)
		if err == nil {
			return req.Next()
		}
		if !errors.As(err, new(foreignError)) {
			return nil, recordAbsence(req, isVM, err)
		}
	}
	resp, err := p.try(req, responseTimeout)
	if err != nil {
		return nil, recordAbsence(req, isVM, err)
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone || resp.StatusCode >= 500 {
		return req.Next() // it is there, and may do better, so azcore tries again
	}
	return resp, nil
}

// try sends req once. The body of a response was read before its context ends.
func (p *presence) try(req *policy.Request, timeout time.Duration) (*http.Response, error) {
	ctx := policy.WithRetryOptions(req.Raw().Context(), policy.RetryOptions{MaxRetries: -1})
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := req.Clone(ctx).Next()
	if err != nil {
		return nil, err
	}
	p.found.Store(true)
	return resp, nil
}

// recordAbsence records why no metadata service is here, unless the caller has given up.
// It returns err.
func recordAbsence(req *policy.Request, isVM bool, err error) error {
	ctx := req.Raw().Context()
	if ctx.Err() != nil {
		return err
	}
	ours := errors.As(err, new(nonRetriable))
	reason := err.Error()
	switch {
	case isVM && ours:
		reason = noMetadataService + ": " + reason
	case isVM:
		reason = noMetadataService
	case errors.Is(err, context.DeadlineExceeded):
		u := req.Raw().URL
		reason = "the managed identity's endpoint " + u.Scheme + "://" + u.Host + " does not respond"
	}
	x := exchangeFrom(ctx)
	x.update(func() { x.absence = reason })
	return err
}

const noMetadataService = "no instance metadata service answers here"

// An optionalIdentity is a managed identity in a list of modes.
type optionalIdentity struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (c optionalIdentity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := c.TokenCredential.GetToken(ctx, o)
	if err == nil || ctx.Err() != nil {
		return at, err
	}
	x := exchangeFrom(ctx)
	absence := ""
	x.update(func() { absence = x.absence })
	if absence != "" {
		err = azidentity.NewCredentialUnavailableError("managed-identity: " + absence)
	}
	return at, err
}
