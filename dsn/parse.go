package dsn

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Parse parses a DSN without the environment and without reading files. The empty
// string is valid: it stands for a DSN whose settings all come from the environment.
// Parse does not check that keys which a mode requires are set, because the
// environment may set them. White space around the DSN is ignored.
//
// An error is one line. It says what to do and contains no secret.
func Parse(s string) (*Config, error) { return parse(s, nil) }

// ParseEnv parses a DSN as a connector does, with the environment and a connection
// service file. A setting comes from the first of these that has it:
//
//  1. the DSN
//  2. the section of the connection service file that service or PGSERVICE names. The
//     file is servicefile or PGSERVICEFILE, by default .pg_service.conf in the home
//     directory, which HOME names. On Windows it is postgresql\.pg_service.conf in APPDATA,
//     and .pg_service.conf in USERPROFILE if that does not exist
//  3. PGHOST, PGUSER, PGSSLMODE, PGSERVICE or PGSERVICEFILE
//  4. if the mode requires the key, the variable of [Key.Env]. In mode azure-pipelines, a
//     variable that begins with AZURESUBSCRIPTION_ comes first
//
// It is an error if a key that the mode requires is not set by any of them. pgx itself
// reads the other PG variables and the password file.
//
// ParseEnv reads the file that the DSN names as its servicefile. Do not pass a DSN
// from an untrusted source. Errors have the form that [Parse] describes.
func ParseEnv(s string, env Env) (*Config, error) { return parse(s, &env) }

// parse reads no environment if env is nil.
func parse(s string, env *Env) (*Config, error) {
	pairs, err := split(s)
	if err != nil {
		return nil, err
	}
	settings, err := collect(pairs)
	if err != nil {
		return nil, err
	}
	// A service that is not read here may set aad_auth, on which the checks depend.
	modeUnknown := env == nil && settings["service"] != "" && settings["aad_auth"] == ""
	if env != nil {
		settings, err = env.merge(settings)
		if err != nil {
			return nil, err
		}
	}
	c, err := newConfig(settings)
	if err != nil {
		return nil, err
	}
	if !modeUnknown {
		if err := c.validate(settings); err != nil {
			return nil, err
		}
	}
	if env != nil {
		if err := c.checkVariables(env.Getenv); err != nil {
			return nil, err
		}
		if err := c.resolveRequired(env.Getenv); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func newConfig(settings map[string]string) (*Config, error) {
	c := &Config{Params: map[string]string{}, Auth: []Mode{Default}}
	// The modes are set before the defaults, which depend on them.
	if auth, set := settings["aad_auth"]; set {
		if err := lookupKey("aad_auth").set(c, auth); err != nil {
			return nil, err
		}
	}
	c.setDefaults(settings["aad_server_type"])
	for _, name := range slices.Sorted(maps.Keys(settings)) { // sorted, so that of several errors the same is returned
		if s := c.secretParams()[name]; s != nil {
			*s = NewSecret(settings[name])
			continue
		}
		k := lookupKey(name)
		if k == nil {
			c.Params[name] = settings[name]
			continue
		}
		if err := k.set(c, settings[name]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// setDefaults sets the defaults for the modes in c.Auth and that aad_server_type.
func (c *Config) setDefaults(serverType string) {
	c.Cloud = "auto"
	c.TokenTimeout = 30 * time.Second
	for _, m := range c.Auth {
		if info := lookupMode(string(m)); info != nil {
			c.TokenTimeout = max(c.TokenTimeout, info.Timeout)
		}
	}
	if strings.EqualFold(serverType, "single") {
		c.TokenMaxAge = 5 * time.Minute
	}
}
