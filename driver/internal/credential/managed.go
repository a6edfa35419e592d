package credential

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

func newManagedIdentity(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
	if onServiceFabric() {
		o.Transport = o.rawTransport
	}
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o.ClientOptions}
	check := identityCheck{}
	switch {
	case cfg.ClientID != "":
		options.ID = azidentity.ClientID(cfg.ClientID)
		check.want = cfg.ClientID
		check.claim = token.Claims.Application
	case cfg.ObjectID != "":
		options.ID = azidentity.ObjectID(cfg.ObjectID)
		check.want = cfg.ObjectID
		check.claim = func(c token.Claims) string { return c.ObjectID }
	case cfg.ResourceID != "":
		options.ID = azidentity.ResourceID(cfg.ResourceID)
		check.want = cfg.ResourceID
		check.claim = func(c token.Claims) string { return c.ManagedIdentity }
	}
	metadata := &metadataProbe{}
	if o.chained {
		options.PerCallPolicies = append(slices.Clone(options.PerCallPolicies), metadata)
	}
	mi, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return nil, err
	}
	var cred azcore.TokenCredential = mi
	if o.chained {
		// A chain treats a response that is not a metadata service's, such as a proxy's,
		// as absence. For that it marks the credentials that it is given, but does not
		// look into one that wraps another.
		if _, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{mi}, nil); err != nil {
			return nil, err
		}
		cred = &probing{mi, metadata}
	}
	if check.claim == nil {
		return cred, nil
	}
	check.TokenCredential = cred
	return &check, nil
}

// An identityCheck rejects the token of another identity. azidentity has one cache for the
// whole process, whose key is the ID without its kind. An old Azure Arc agent returns the
// token of the identity that it knows.
type identityCheck struct {
	azcore.TokenCredential
	want  string
	claim func(token.Claims) string
}

// GetToken implements azcore.TokenCredential.
func (c *identityCheck) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := c.TokenCredential.GetToken(ctx, o)
	if err != nil || c.accepts(at) {
		return at, err
	}
	if o.Claims == "" {
		o.Claims = notBefore(time.Now())
		at, err = c.TokenCredential.GetToken(ctx, o)
		if err != nil || c.accepts(at) {
			return at, err
		}
	}
	return azcore.AccessToken{}, fmt.Errorf("asked for the managed identity %q, the endpoint returned a token of %q", c.want, c.claim(token.ParseClaims(at.Token)))
}

// accepts reports whether the token is the wanted identity's. A token that does not say
// whose it is passes, and the server decides.
func (c *identityCheck) accepts(at azcore.AccessToken) bool {
	got := c.claim(token.ParseClaims(at.Token))
	return got == "" || strings.EqualFold(got, c.want)
}

// A metadataProbe is a policy that asks once whether the instance metadata service is
// there. On a laptop nothing answers at its address, and azidentity would try for longer
// than a person waits. azidentity's own DefaultAzureCredential probes in the same way.
type metadataProbe struct{ asked, found atomic.Bool }

const metadataAddress = "169.254.169.254"

// Do implements policy.Policy.
func (p *metadataProbe) Do(req *policy.Request) (*http.Response, error) {
	if req.Raw().URL.Hostname() != metadataAddress || p.found.Load() {
		return req.Next()
	}
	p.asked.Store(true)
	ctx := policy.WithRetryOptions(req.Raw().Context(), policy.RetryOptions{MaxRetries: -1})
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	probe := req.Clone(ctx)
	probe.Raw().Header.Del("Metadata") // any answer will do, and a refusal comes fastest
	resp, err := probe.Next()
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	p.found.Store(true)
	return req.Next()
}

// probing is a managed identity in a chain.
type probing struct {
	azcore.TokenCredential
	metadata *metadataProbe
}

// GetToken implements azcore.TokenCredential.
func (p *probing) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := p.TokenCredential.GetToken(ctx, o)
	if err != nil && p.metadata.asked.Load() && !p.metadata.found.Load() && ctx.Err() == nil {
		err = azidentity.NewCredentialUnavailableError("managed-identity: no instance metadata service answers here")
	}
	return at, err
}
