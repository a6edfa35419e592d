// Package dsn reads and writes the data source names of the aadpostgres
// driver: everything that pgx accepts, as a URL or as keyword/value pairs, plus
// keys that begin with aad_ and say how to sign in with Microsoft Entra.
//
//	host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity
//	postgres://app.postgres.database.azure.com/app?aad_auth=azure-cli
//	aadpostgres://app.postgres.database.azure.com/app
//
// [Parse] looks at the string alone; [ParseEnv] adds what the environment and
// a connection service file say, as a connector does. Both are pure: they dial
// nothing and read nothing that they are not handed.
//
// No error of this package quotes a value that may be a secret.
package dsn

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Config is what a DSN says. [Parse] fills in the defaults, so a zero field
// means that nothing was said and that there is no default. Reading is safe for
// concurrent use; change a [Config.Clone] of one that is shared.
//
// Printing one by any route (any verb of fmt, slog, JSON) masks its secrets;
// only [Config.DSN] writes them. A field printed by itself is not masked.
type Config struct {
	// Params are the settings of libpq and pgx under libpq's names, such as host,
	// port, user, password, dbname, sslmode, search_path. No name begins with
	// aad_. Never nil after Parse.
	Params map[string]string

	// Auth lists the modes to try in order. Never empty: default is [Default].
	Auth []Mode

	TenantID      string // Entra tenant: a GUID or a domain
	ClientID      string // application, or user-assigned managed identity
	ObjectID      string // user-assigned managed identity, by object id
	ResourceID    string // user-assigned managed identity, by ARM resource id
	ClientSecret  string // secret of an application
	LoginHint     string // account to offer in the browser
	RedirectURL   string // where the browser returns to
	Subscription  string // Azure CLI subscription, by name or id
	Scope         string // scope to ask a token for, verbatim; else the cloud's
	AuthorityHost string // https URL of the authority; else the cloud's

	ClientCertificate         string // path of a PEM or PKCS#12 file
	ClientCertificatePassword string // password of that file
	SendCertificateChain      bool   // send the chain (subject name and issuer sign-in)
	FederatedTokenFile        string // path of a workload identity's token
	ServiceConnectionID       string // Azure Pipelines service connection

	// AdditionallyAllowedTenants may be signed in to beside TenantID; "*" is all.
	AdditionallyAllowedTenants []string
	// DisableInstanceDiscovery trusts the authority without asking Microsoft's
	// public cloud about it.
	DisableInstanceDiscovery bool

	// Cloud is auto or the Name of one of [Clouds]. Default auto: by the host's
	// suffix, else public.
	Cloud string
	// ServerType is flexible, single or cosmos. Default empty: cosmos by the
	// host's suffix, else flexible.
	ServerType string

	// TokenFile is the path of a file that holds an access token. It is read for
	// every connection.
	TokenFile string
	// TokenMaxAge is how old a token may be when it is presented. Default 0,
	// until it expires; 5 minutes when ServerType is single.
	TokenMaxAge time.Duration
	// TokenTimeout bounds one token request with all its retries. Default 30s; 5m
	// for interactive-browser and 15m for device-code, which wait for a person.
	TokenTimeout time.Duration

	// Insecure is empty, unverified (TLS without verification) or plaintext (no
	// TLS). Default empty: a token travels over verified TLS only.
	Insecure string
}

// Parse reads a DSN by itself, without environment or files. The empty string is
// valid: then the environment has to say all, down to the host.
//
// An error is one line, says what to do, and holds no secret.
func Parse(s string) (*Config, error) { return parse(s, nil) }

// ParseEnv reads a DSN as a connector does. What s says comes first, then the
// section of the connection service file that s or PGSERVICE names, then PGHOST,
// PGUSER and PGSSLMODE. A key that the mode cannot do without is at last read
// from its AZURE_ variable; if that is unset too, it is an error. The other PG
// variables and the password file are left to pgx.
//
// An error is as one of [Parse].
func ParseEnv(s string, env Env) (*Config, error) { return parse(s, &env) }

