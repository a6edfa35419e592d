package dsn

import (
	"slices"
	"strings"
	"time"
)

// A Mode names a way to authenticate. It is a value of aad_auth.
type Mode string

// The modes, each with the credential of package azidentity that it uses. [Modes]
// describes them.
const (
	Default            Mode = "default"             // DefaultAzureCredential
	Environment        Mode = "environment"         // EnvironmentCredential
	WorkloadIdentity   Mode = "workload-identity"   // WorkloadIdentityCredential
	ManagedIdentity    Mode = "managed-identity"    // ManagedIdentityCredential
	ClientSecret       Mode = "client-secret"       // ClientSecretCredential
	ClientCertificate  Mode = "client-certificate"  // ClientCertificateCredential
	AzureCLI           Mode = "azure-cli"           // AzureCLICredential
	AzureDeveloperCLI  Mode = "azure-developer-cli" // AzureDeveloperCLICredential
	AzurePowerShell    Mode = "azure-powershell"    // AzurePowerShellCredential
	AzurePipelines     Mode = "azure-pipelines"     // AzurePipelinesCredential
	InteractiveBrowser Mode = "interactive-browser" // InteractiveBrowserCredential
	DeviceCode         Mode = "device-code"         // DeviceCodeCredential
	AccessToken        Mode = "access-token"        // none: the token is in TokenFile or the password
	Password           Mode = "password"            // none: no token is requested
)

// A ModeInfo describes one mode. It is a row of the table that [Modes] returns, which
// the parser, the error texts and the documentation share.
type ModeInfo struct {
	// Name is the mode as [Config.DSN] writes it.
	Name Mode

	// Aliases are the names of the mode in go-mssqldb's fedauth parameter. A DSN may
	// contain the name or an alias, in any case.
	Aliases []string

	// Doc describes the identity that authenticates, in a few words.
	Doc string

	// Keys are the names of the keys that the mode reads, except those that every mode
	// with a token reads, such as aad_cloud and aad_token_timeout.
	Keys []string

	// Required are the names of those keys that must have a value, from the DSN or from
	// the environment. [ParseEnv] checks them.
	Required []string

	// Env is a prefix that replaces AZURE_ in [Key.Env]. The variable with this prefix
	// is read first. Env is empty if the mode has no such variables.
	Env string

	// Interactive reports that a person may have to act before there is a token. Then the
	// token is requested before the server is dialed.
	Interactive bool

	// Timeout is the default of aad_token_timeout. It is 0 if the mode has the general
	// default of 30 seconds.
	Timeout time.Duration
}

// tokenKeys are read by every mode that presents a token.
var tokenKeys = []string{"aad_auth", "aad_cloud", "aad_scope", "aad_server_type", "aad_token_max_age", "aad_token_timeout", "aad_insecure"}

// authorityKeys are read by the modes that send their own requests to Entra.
var authorityKeys = []string{"aad_authority_host", "aad_disable_instance_discovery", "aad_additionally_allowed_tenants"}

