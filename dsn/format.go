package dsn

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// mask stands for a secret. It is the word that pgx uses.
const mask = "xxxxx"

// DSN writes the complete DSN, secrets included, as keyword/value pairs sorted
// by name, defaults left out. The result is stable, and Parse of it gives an
// equal Config back.
func (c *Config) DSN() string { return c.write(false) }

// ConnString writes Params for pgx, without password and sslpassword: pgx quotes
// the string in its errors. Hand these two to pgx by its own fields.
func (c *Config) ConnString() string {
	var parts []string
	for name, v := range c.Params {
		if !secretParam(name) {
			parts = append(parts, name+"="+quote(v))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func secretParam(name string) bool { return name == "password" || name == "sslpassword" }

// String writes the DSN as [Config.DSN] does, with secrets masked.
func (c Config) String() string { return c.write(true) }

// Format is String for every verb: %d and %#v would print the fields.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String, so that slog cannot leak.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, so that JSON and its kind cannot leak. It is not meant
// to be read back: that is what [Config.DSN] is for.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// GobEncode refuses: gob would write the fields, and knows no text.
func (c Config) GobEncode() ([]byte, error) {
	return nil, errors.New("dsn: a Config holds secrets and is not written; write its DSN if you must")
}

func (c *Config) write(redact bool) string {
	var parts []string
	add := func(name, v string, secret bool) {
		if secret && redact && v != "" {
			v = mask
		}
		parts = append(parts, name+"="+quote(v))
	}
	for name, v := range c.Params {
		add(name, v, secretParam(name))
	}
	usual := &Config{Auth: c.Auth}
	usual.defaults(c.ServerType)
	usual.Auth = []Mode{Default}
	for _, k := range keys {
		if v := k.get(c); v != k.get(usual) {
			add(k.Name, v, k.Secret)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
