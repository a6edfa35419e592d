package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A maker makes the credential of a mode.
type maker struct {
	make func(*dsn.Config, parts) (azcore.TokenCredential, error)
	// ambient tells that the mode lives on what its surroundings say. In a list,
	// where they say nothing the next mode is tried.
	ambient bool
}

// parts are what constructors need beside the DSN.
type parts struct {
	azcore.ClientOptions
	undiscovered bool               // trust the authority without asking the public cloud
	listed       bool               // one of several modes
	bare         policy.Transporter // of WithTransport, as it was given
	prompt       func(context.Context, azidentity.DeviceCodeMessage) error
}

// makers goes with the table of dsn.Modes, which says the rest of each mode.
// access-token and password have no credential.
var makers = map[dsn.Mode]maker{
	dsn.Default: {ambient: true, make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		if onServiceFabric() {
			p.Transport = p.bare
		}
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants})
	}},
	dsn.Environment: {ambient: true, make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered})
	}},
	dsn.WorkloadIdentity: {ambient: true, make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
			ClientID: c.ClientID, TokenFilePath: c.FederatedTokenFile})
	}},
	dsn.ManagedIdentity: {make: newManagedIdentity},
	dsn.ClientSecret: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants})
	}},
	dsn.ClientCertificate: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		data, err := readFile(c.ClientCertificate)
		if err != nil {
			return nil, hinted(err, "check aad_client_certificate")
		}
		certs, key, err := azidentity.ParseCertificates(data, []byte(c.ClientCertificatePassword))
		if err != nil {
			return nil, hinted(fmt.Errorf("%s: %w", c.ClientCertificate, err),
				"give a PEM file with certificate and unencrypted key, or PKCS#12 in its older encryption (openssl pkcs12 -export -legacy) with its password")
		}
		return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants, SendCertificateChain: c.SendCertificateChain})
	}},
	dsn.AzureCLI: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants, Subscription: c.Subscription})
	}},
	dsn.AzureDeveloperCLI: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewAzureDeveloperCLICredential(&azidentity.AzureDeveloperCLICredentialOptions{
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants})
	}},
	dsn.AzurePowerShell: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewAzurePowerShellCredential(&azidentity.AzurePowerShellCredentialOptions{
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants})
	}},
	dsn.AzurePipelines: {ambient: true, make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		token := os.Getenv("SYSTEM_ACCESSTOKEN")
		if token == "" {
			return nil, hinted(errors.New("SYSTEM_ACCESSTOKEN is not set"), "hand it to the step: env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}")
		}
		return azidentity.NewAzurePipelinesCredential(c.TenantID, c.ClientID, c.ServiceConnectionID, token, &azidentity.AzurePipelinesCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants})
	}},
	dsn.InteractiveBrowser: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewInteractiveBrowserCredential(&azidentity.InteractiveBrowserCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
			ClientID: c.ClientID, LoginHint: c.LoginHint, RedirectURL: c.RedirectURL})
	}},
	dsn.DeviceCode: {make: func(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
		return azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
			ClientOptions: p.ClientOptions, DisableInstanceDiscovery: p.undiscovered,
			TenantID: c.TenantID, AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
			ClientID: c.ClientID, UserPrompt: p.prompt})
	}},
}

// newCredential makes the credential that the DSN names, a chain for a list.
func newCredential(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
	if err := readable(c); err != nil {
		return nil, err
	}
	if len(c.Auth) > 1 {
		return newChain(c, p)
	}
	cred, err := makers[c.Auth[0]].make(c, p)
	if err != nil {
		return nil, explainCredential(err)
	}
	return cred, nil
}

// readable refuses files that azidentity would read to an end that never comes, one
// of them before it makes a credential.
func readable(c *dsn.Config) error {
	if !slices.ContainsFunc(c.Auth, func(m dsn.Mode) bool { return m == dsn.Default || m == dsn.Environment || m == dsn.WorkloadIdentity }) {
		return nil
	}
	for _, file := range []struct{ path, key string }{{c.FederatedTokenFile, "aad_federated_token_file"},
		{os.Getenv("AZURE_FEDERATED_TOKEN_FILE"), "AZURE_FEDERATED_TOKEN_FILE"}, {os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH"), "AZURE_CLIENT_CERTIFICATE_PATH"}} {
		if err := saneFile(file.path); err != nil {
			return hinted(err, "check "+file.key)
		}
	}
	return nil
}

// newChain tries the modes in the order given. One that cannot be had here is
// passed over; one that is refused ends the chain, as azidentity has it.
func newChain(c *dsn.Config, p parts) (azcore.TokenCredential, error) {
	p.listed = true
	var chain []azcore.TokenCredential
	for _, mode := range c.Auth {
		m := makers[mode]
		cred, err := m.make(c, p)
		switch {
		case err != nil && !m.ambient:
			return nil, explainCredential(err)
		case err != nil:
			cred = absent(string(mode) + ": " + firstLine(err.Error()))
		}
		chain = append(chain, cred)
	}
	return azidentity.NewChainedTokenCredential(chain, nil)
}

// hinted is an error that says what to do, whoever wraps it.
func hinted(err error, hint string) *Error {
	return &Error{Step: StepCredential, Err: err, Hint: hint}
}

// prompt tells a person where to type the code, on standard error: standard
// output may be a program's data.
func prompt(_ context.Context, m azidentity.DeviceCodeMessage) error {
	_, err := fmt.Fprintln(os.Stderr, cmp.Or(m.Message, m.VerificationURL+" "+m.UserCode))
	return err
}