// modes is the table of modes, in the order of the documentation.
var modes = []ModeInfo{
	{
		Name:    Default,
		Aliases: []string{"ActiveDirectoryDefault"},
		Doc:     "azidentity's DefaultAzureCredential: environment, workload identity, managed identity, then developer tools",
		Keys:    slices.Concat([]string{"aad_tenant_id"}, authorityKeys),
	},
	{
		Name:    Environment,
		Aliases: []string{"ActiveDirectoryEnvironment"},
		Doc:     "azidentity's EnvironmentCredential: an application that AZURE_ variables describe",
		Keys:    []string{"aad_authority_host", "aad_disable_instance_discovery"},
	},
	{
		Name:    WorkloadIdentity,
		Aliases: []string{"ActiveDirectoryWorkloadIdentity"},
		Doc:     "a workload identity, with a federated token as Kubernetes mounts it",
		Keys:    slices.Concat([]string{"aad_tenant_id", "aad_client_id", "aad_federated_token_file"}, authorityKeys),
	},
	{
		Name:    ManagedIdentity,
		Aliases: []string{"ActiveDirectoryManagedIdentity", "ActiveDirectoryMSI"},
		Doc:     "the host's managed identity: system-assigned, or user-assigned if an ID is set",
		Keys:    []string{"aad_client_id", "aad_object_id", "aad_resource_id"},
	},
	{
		Name:     ClientSecret,
		Aliases:  []string{"ActiveDirectoryServicePrincipal", "ActiveDirectoryApplication"},
		Doc:      "an application, with a client secret",
		Keys:     slices.Concat([]string{"aad_tenant_id", "aad_client_id", "aad_client_secret"}, authorityKeys),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_client_secret"},
	},
	{
		Name:     ClientCertificate,
		Doc:      "an application, with a certificate",
		Keys:     slices.Concat([]string{"aad_tenant_id", "aad_client_id", "aad_client_certificate", "aad_client_certificate_password", "aad_send_certificate_chain"}, authorityKeys),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_client_certificate"},
	},
	{
		Name:    AzureCLI,
		Aliases: []string{"ActiveDirectoryAzCli"},
		Doc:     "the account signed in with az login",
		Keys:    []string{"aad_tenant_id", "aad_subscription", "aad_additionally_allowed_tenants"},
	},
	{
		Name:    AzureDeveloperCLI,
		Aliases: []string{"ActiveDirectoryAzureDeveloperCli"},
		Doc:     "the account signed in with azd auth login",
		Keys:    []string{"aad_tenant_id", "aad_additionally_allowed_tenants"},
	},
	{
		Name: AzurePowerShell,
		Doc:  "the account signed in with Connect-AzAccount",
		Keys: []string{"aad_tenant_id", "aad_additionally_allowed_tenants"},
	},
	{
		Name:     AzurePipelines,
		Aliases:  []string{"ActiveDirectoryAzurePipelines"},
		Doc:      "an Azure Pipelines service connection, with the job's SYSTEM_ACCESSTOKEN",
		Keys:     slices.Concat([]string{"aad_tenant_id", "aad_client_id", "aad_service_connection_id"}, authorityKeys),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_service_connection_id"},
		Env:      "AZURESUBSCRIPTION_",
	},
	{
		Name:        InteractiveBrowser,
		Aliases:     []string{"ActiveDirectoryInteractive"},
		Doc:         "a user, in the browser",
		Keys:        slices.Concat([]string{"aad_tenant_id", "aad_client_id", "aad_login_hint", "aad_redirect_url"}, authorityKeys),
		Interactive: true,
		Timeout:     5 * time.Minute,
	},
	{
		Name:        DeviceCode,
		Aliases:     []string{"ActiveDirectoryDeviceCode"},
		Doc:         "a user, with a code to enter on another device",
		Keys:        slices.Concat([]string{"aad_tenant_id", "aad_client_id"}, authorityKeys),
		Interactive: true,
		Timeout:     15 * time.Minute,
	},
	{
		Name:    AccessToken,
		Aliases: []string{"ActiveDirectoryServicePrincipalAccessToken"},
		Doc:     "a token that you supply, in aad_token_file or as the password",
		Keys:    []string{"aad_token_file"},
	},
	{
		Name: Password,
		Doc:  "no Entra: a PostgreSQL password, as with pgx",
	},
}

// Modes returns the table of modes, in the order of the documentation. The slice is a
// copy. The slices in its rows are shared and must not be modified.
func Modes() []ModeInfo { return slices.Clone(modes) }

// lookupMode finds a mode by name or alias, in any case, or returns nil.
func lookupMode(name string) *ModeInfo {
	for i := range modes {
		m := &modes[i]
		isAlias := func(alias string) bool { return strings.EqualFold(name, alias) }
		if strings.EqualFold(name, string(m.Name)) || slices.ContainsFunc(m.Aliases, isAlias) {
			return m
		}
	}
	return nil
}

func modeNames() []string {
	names := make([]string, len(modes))
	for i := range modes {
		names[i] = string(modes[i].Name)
	}
	return names
}

// timeoutDefaults lists the modes that have a Timeout, each as in "5m for a-mode".
func timeoutDefaults() []string {
	var defaults []string
	for _, m := range modes {
		if m.Timeout > 0 {
			defaults = append(defaults, strings.TrimSuffix(m.Timeout.String(), "0s")+" for "+string(m.Name))
		}
	}
	return defaults
}

// reads reports whether the mode reads that key.
func (m *ModeInfo) reads(key string) bool {
	if m.Name == Password {
		return key == "aad_auth"
	}
	return slices.Contains(tokenKeys, key) || slices.Contains(m.Keys, key)
}
