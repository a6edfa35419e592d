package credential

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A member is a credential of azidentity's DefaultAzureCredential. AZURE_TOKEN_CREDENTIALS
// selects it by its name, or by its group.
type member struct {
	name, group string
	new         func(*dsn.Config, options) (azcore.TokenCredential, error)
}

// members are in azidentity's order. TestDefaultIsAzidentitys compares them with the
// original.
var members = []member{
	{"EnvironmentCredential", "prod", func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery})
	}},
	{"WorkloadIdentityCredential", "prod", func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
	}},
	{"ManagedIdentityCredential", "prod", func(_ *dsn.Config, o options) (azcore.TokenCredential, error) {
		if id, ok := os.LookupEnv("AZURE_CLIENT_ID"); ok {
			return newUncheckedIdentity(azidentity.ClientID(id), o)
		}
		return newUncheckedIdentity(nil, o)
	}},
	{"AzureCLICredential", "dev", func(cfg *dsn.Config, _ options) (azcore.TokenCredential, error) {
		cred, err := azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
		return optionalTool{cred}, err
	}},
	{"AzureDeveloperCLICredential", "dev", func(cfg *dsn.Config, _ options) (azcore.TokenCredential, error) {
		cred, err := azidentity.NewAzureDeveloperCLICredential(&azidentity.AzureDeveloperCLICredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
		return optionalTool{cred}, err
	}},
	{"AzurePowerShellCredential", "dev", func(cfg *dsn.Config, _ options) (azcore.TokenCredential, error) {
		cred, err := azidentity.NewAzurePowerShellCredential(&azidentity.AzurePowerShellCredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
		return optionalTool{cred}, err
	}},
}

// newDefault makes azidentity's DefaultAzureCredential from its members. The original goes
// past a managed identity only where it asks a virtual machine's metadata service, and
// there not past every response of a proxy.
func newDefault(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
	// azidentity checks AZURE_TOKEN_CREDENTIALS.
	if _, err := azidentity.NewDefaultAzureCredential(nil); err != nil {
		return nil, err
	}
	selection, restricted := os.LookupEnv("AZURE_TOKEN_CREDENTIALS")
	selected := members
	if restricted {
		selected = slices.DeleteFunc(slices.Clone(members), func(m member) bool {
			return selection != m.group && !strings.EqualFold(selection, m.name)
		})
	}
	o.chained = o.chained || len(selected) > 1
	if cfg = cfg.Clone(); len(cfg.AdditionallyAllowedTenants) == 0 {
		if tenants := os.Getenv("AZURE_ADDITIONALLY_ALLOWED_TENANTS"); tenants != "" {
			cfg.AdditionallyAllowedTenants = strings.Split(tenants, ";")
		}
	}
	var chain []azcore.TokenCredential
	for _, m := range selected {
		cred, err := m.new(cfg, o)
		if err != nil {
			cred = unavailable(m.name + ": " + redact.FirstLine(err.Error()))
		}
		chain = append(chain, cred)
	}
	cred, err := azidentity.NewChainedTokenCredential(chain, nil)
	if err != nil {
		return nil, err
	}
	return defaultCredential{cred}, nil
}

// An optionalTool is a developer tool in mode default, where each of its errors leads to
// the next one, as in azidentity.
type optionalTool struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (c optionalTool) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := c.TokenCredential.GetToken(ctx, o)
	if err != nil {
		err = azidentity.NewCredentialUnavailableError(err.Error())
	}
	return at, err
}

// A defaultCredential gives the errors of the chain the name that they have in azidentity.
type defaultCredential struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (c defaultCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	at, err := c.TokenCredential.GetToken(ctx, o)
	if err != nil {
		err = &defaultError{err}
	}
	return at, err
}

// A defaultError is an error of mode default.
type defaultError struct{ err error }

func (e *defaultError) Error() string {
	return "DefaultAzureCredential" + strings.TrimPrefix(e.err.Error(), "ChainedTokenCredential")
}

func (e *defaultError) Unwrap() error { return e.err }