func parse(s string, env *Env) (*Config, error) {
	said, err := split(s)
	if err != nil {
		return nil, err
	}
	given, err := collect(said)
	if err != nil {
		return nil, err
	}
	named := given["service"] != ""
	if env != nil {
		if given, err = env.below(given); err != nil {
			return nil, err
		}
	}
	c := &Config{Params: map[string]string{}, Auth: []Mode{Default}}
	if auth, ok := given["aad_auth"]; ok {
		if err := lookup("aad_auth").set(c, auth); err != nil {
			return nil, err
		}
	}
	c.defaults(given["aad_server_type"])
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if k := lookup(name); k == nil {
			c.Params[name] = given[name]
		} else if err := k.set(c, given[name]); err != nil {
			return nil, err
		}
	}
	// A service may still name the mode: then only ParseEnv can judge the keys.
	if env != nil || !named || given["aad_auth"] != "" {
		err = c.check(given)
	}
	if err == nil && env != nil {
		err = c.need(env.Getenv)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// defaults sets what holds when nothing is said, for the modes in Auth and a
// server of that type.
func (c *Config) defaults(serverType string) {
	c.Cloud, c.TokenTimeout = "auto", 30*time.Second
	for _, m := range c.Auth {
		if info := lookupMode(string(m)); info != nil {
			c.TokenTimeout = max(c.TokenTimeout, info.Timeout)
		}
	}
	if strings.EqualFold(serverType, "single") {
		c.TokenMaxAge = 5 * time.Minute
	}
}

// A pair is one setting as it was written.
type pair struct{ name, value string }

// split takes a DSN apart, by its form.
func split(s string) ([]pair, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return nil, errors.New("the DSN holds a NUL byte; remove it")
	}
	if strings.HasPrefix(s, "jdbc:") {
		return nil, errors.New("the DSN is a JDBC URL; write it without jdbc:, and the user before the host, as in postgres://user@host/database")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return splitKeywords(s)
	}
	switch scheme {
	case "postgres", "postgresql", "aadpostgres":
		return splitURL(rest)
	}
	return nil, fmt.Errorf("scheme %q is not known; use postgres://, postgresql:// or aadpostgres://", scheme+"://")
}

func isScheme(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+.-") == ""
}

// collect turns pairs into settings. As in libpq the last of two settings of
// one name wins, but a sign-in key given twice is an error: two answers to "who
// am I" are one too many.
func collect(said []pair) (map[string]string, error) {
	given := make(map[string]string, len(said))
	for _, p := range said {
		name := p.name
		if name == "database" {
			name = "dbname"
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		if name == "host" && strings.Contains(p.value, ";") {
			return nil, errors.New("the host holds a semicolon; write spaces between the pairs: host=app.postgres.database.azure.com dbname=app")
		}
		if _, twice := given[name]; twice && lookup(name) != nil {
			return nil, fmt.Errorf("key %q is given twice; keep one", name)
		}
		if name == "user" && p.value == "" {
			continue // libpq reads an empty user as none
		}
		given[name] = p.value
	}
	// The first @ of a URL ends the user, so a second one lands in the host.
	// What stands around it may be a password: do not quote it.
	if strings.Contains(given["host"], "@") {
		return nil, fmt.Errorf("the host holds an @; write each @ of a user name or password as %%40, as in me%%40contoso.com@host")
	}
	return given, nil
}

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() *Config {
	d := *c
	d.Params = maps.Clone(c.Params)
	d.Auth = slices.Clone(c.Auth)
	d.AdditionallyAllowedTenants = slices.Clone(c.AdditionallyAllowedTenants)
	return &d
}

// Host returns the first host, or the empty string when none is named.
func (c *Config) Host() string {
	host, _, _ := strings.Cut(c.Params["host"], ",")
	return host
}
