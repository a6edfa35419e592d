package credential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

func newManagedIdentity(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
	check := identityCheck{}
	var id azidentity.ManagedIDKind
	switch {
	case cfg.ClientID != "":
		id = azidentity.ClientID(cfg.ClientID)
		check.want = cfg.ClientID
		check.claim = token.Claims.Application
	case cfg.ObjectID != "":
		id = azidentity.ObjectID(cfg.ObjectID)
		check.want = cfg.ObjectID
		check.claim = func(c token.Claims) string { return c.ObjectID }
	case cfg.ResourceID != "":
		id = azidentity.ResourceID(cfg.ResourceID)
		check.want = cfg.ResourceID
		check.claim = func(c token.Claims) string { return c.ManagedIdentity }
	}
	cred, err := newUncheckedIdentity(id, o)
	if err != nil || check.claim == nil {
		return cred, err
	}
	check.TokenCredential = cred
	return &check, nil
}

// newUncheckedIdentity makes the credential of a managed identity, or of the host's own if
// id is nil. In a list of modes it is unavailable where no metadata service responds.
func newUncheckedIdentity(id azidentity.ManagedIDKind, o options) (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o.ClientOptions, ID: id}
	if onServiceFabric() {
		// This credential sends nothing but requests to the endpoint whose certificate it
		// pins, and azidentity lets none of them be redirected.
		options.Transport = o.plainTransport
	}
	if o.chained {
		options.PerCallPolicies = append(slices.Clone(options.PerCallPolicies), &presence{})
	}
	cred, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return nil, err
	}
	if o.chained {
		return optionalIdentity{cred}, nil
	}
	return cred, nil
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
