package driver

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

	"github.com/aadpostgres/aadpostgres/dsn"
)

func newManagedIdentity(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
	if onServiceFabric() {
		p.Transport = p.bare
	}
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: p.ClientOptions}
	var is func(claims) (got string)
	var want string
	switch {
	case c.ClientID != "":
		o.ID, want = azidentity.ClientID(c.ClientID), c.ClientID
		is = claims.application
	case c.ObjectID != "":
		o.ID, want = azidentity.ObjectID(c.ObjectID), c.ObjectID
		is = func(c claims) string { return c.ObjectID }
	case c.ResourceID != "":
		o.ID, want = azidentity.ResourceID(c.ResourceID), c.ResourceID
		is = func(c claims) string { return c.ManagedIdentity }
	}
	imds := &probe{}
	if p.listed {
		o.PerCallPolicies = append(slices.Clone(o.PerCallPolicies), imds)
	}
	mi, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil {
		return nil, err
	}
	var cred azcore.TokenCredential = mi
	if p.listed {
		// A chain takes the answer of what is no metadata service (a proxy, say) for
		// an absence, but only of a credential that it was given bare: it marks it so.
		if _, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{mi}, nil); err != nil {
			return nil, err
		}
		cred = &probed{mi, imds}
	}
	if is != nil {
		cred = &named{cred, want, is}
	}
	return cred, nil
}

// named lets no other identity's token pass. Below azidentity lies one cache for
// the whole process, whose key is the id without its kind; and an old Azure Arc
// agent answers with whom it knows.
type named struct {
	azcore.TokenCredential
	want string
	is   func(claims) string
}

func (n *named) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := n.TokenCredential.GetToken(ctx, o)
	if err != nil || n.fits(at) {
		return at, err
	}
	if o.Claims == "" {
		o.Claims = notBefore(time.Now())
		if at, err = n.TokenCredential.GetToken(ctx, o); err != nil || n.fits(at) {
			return at, err
		}
	}
	return azcore.AccessToken{}, &Error{Step: StepToken,
		Err:  fmt.Errorf("asked for the managed identity %q, the endpoint answered with a token of %q", n.want, n.is(decode(at.Token))),
		Hint: "assign the identity to this host, or correct its id"}
}

// fits is true of a token that does not tell: the server will know.
func (n *named) fits(at azcore.AccessToken) bool {
	got := n.is(decode(at.Token))
	return got == "" || strings.EqualFold(got, n.want)
}

// A probe asks once whether the instance metadata service is there. On a laptop
// nothing answers at its address, and azidentity would try for longer than
// anyone waits; its own DefaultAzureCredential probes in the same way.
type probe struct{ asked, found atomic.Bool }

const metadataService = "169.254.169.254"

func (p *probe) Do(req *policy.Request) (*http.Response, error) {
	if req.Raw().URL.Hostname() == metadataService && !p.found.Load() {
		p.asked.Store(true)
		ctx, cancel := context.WithTimeout(policy.WithRetryOptions(req.Raw().Context(), policy.RetryOptions{MaxRetries: -1}), time.Second)
		defer cancel()
		ping := req.Clone(ctx)
		ping.Raw().Header.Del("Metadata") // any answer will do, and a refusal comes fastest
		resp, err := ping.Next()
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		p.found.Store(true)
	}
	return req.Next()
}

// probed is a managed identity in a list of modes.
type probed struct {
	azcore.TokenCredential
	imds *probe
}

func (p *probed) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := p.TokenCredential.GetToken(ctx, o)
	if err != nil && p.imds.asked.Load() && !p.imds.found.Load() && ctx.Err() == nil {
		err = azidentity.NewCredentialUnavailableError("managed-identity: no instance metadata service answers here")
	}
	return at, err
}

// absent stands for a mode that cannot be had here.
type absent string

func (a absent) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError(string(a))
}
