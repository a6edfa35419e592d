package dsn

import (
	"fmt"
	"slices"
	"strings"
)

// A Key describes one aad_ key of a DSN. It is a row of the table that [Keys] returns,
// which the parser, the formatter, the error texts and the documentation share.
type Key struct {
	// Name is the key as written in a DSN. It begins with aad_.
	Name string

	// Doc describes the value in a few words.
	Doc string

	// Default describes the value that applies if the key is not set. It is empty if
	// there is none.
	Default string

	// Env is the environment variable that [ParseEnv] reads if a mode requires the key
	// and the DSN does not set it. It is empty if there is none. See [ModeInfo.Env].
	Env string

	// Secret reports whether the value is masked in print and never quoted in errors.
	Secret bool

	path  bool // the value is the path of a file
	field func(*Config) value
}

// keys is the table of keys, in the order of the documentation.
var keys = []Key{
	{
		Name: "aad_auth", Doc: "a mode, or a comma-separated list of modes tried in order", Default: "default",
		field: func(c *Config) value { return (*modeList)(&c.Auth) },
	},
	{
		Name: "aad_tenant_id", Doc: "Entra tenant, a GUID or a domain", Default: "azidentity's default", Env: "AZURE_TENANT_ID",
		field: func(c *Config) value { return (*text)(&c.TenantID) },
	},
	{
		Name: "aad_client_id", Doc: "client ID of the application or user-assigned managed identity", Default: "AZURE_CLIENT_ID where azidentity reads it", Env: "AZURE_CLIENT_ID",
		field: func(c *Config) value { return (*text)(&c.ClientID) },
	},
	{
		Name: "aad_object_id", Doc: "object ID of the user-assigned managed identity",
		field: func(c *Config) value { return (*text)(&c.ObjectID) },
	},
	{
		Name: "aad_resource_id", Doc: "ARM resource ID of the user-assigned managed identity",
		field: func(c *Config) value { return (*text)(&c.ResourceID) },
	},
	{
		Name: "aad_client_secret", Doc: "client secret of the application; prefer the environment variable", Default: "AZURE_CLIENT_SECRET", Env: "AZURE_CLIENT_SECRET", Secret: true,
		field: func(c *Config) value { return (*hidden)(&c.ClientSecret) },
	},
	{
		Name: "aad_client_certificate", Doc: "path of a PEM or PKCS#12 file with certificate and key", Default: "AZURE_CLIENT_CERTIFICATE_PATH", Env: "AZURE_CLIENT_CERTIFICATE_PATH", path: true,
		field: func(c *Config) value { return (*text)(&c.ClientCertificate) },
	},
	{
		Name: "aad_client_certificate_password", Doc: "password of that file", Default: "AZURE_CLIENT_CERTIFICATE_PASSWORD, if the path comes from AZURE_CLIENT_CERTIFICATE_PATH", Env: "AZURE_CLIENT_CERTIFICATE_PASSWORD", Secret: true,
		field: func(c *Config) value { return (*hidden)(&c.ClientCertificatePassword) },
	},
	{
		Name: "aad_send_certificate_chain", Doc: "send the certificate chain, for subject name and issuer authentication", Default: "false",
		field: func(c *Config) value { return (*boolean)(&c.SendCertificateChain) },
	},
	{
		Name: "aad_federated_token_file", Doc: "path of the workload identity's token file", Default: "AZURE_FEDERATED_TOKEN_FILE", path: true,
		field: func(c *Config) value { return (*text)(&c.FederatedTokenFile) },
	},
	{
		Name: "aad_service_connection_id", Doc: "ID of the Azure Pipelines service connection", Default: "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", Env: "AZURE_SERVICE_CONNECTION_ID",
		field: func(c *Config) value { return (*text)(&c.ServiceConnectionID) },
	},
	{
		Name: "aad_subscription", Doc: "name or ID of an Azure CLI subscription", Default: "the CLI's current subscription",
		field: func(c *Config) value { return (*text)(&c.Subscription) },
	},
	{
		Name: "aad_login_hint", Doc: "user name to prefill in the browser",
		field: func(c *Config) value { return (*text)(&c.LoginHint) },
	},
	{
		Name: "aad_redirect_url", Doc: "redirect URL of the application, http or https", Default: "http://localhost, on any free port",
		field: func(c *Config) value { return &location{&c.RedirectURL, []string{"http", "https"}} },
	},
	{
		Name: "aad_additionally_allowed_tenants", Doc: "comma-separated list of tenants, or * for all",
		field: func(c *Config) value { return (*list)(&c.AdditionallyAllowedTenants) },
	},
	{
		Name: "aad_disable_instance_discovery", Doc: "trust the authority without validation by the public cloud", Default: "false; true for " + joinWords("and", cloudsWithoutDiscovery()),
		field: func(c *Config) value { return (*boolean)(&c.DisableInstanceDiscovery) },
	},
	{
		Name: "aad_cloud", Doc: "cloud that sets authority and scope: " + joinWords("or", cloudNames()), Default: "auto, by the host's suffix, else public",
		field: func(c *Config) value { return &choice{&c.Cloud, append([]string{"auto"}, cloudNames()...)} },
	},
	{
		Name: "aad_authority_host", Doc: "Entra authority, an https URL", Default: "AZURE_AUTHORITY_HOST, else the cloud's",
		field: func(c *Config) value { return &location{&c.AuthorityHost, []string{"https"}} },
	},
	{
		Name: "aad_scope", Doc: "scope of the token, sent verbatim", Default: "the cloud's, or Cosmos DB's for its hosts",
		field: func(c *Config) value { return (*text)(&c.Scope) },
	},
	{
		Name: "aad_server_type", Doc: "flexible, single or cosmos", Default: "cosmos by the host's suffix, else flexible",
		field: func(c *Config) value { return &choice{&c.ServerType, []string{"flexible", "single", "cosmos"}} },
	},
	{
		Name: "aad_token_file", Doc: "path of a file with an access token, read for every connection", path: true,
		field: func(c *Config) value { return (*text)(&c.TokenFile) },
	},
	{
		Name: "aad_token_max_age", Doc: "maximum age of a presented token, as in 5m", Default: "0 (until it expires); 5m for single",
		field: func(c *Config) value { return (*duration)(&c.TokenMaxAge) },
	},
	{
		Name: "aad_token_timeout", Doc: "time limit of one token request, including retries", Default: "30s; " + joinWords("and", timeoutDefaults()),
		field: func(c *Config) value { return &positive{(*duration)(&c.TokenTimeout)} },
	},
	{
		Name: "aad_insecure", Doc: "unverified (TLS without verification) or plaintext (no TLS)", Default: "verified TLS",
		field: func(c *Config) value { return &choice{&c.Insecure, []string{"unverified", "plaintext"}} },
	},
}

// Keys returns a copy of the table of keys, in the order of the documentation.
func Keys() []Key { return slices.Clone(keys) }

// lookupKey finds a key by its exact name, or returns nil.
func lookupKey(name string) *Key {
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

// joinWords writes "a, b and c" for the conjunction "and".
func joinWords(conjunction string, words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

func (k *Key) get(c *Config) string { return k.field(c).String() }

// set parses v into c. An empty value is an error: it usually comes from an unset
// variable in a template, and without its client ID the DSN would authenticate as
// another identity.
func (k *Key) set(c *Config, v string) error {
	if strings.TrimSpace(v) == "" {
		return fmt.Errorf("key %q is empty; set a value or remove the key", k.Name)
	}
	if err := k.field(c).set(v); err != nil {
		return fmt.Errorf("key %q %w", k.Name, err)
	}
	return nil
}
