// Package credential makes the credential that a DSN names, by azidentity, and requests
// tokens with it. Connectors of one identity share a token cache: see [CacheFor].
//
// It also protects secrets: requests follow no redirect, responses have a bounded size,
// and a secret that an authority repeats is redacted.
package credential

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Options are the settings of token requests that only a program can give. The zero value
// leaves all to the DSN.
type Options struct {
	Credential azcore.TokenCredential // in place of the DSN's modes; nil for these
	Transport  policy.Transporter     // for token requests; nil for a client like azcore's
	Prompt     *Prompt                // for device codes; nil for standard error

	// Owner stands for a Credential or Transport that cannot be compared: with the same Owner
	// they are the same. It is a pointer, or nil if nothing is known.
	Owner any
}

// A Prompt shows a device code. Options hold a pointer to it because functions cannot be
// compared: connectors that share a token cache share its prompt.
type Prompt func(context.Context, azidentity.DeviceCodeMessage) error

// options are what constructors need beside the DSN.
type options struct {
	azcore.ClientOptions
	disableInstanceDiscovery bool
	chained                  bool               // one of several modes
	plainTransport           policy.Transporter // for Service Fabric's endpoint alone
	prompt                   Prompt
	scope                    string
}

func (o Options) forCloud(c Cloud) options {
	prompt := Prompt(printDeviceCode)
	if o.Prompt != nil {
		prompt = *o.Prompt
	}
	plain := newTransport(o.Transport)
	return options{
		ClientOptions: azcore.ClientOptions{
			Cloud:            cloud.Configuration{ActiveDirectoryAuthorityHost: c.Authority},
			Transport:        safeTransport{plain},
			PerRetryPolicies: []policy.Policy{capturePolicy{}},
		},
		disableInstanceDiscovery: !c.InstanceDiscovery,
		plainTransport:           plain,
		prompt: func(ctx context.Context, m azidentity.DeviceCodeMessage) error {
			x := exchangeFrom(ctx)
			x.update(func() { x.prompted = true })
			return prompt(ctx, m)
		},
		scope: c.Scope,
	}
}

// printDeviceCode tells a person where to enter the code, on standard error: standard
// output may be a program's data.
func printDeviceCode(_ context.Context, m azidentity.DeviceCodeMessage) error {
	_, err := fmt.Fprintln(os.Stderr, cmp.Or(m.Message, m.VerificationURL+" "+m.UserCode))
	return err
}

// newCredential makes the credential of the DSN's mode, or a chain for a list of modes.
func newCredential(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
	if err := checkFiles(cfg); err != nil {
		return nil, err
	}
	if len(cfg.Auth) == 1 {
		mode := cfg.Auth[0]
		cred, err := constructors[mode].new(cfg, o)
		if err != nil {
			return nil, err
		}
		return &modeCredential{cred, mode, cfg, o.scope}, nil
	}
	return newChain(cfg, o)
}

// interactive reports whether a person may have to act before there is a token.
func interactive(cfg *dsn.Config, o Options) bool {
	switch o.Credential.(type) {
	case nil:
		return slices.ContainsFunc(dsn.Modes(), func(m dsn.ModeInfo) bool {
			return m.Interactive && slices.Contains(cfg.Auth, m.Name)
		})
	case *azidentity.DeviceCodeCredential, *azidentity.InteractiveBrowserCredential:
		return true
	}
	return false
}

// checkFiles refuses files that azidentity would read without end. It reads one of them
// before it makes a credential.
func checkFiles(cfg *dsn.Config) error {
	reads := func(m dsn.Mode) bool {
		return m == dsn.Default || m == dsn.Environment || m == dsn.WorkloadIdentity
	}
	if !slices.ContainsFunc(cfg.Auth, reads) {
		return nil
	}
	files := []struct{ name, path string }{
		{"aad_federated_token_file", cfg.FederatedTokenFile},
		{"AZURE_FEDERATED_TOKEN_FILE", os.Getenv("AZURE_FEDERATED_TOKEN_FILE")},
		{"AZURE_CLIENT_CERTIFICATE_PATH", os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH")},
	}
	for _, f := range files {
		if err := token.CheckFile(f.path); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// newChain tries the modes in the given order. A mode that is unavailable here is
// skipped; one that is refused ends the chain, as in azidentity.
func newChain(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
	o.chained = true
	var chain []azcore.TokenCredential
	for _, mode := range cfg.Auth {
		c := constructors[mode]
		cred, err := c.new(cfg, o)
		if err != nil && !c.ambient {
			return nil, err
		}
		if err != nil {
			cred = unavailable(string(mode) + ": " + redact.FirstLine(err.Error()))
		}
		chain = append(chain, &modeCredential{cred, mode, cfg, o.scope})
	}
	return azidentity.NewChainedTokenCredential(chain, nil)
}

// unavailable stands in a chain for a mode that its environment does not provide.
type unavailable string

func (u unavailable) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError(string(u))
}
