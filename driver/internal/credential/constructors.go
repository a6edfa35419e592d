package credential

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A constructor makes the credential of a mode.
type constructor struct {
	new func(*dsn.Config, options) (azcore.TokenCredential, error)
	// ambient: in a list, an error of new means that this environment lacks the mode, and
	// the next one is tried. An error of another mode is a wrong setting, and is returned.
	ambient bool
	person  bool // a request past its cache may ask a person to sign in
}

// constructors goes with the table of dsn.Modes, which says the rest of each mode. The
// modes access-token and password have no credential.
var constructors = map[dsn.Mode]constructor{
	dsn.Default: {ambient: true, new: newDefault},
	dsn.Environment: {ambient: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery})
	}},
	dsn.WorkloadIdentity: {ambient: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants,
			ClientID: cfg.ClientID, TokenFilePath: cfg.FederatedTokenFile})
	}},
	dsn.ManagedIdentity: {new: newManagedIdentity},
	dsn.ClientSecret: {new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(cfg.TenantID, cfg.ClientID, cfg.ClientSecret.Value(), &azidentity.ClientSecretCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
	}},
	dsn.ClientCertificate: {new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		data, err := token.ReadFile(cfg.ClientCertificate)
		if err != nil {
			return nil, fmt.Errorf("aad_client_certificate: %w", err)
		}
		data = token.WithoutByteOrderMark(data) // else the first certificate would be overlooked
		certs, key, err := azidentity.ParseCertificates(data, []byte(cfg.ClientCertificatePassword.Value()))
		if err != nil {
			return nil, fmt.Errorf("parsing the certificate in %s: %w", cfg.ClientCertificate, err)
		}
		return azidentity.NewClientCertificateCredential(cfg.TenantID, cfg.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants, SendCertificateChain: cfg.SendCertificateChain})
	}},
	dsn.AzureCLI: {new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants, Subscription: cfg.Subscription})
	}},
	dsn.AzureDeveloperCLI: {person: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewAzureDeveloperCLICredential(&azidentity.AzureDeveloperCLICredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
	}},
	dsn.AzurePowerShell: {new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewAzurePowerShellCredential(&azidentity.AzurePowerShellCredentialOptions{
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
	}},
	dsn.AzurePipelines: {ambient: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		accessToken := os.Getenv("SYSTEM_ACCESSTOKEN")
		if accessToken == "" {
			return nil, errors.New("SYSTEM_ACCESSTOKEN is not set")
		}
		return azidentity.NewAzurePipelinesCredential(cfg.TenantID, cfg.ClientID, cfg.ServiceConnectionID, accessToken, &azidentity.AzurePipelinesCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants})
	}},
	dsn.InteractiveBrowser: {person: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewInteractiveBrowserCredential(&azidentity.InteractiveBrowserCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants,
			ClientID: cfg.ClientID, LoginHint: cfg.LoginHint, RedirectURL: cfg.RedirectURL})
	}},
	dsn.DeviceCode: {person: true, new: func(cfg *dsn.Config, o options) (azcore.TokenCredential, error) {
		return azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
			ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.disableInstanceDiscovery,
			TenantID: cfg.TenantID, AdditionallyAllowedTenants: cfg.AdditionallyAllowedTenants,
			ClientID: cfg.ClientID, UserPrompt: o.prompt})
	}},
}

// mayAskPastCache reports whether a token can be requested past the credential's own cache
// without need: own's, or that of the modes of cfg if own is nil. Of own it must be known,
// because it may ask a person.
func mayAskPastCache(cfg *dsn.Config, own azcore.TokenCredential) bool {
	if own == nil {
		return !slices.ContainsFunc(cfg.Auth, func(m dsn.Mode) bool { return constructors[m].person })
	}
	switch own.(type) {
	case *azidentity.ClientSecretCredential, *azidentity.ClientCertificateCredential, *azidentity.ClientAssertionCredential,
		*azidentity.EnvironmentCredential, *azidentity.WorkloadIdentityCredential, *azidentity.AzurePipelinesCredential,
		*azidentity.ManagedIdentityCredential, *azidentity.DefaultAzureCredential:
		return true
	}
	return false
}
