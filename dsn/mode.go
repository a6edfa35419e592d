package dsn

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Mode says how to sign in. It is the value of aad_auth.
type Mode string

// The modes, in the order of [Modes].
const (
	Default            Mode = "default"
	Environment        Mode = "environment"
	WorkloadIdentity   Mode = "workload-identity"
	ManagedIdentity    Mode = "managed-identity"
	ClientSecret       Mode = "client-secret"
	ClientCertificate  Mode = "client-certificate"
	AzureCLI           Mode = "azure-cli"
	AzureDeveloperCLI  Mode = "azure-developer-cli"
	AzurePowerShell    Mode = "azure-powershell"
	AzurePipelines     Mode = "azure-pipelines"
	InteractiveBrowser Mode = "interactive-browser"
	DeviceCode         Mode = "device-code"
	AccessToken        Mode = "access-token"
	Password           Mode = "password"
)

// A ModeInfo is a row of the table of modes, which the parser, the error texts
// and the documentation read.
type ModeInfo struct {
	Name     Mode
	Aliases  []string // SQL Server's fedauth words; any case will do
	Doc      string   // who signs in
	Keys     []string // the keys it uses beside those of every token mode
	Required []string // the keys among them that it cannot do without
	Env      string   // a prefix that is tried before the AZURE_ of Key.Env; may be empty

	// Timeout is the default of aad_token_timeout, for modes that wait for a
	// person; 0 is everybody's.
	Timeout time.Duration
}

// usual are the keys of every mode that presents a token.
var usual = []string{"aad_auth", "aad_cloud", "aad_scope", "aad_server_type", "aad_token_max_age", "aad_token_timeout", "aad_insecure"}

// authority are the keys of the modes that speak to Entra themselves.
var authority = []string{"aad_authority_host", "aad_disable_instance_discovery", "aad_additionally_allowed_tenants"}

