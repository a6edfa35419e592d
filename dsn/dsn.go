// Package dsn parses and formats the data source names (DSNs) of the aadpostgres
// driver. A program that only opens a database does not need it, because sql.Open
// takes the DSN as a string.
//
// To inspect or change a DSN, call [Parse], change the [Config], and call
// [Config.DSN]:
//
//	cfg, err := dsn.Parse("host=app.postgres.database.azure.com dbname=app aad_auth=azure-cli")
//	if err != nil {
//		return err
//	}
//	cfg.Params["application_name"] = "reports"
//	db, err := sql.Open("aadpostgres", cfg.DSN())
//
// To see the settings that a connector will use, with those of the environment and of
// a connection service file, call [ParseEnv]:
//
//	cfg, err := dsn.ParseEnv("host=app.postgres.database.azure.com", dsn.OS)
//
// To list what a DSN can contain, call [Keys], [Modes] or [Clouds]. To find the cloud
// of a host name, call [CloudOf].
//
// # Format
//
// A DSN is a URL or a list of keyword/value pairs, with the grammar of libpq and pgx.
// The schemes postgres, postgresql and aadpostgres mean the same:
//
//	host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity
//	postgres://app.postgres.database.azure.com/app?aad_auth=azure-cli
//	aadpostgres://app.postgres.database.azure.com/app
//
// Keys that begin with aad_ configure authentication with Microsoft Entra. It is an
// error if such a key is unknown, repeated, empty, or not used by the mode that
// aad_auth sets. All other keys are settings of PostgreSQL and pgx. If one of these is
// repeated, the last value applies.
//
// # Secrets
//
// No error of this package quotes a value, unless it is nearly one of the key's allowed
// words. Printing a [Config] masks its secrets. Only [Config.DSN] and [Secret.Value]
// return them.
//
// A DSN that could have a secret in a place where none is expected is an error. Examples
// are the form of another driver, a key such as pwd or token that is not known, and a URL
// whose @ would make its query a user name.
package dsn

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Config holds the settings of a DSN. Create one with [Parse] or [ParseEnv], which set
// the defaults: the zero Config is not valid. Each field other than Params has a key
// that is named like it, such as aad_tenant_id for TenantID.
//
// A Config may be read concurrently. If a Config is shared, change a [Config.Clone] of
// it instead.
//
// Parse sets TokenTimeout by Auth and TokenMaxAge by ServerType. If you change Auth or
// ServerType, set these two as well.
//
// All verbs of fmt, slog and encoding/json print a Config with its secrets masked, also
// if it is an unexported field of another value.
type Config struct {
	// Params holds the settings of PostgreSQL and pgx by their libpq names, such as
	// host, port, user, dbname, sslmode and search_path. No name begins with aad_, and
	// none is that of a secret: see Password and SSLPassword. The key database is stored
	// as dbname, and ssl=true of a URL as sslmode=require. Params is never nil after
	// Parse.
	Params map[string]string

	// Password is the key password: the role's password in mode password, and the token
	// in mode access-token without TokenFile. It is empty in other modes. If it is empty,
	// pgx reads PGPASSWORD or the password file.
	Password Secret

	// SSLPassword is the key sslpassword, the password of the client certificate's key.
	// The default is empty.
	SSLPassword Secret

	// Auth lists the modes, which are tried in order. A mode that is unavailable is
	// skipped. A mode whose request is refused ends the search. Keys that any of the
	// modes requires must be set. AccessToken and Password cannot be combined with other
	// modes. Auth is never empty after Parse. The default is [Default] alone.
	Auth []Mode

	// TenantID is the Entra tenant, a GUID or a domain. If it is empty, ParseEnv reads
	// AZURE_TENANT_ID for modes that require a tenant, and azidentity's default applies
	// to others.
	TenantID string

	// ClientID is the client ID of the application or of the user-assigned managed
	// identity. If it is empty, ParseEnv reads AZURE_CLIENT_ID for modes that require a
	// client ID, and azidentity's default applies to others. In mode managed-identity
	// that is the system-assigned identity.
	ClientID string

	// ObjectID is the object ID of the user-assigned managed identity. It excludes
	// ClientID and ResourceID. The default is empty.
	ObjectID string

	// ResourceID is the Azure Resource Manager ID of the user-assigned managed
	// identity. It excludes ClientID and ObjectID. The default is empty.
	ResourceID string

	// ClientSecret is the client secret of the application. If it is empty, ParseEnv
	// reads AZURE_CLIENT_SECRET.
	ClientSecret Secret

	// ClientCertificate is the path of a PEM or PKCS#12 file that has the application's
	// certificate and private key. If it is empty, ParseEnv reads
	// AZURE_CLIENT_CERTIFICATE_PATH.
	ClientCertificate string

	// ClientCertificatePassword is the password of the file ClientCertificate. The
	// default is empty. If ParseEnv takes the path from the environment, it reads
	// AZURE_CLIENT_CERTIFICATE_PASSWORD too.
	ClientCertificatePassword Secret

	// SendCertificateChain sends the certificate chain with each token request, for
	// subject name and issuer authentication. The default is false.
	SendCertificateChain bool

	// FederatedTokenFile is the path of a workload identity's token file. If it is
	// empty, azidentity reads AZURE_FEDERATED_TOKEN_FILE.
	FederatedTokenFile string

	// ServiceConnectionID is the ID of an Azure Pipelines service connection. If it is
	// empty, ParseEnv reads AZURESUBSCRIPTION_SERVICE_CONNECTION_ID.
	ServiceConnectionID string

	// Subscription is the name or ID of an Azure CLI subscription. If it is empty, the
	// CLI's current subscription applies.
	Subscription string

	// LoginHint is the user name that the browser shows in the sign-in form. The user
	// may choose another. The default is empty.
	LoginHint string

	// RedirectURL is the http or https URL to which the browser returns. It must be
	// registered with the application. If it is empty, it is http://localhost with a
	// free port.
	RedirectURL string

	// AdditionallyAllowedTenants lists tenants, other than TenantID, for which tokens
	// may be requested. "*" allows all. It has no effect if TenantID is empty. The
	// default is nil.
	AdditionallyAllowedTenants []string

	// DisableInstanceDiscovery trusts the authority without asking the public cloud to
	// validate it. The default is false. Clouds without [Cloud.InstanceDiscovery] are
	// handled as if it were true.
	DisableInstanceDiscovery bool

	// Cloud is auto or the Name of one of [Clouds]. The default is auto, which chooses
	// the cloud by the host's suffix, and public if the suffix is unknown.
	Cloud string

	// AuthorityHost is the https URL of the Entra authority. If it is empty, it is
	// AZURE_AUTHORITY_HOST or else the cloud's Authority.
	AuthorityHost string

	// Scope is the scope of token requests, which is sent verbatim. If it is empty, it
	// is the cloud's scope, or [CosmosScope] if the server type is cosmos.
	Scope string

	// ServerType is flexible, single or cosmos. If it is empty, it is cosmos for hosts
	// with [CosmosSuffix] and flexible for others.
	ServerType string

	// TokenFile is the path of a file that holds an access token, at most 1 MiB. It is
	// read for every connection. If it is empty in mode access-token, the password is
	// the token.
	TokenFile string

	// TokenMaxAge is how long after its issue a token may be presented. The default is
	// 0, which means until the token expires. For ServerType single it is 5 minutes.
	TokenMaxAge time.Duration

	// TokenTimeout limits one token request, including its retries. It is positive. The
	// default is 30 seconds, for interactive-browser 5 minutes, for device-code 15
	// minutes. If Auth lists several modes, the longest applies.
	TokenTimeout time.Duration

	// Insecure is empty, unverified or plaintext. The default is empty: tokens are sent
	// over verified TLS only. unverified permits TLS without verification. plaintext
	// permits both unverified TLS and connections without TLS.
	Insecure string
}

// Clone returns a deep copy of c.
func (c *Config) Clone() *Config {
	d := *c
	d.Params = maps.Clone(c.Params)
	d.Auth = slices.Clone(c.Auth)
	d.AdditionallyAllowedTenants = slices.Clone(c.AdditionallyAllowedTenants)
	return &d
}

// Host returns the first host of Params, or "" if none is set.
func (c *Config) Host() string {
	host, _, _ := strings.Cut(c.Params["host"], ",")
	return host
}
