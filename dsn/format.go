package dsn

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// mask replaces a secret. pgx masks with the same word.
const mask = "xxxxx"

// DSN returns the complete DSN, including secrets, as keyword/value pairs sorted by
// name. Values that are defaults are left out. DSN does not validate c. If c is valid,
// [Parse] of the result returns an equal Config. The DSN of a Config from [ParseEnv]
// contains the settings from the environment too, including secrets.
func (c *Config) DSN() string { return c.write(false) }

// ConnString returns Params as a connection string for pgx, with sslnegotiation=postgres
// for auto, which pgx does not know. It contains no secret,
// because pgx quotes connection strings in its errors. Pass the Password in
// pgx.ConnConfig.Password, and the SSLPassword with GetSSLPassword of
// pgx.ParseConfigOptions.
func (c *Config) ConnString() string {
	var parts []string
	for name, v := range c.Params {
		if name == "sslnegotiation" && v == "auto" {
			v = "postgres" // auto is this driver's
		}
		if !looksSecret(name) {
			parts = append(parts, name+"="+quote(v))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// secretParams returns the settings of pgx that are secrets, by name.
func (c *Config) secretParams() map[string]*Secret {
	return map[string]*Secret{"password": &c.Password, "sslpassword": &c.SSLPassword}
}

// String returns the DSN as [Config.DSN] does, with secrets masked.
func (c Config) String() string { return c.write(true) }

// Format prints [Config.String] for every verb of fmt, because %d and %#v would print
// the fields.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue returns [Config.String] for log/slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns [Config.String] for encoding/json and other encodings of text.
// Secrets are masked, so the result cannot be parsed again: use [Config.DSN] for that.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// GobEncode always returns an error, because encoding/gob would encode the fields,
// including secrets.
func (c Config) GobEncode() ([]byte, error) {
	return nil, errors.New("dsn: a Config contains secrets and is not encoded; encode its DSN if you must")
}

func (c *Config) write(redact bool) string {
	var parts []string
	add := func(name, v string, secret bool) {
		if secret && redact && v != "" {
			v = mask
		}
		parts = append(parts, name+"="+quote(v))
	}
	secrets := c.secretParams()
	for name, v := range c.Params {
		if s := secrets[name]; s != nil && *s != (Secret{}) {
			continue // the field applies
		}
		add(name, v, looksSecret(name))
	}
	for name, s := range secrets {
		if v := s.Value(); v != "" {
			add(name, v, true)
		}
	}
	defaults := &Config{Auth: c.Auth}
	defaults.setDefaults(c.ServerType)
	defaults.Auth = []Mode{Default}
	for _, k := range keys {
		if v := k.get(c); v != k.get(defaults) {
			add(k.Name, v, k.Secret)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
