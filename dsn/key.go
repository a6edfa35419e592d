package dsn

import (
	"fmt"
	"slices"
	"strings"
)

// A Key is one aad_ setting. The table of keys is what the parser, Config.DSN, the
// error texts and the documentation read.
type Key struct {
	Name    string // as written in a DSN
	Doc     string // what it means, in a few words
	Default string // what holds when it is left out, in words; may be empty
	Env     string // the variable that is read in its place where ModeInfo.Required has it; may be empty
	Secret  bool   // its value is masked and never quoted

	field func(*Config) value
}

// keys is the one table of keys, in the order in which they are best explained.
var keys = []Key{
	{Name: "aad_auth", Doc: "a mode, or a comma list of modes tried in order", Default: "default",
		field: func(c *Config) value { return (*modeList)(&c.Auth) }},
	{Name: "aad_tenant_id", Doc: "tenant, a GUID or a domain", Default: "azidentity's own", Env: "AZURE_TENANT_ID",
		field: func(c *Config) value { return (*text)(&c.TenantID) }},
	{Name: "aad_client_id", Doc: "application, or user-assigned managed identity", Default: "AZURE_CLIENT_ID where azidentity reads it", Env: "AZURE_CLIENT_ID",
		field: func(c *Config) value { return (*text)(&c.ClientID) }},
	{Name: "aad_object_id", Doc: "user-assigned managed identity, by object id",
		field: func(c *Config) value { return (*text)(&c.ObjectID) }},
	{Name: "aad_resource_id", Doc: "user-assigned managed identity, by ARM resource id",
		field: func(c *Config) value { return (*text)(&c.ResourceID) }},
	{Name: "aad_client_secret", Doc: "secret of the application; prefer the environment", Default: "AZURE_CLIENT_SECRET", Env: "AZURE_CLIENT_SECRET", Secret: true,
		field: func(c *Config) value { return (*text)(&c.ClientSecret) }},
	{Name: "aad_client_certificate", Doc: "path of a PEM or PKCS#12 file", Default: "AZURE_CLIENT_CERTIFICATE_PATH", Env: "AZURE_CLIENT_CERTIFICATE_PATH",
		field: func(c *Config) value { return (*text)(&c.ClientCertificate) }},
	{Name: "aad_client_certificate_password", Doc: "password of that file", Default: "AZURE_CLIENT_CERTIFICATE_PASSWORD, if the path comes from its variable too", Env: "AZURE_CLIENT_CERTIFICATE_PASSWORD", Secret: true,
		field: func(c *Config) value { return (*text)(&c.ClientCertificatePassword) }},
	{Name: "aad_send_certificate_chain", Doc: "send the certificate's chain too", Default: "false",
		field: func(c *Config) value { return (*boolean)(&c.SendCertificateChain) }},
	{Name: "aad_federated_token_file", Doc: "path of the workload identity's token", Default: "AZURE_FEDERATED_TOKEN_FILE",
		field: func(c *Config) value { return (*text)(&c.FederatedTokenFile) }},
	{Name: "aad_service_connection_id", Doc: "Azure Pipelines service connection", Default: "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", Env: "AZURE_SERVICE_CONNECTION_ID",
		field: func(c *Config) value { return (*text)(&c.ServiceConnectionID) }},
	{Name: "aad_subscription", Doc: "Azure CLI subscription, by name or id", Default: "the CLI's current one",
		field: func(c *Config) value { return (*text)(&c.Subscription) }},
	{Name: "aad_login_hint", Doc: "account to offer in the browser",
		field: func(c *Config) value { return (*text)(&c.LoginHint) }},
	{Name: "aad_redirect_url", Doc: "where the browser returns to, an http or https URL",
		field: func(c *Config) value { return &location{&c.RedirectURL, []string{"http", "https"}} }},
	{Name: "aad_additionally_allowed_tenants", Doc: "comma list of tenants, or *",
		field: func(c *Config) value { return (*list)(&c.AdditionallyAllowedTenants) }},
	{Name: "aad_disable_instance_discovery", Doc: "trust the authority without asking Microsoft's public cloud", Default: "false; true for " + inWords("and", undiscovered()),
		field: func(c *Config) value { return (*boolean)(&c.DisableInstanceDiscovery) }},
	{Name: "aad_cloud", Doc: "sets authority and scope: " + inWords("or", cloudNames()), Default: "auto, by the host's suffix, else public",
		field: func(c *Config) value {
			return &choice{&c.Cloud, append([]string{"auto"}, cloudNames()...)}
		}},
	{Name: "aad_authority_host", Doc: "the authority, an https URL", Default: "AZURE_AUTHORITY_HOST, else the cloud's",
		field: func(c *Config) value { return &location{&c.AuthorityHost, []string{"https"}} }},
	{Name: "aad_scope", Doc: "the scope, verbatim", Default: "the cloud's, or Cosmos DB's for its hosts",
		field: func(c *Config) value { return (*text)(&c.Scope) }},
	{Name: "aad_server_type", Doc: "the kind of server: flexible, single or cosmos", Default: "cosmos by the host's suffix, else flexible",
		field: func(c *Config) value {
			return &choice{&c.ServerType, []string{"flexible", "single", "cosmos"}}
		}},
	{Name: "aad_token_file", Doc: "access-token: file that holds the token, read for every connection",
		field: func(c *Config) value { return (*text)(&c.TokenFile) }},
	{Name: "aad_token_max_age", Doc: "maximum age of a presented token, as in 5m", Default: "0 (until it expires); 5m for single",
		field: func(c *Config) value { return (*duration)(&c.TokenMaxAge) }},
	{Name: "aad_token_timeout", Doc: "bound on one token request, retries included", Default: "30s; " + inWords("and", longer()),
		field: func(c *Config) value { return &positive{(*duration)(&c.TokenTimeout)} }},
	{Name: "aad_insecure", Doc: "unverified: TLS without verification; plaintext: no TLS", Default: "neither",
		field: func(c *Config) value {
			return &choice{&c.Insecure, []string{"unverified", "plaintext"}}
		}},
}

// Keys returns the table of keys, in the order in which documentation lists them.
func Keys() []Key { return slices.Clone(keys) }

// lookup returns the key of that exact name, or nil.
func lookup(name string) *Key {
	for i := range keys {
		if keys[i].Name == name {
			return &keys[i]
		}
	}
	return nil
}

func keyNames() []string {
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].Name
	}
	return names
}

func (k *Key) get(c *Config) string { return k.field(c).String() }

// inWords writes a list as people do.
func inWords(last string, list []string) string {
	n := len(list) - 1
	return strings.Join(list[:n], ", ") + " " + last + " " + list[n]
}

// set parses v into c. An empty value is refused, for it most often comes from
// an unset variable in a template, and a client id that vanishes would sign in
// as somebody else.
func (k *Key) set(c *Config, v string) error {
	if strings.TrimSpace(v) == "" {
		return fmt.Errorf("key %q is empty; give it a value or leave it out", k.Name)
	}
	if err := k.field(c).set(v); err != nil {
		return fmt.Errorf("key %q %w", k.Name, err)
	}
	return nil
}