var modes = []ModeInfo{
	{Name: Default, Aliases: []string{"ActiveDirectoryDefault"},
		Doc:  "azidentity's DefaultAzureCredential: environment, workload identity, managed identity, then the developer's tools",
		Keys: with(authority, "aad_tenant_id")},
	{Name: Environment, Aliases: []string{"ActiveDirectoryEnvironment"},
		Doc:  "the AZURE_ variables",
		Keys: []string{"aad_authority_host", "aad_disable_instance_discovery"}},
	{Name: WorkloadIdentity, Aliases: []string{"ActiveDirectoryWorkloadIdentity"},
		Doc:  "a federated token, as Kubernetes mounts it",
		Keys: with(authority, "aad_tenant_id", "aad_client_id", "aad_federated_token_file")},
	{Name: ManagedIdentity, Aliases: []string{"ActiveDirectoryManagedIdentity", "ActiveDirectoryMSI"},
		Doc:  "the host's managed identity: system-assigned, or user-assigned with an id",
		Keys: []string{"aad_client_id", "aad_object_id", "aad_resource_id"}},
	{Name: ClientSecret, Aliases: []string{"ActiveDirectoryServicePrincipal", "ActiveDirectoryApplication"},
		Doc:      "an application with its secret",
		Keys:     with(authority, "aad_tenant_id", "aad_client_id", "aad_client_secret"),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_client_secret"}},
	{Name: ClientCertificate,
		Doc:      "an application with its certificate",
		Keys:     with(authority, "aad_tenant_id", "aad_client_id", "aad_client_certificate", "aad_client_certificate_password", "aad_send_certificate_chain"),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_client_certificate"}},
	{Name: AzureCLI, Aliases: []string{"ActiveDirectoryAzCli"},
		Doc:  "whoever ran az login",
		Keys: []string{"aad_tenant_id", "aad_subscription", "aad_additionally_allowed_tenants"}},
	{Name: AzureDeveloperCLI, Aliases: []string{"ActiveDirectoryAzureDeveloperCli"},
		Doc:  "whoever ran azd auth login",
		Keys: []string{"aad_tenant_id", "aad_additionally_allowed_tenants"}},
	{Name: AzurePowerShell,
		Doc:  "whoever ran Connect-AzAccount",
		Keys: []string{"aad_tenant_id", "aad_additionally_allowed_tenants"}},
	{Name: AzurePipelines, Aliases: []string{"ActiveDirectoryAzurePipelines"},
		Doc:      "an Azure Pipelines service connection; the token comes from SYSTEM_ACCESSTOKEN",
		Keys:     with(authority, "aad_tenant_id", "aad_client_id", "aad_service_connection_id"),
		Required: []string{"aad_tenant_id", "aad_client_id", "aad_service_connection_id"}, Env: "AZURESUBSCRIPTION_"},
	{Name: InteractiveBrowser, Aliases: []string{"ActiveDirectoryInteractive"},
		Doc:  "a person, in the browser",
		Keys: with(authority, "aad_tenant_id", "aad_client_id", "aad_login_hint", "aad_redirect_url"), Timeout: 5 * time.Minute},
	{Name: DeviceCode, Aliases: []string{"ActiveDirectoryDeviceCode"},
		Doc:  "a person, with a code to type on another device",
		Keys: with(authority, "aad_tenant_id", "aad_client_id"), Timeout: 15 * time.Minute},
	{Name: AccessToken, Aliases: []string{"ActiveDirectoryServicePrincipalAccessToken"},
		Doc:  "the manual way: a token from aad_token_file, or in place of the password",
		Keys: []string{"aad_token_file"}},
	{Name: Password,
		Doc: "no Entra: pgx as it is, for a PostgreSQL of one's own"},
}

func with(keys []string, own ...string) []string { return append(own, keys...) }

// Modes returns the table of modes, in the order in which documentation lists them.
func Modes() []ModeInfo { return slices.Clone(modes) }

// lookupMode finds a mode by name or alias, in any case, or returns nil.
func lookupMode(name string) *ModeInfo {
	for i := range modes {
		m := &modes[i]
		if strings.EqualFold(name, string(m.Name)) ||
			slices.ContainsFunc(m.Aliases, func(a string) bool { return strings.EqualFold(name, a) }) {
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

// longer lists the modes that have a timeout of their own.
func longer() (waits []string) {
	for _, m := range modes {
		if m.Timeout > 0 {
			waits = append(waits, strings.TrimSuffix(m.Timeout.String(), "0s")+" for "+string(m.Name))
		}
	}
	return waits
}

// uses tells whether the mode reads that key.
func (m *ModeInfo) uses(key string) bool {
	if m.Name == Password {
		return key == "aad_auth"
	}
	return slices.Contains(usual, key) || slices.Contains(m.Keys, key)
}

// check judges the keys together: what the modes cannot use, and what excludes
// what. given holds the settings as written.
func (c *Config) check(given map[string]string) error {
	for i := range keys {
		name := keys[i].Name
		if _, ok := given[name]; ok && !slices.ContainsFunc(c.Auth, func(m Mode) bool { return lookupMode(string(m)).uses(name) }) {
			return fmt.Errorf("key %q is not used by aad_auth=%s; %s", name, (*modeList)(&c.Auth), whoUses(name))
		}
	}
	if len(c.Auth) > 1 {
		for _, m := range []Mode{AccessToken, Password} {
			if slices.Contains(c.Auth, m) {
				return fmt.Errorf("mode %q cannot stand in a list; name it alone", m)
			}
		}
	}
	if c.Params["password"] != "" && c.Auth[0] != Password && (c.Auth[0] != AccessToken || c.TokenFile != "") {
		return fmt.Errorf("a password stands beside aad_auth=%s, which signs in with a token; drop the password, or write aad_auth=password to use it", (*modeList)(&c.Auth))
	}
	ids := 0
	for _, id := range []string{c.ClientID, c.ObjectID, c.ResourceID} {
		if id != "" {
			ids++
		}
	}
	if ids > 1 {
		return fmt.Errorf("a managed identity is named twice; keep one of aad_client_id, aad_object_id, aad_resource_id")
	}
	return nil
}

// whoUses says what to do with a key that the chosen mode does not read.
func whoUses(key string) string {
	var names []string
	for i := range modes {
		if modes[i].uses(key) {
			names = append(names, string(modes[i].Name))
		}
	}
	return "drop it, or name a mode that uses it: " + strings.Join(names, ", ")
}
