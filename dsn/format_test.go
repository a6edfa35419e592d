package dsn

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsAreMasked(t *testing.T) {
	for _, row := range []struct{ name, in string }{
		{"client secret", "aad_auth=client-secret aad_client_secret=" + secret},
		{"certificate password", "aad_auth=client-certificate aad_client_certificate_password=" + secret},
		{"password", "aad_auth=password password=" + secret},
		{"token", "aad_auth=access-token password='" + secret + " x'"},
		{"sslpassword", "sslpassword=" + secret},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := mustParse(t, row.in)
			for _, printed := range []struct{ name, text string }{
				{"String", c.String()},
				{"Sprint", fmt.Sprint(c, *c)},
				{"verbs, pointer", fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c)},
				{"verbs, value", fmt.Sprintf("%v %+v %#v %s %q", *c, *c, *c, *c, *c)},
				{"other verbs", fmt.Sprintf("%d %x %t", c, *c, *c)},
				{"slog", logged(c)},
				{"JSON", marshaled(t, c)},
			} {
				t.Run(printed.name, func(t *testing.T) {
					if strings.Contains(printed.text, secret) {
						t.Errorf("got %s, want no secret", printed.text)
					}
					if !strings.Contains(printed.text, mask) {
						t.Errorf("got %s, want it to contain %s", printed.text, mask)
					}
				})
			}
			t.Run("ConnString", func(t *testing.T) {
				if got := c.ConnString(); strings.Contains(got, secret) {
					t.Errorf("ConnString() = %s, want no secret", got)
				}
			})
			t.Run("DSN", func(t *testing.T) {
				if got := c.DSN(); !strings.Contains(got, secret) {
					t.Errorf("DSN() = %s, want the secret", got)
				}
			})
			t.Run("gob", func(t *testing.T) {
				var encoded strings.Builder
				err := gob.NewEncoder(&encoded).Encode(c)
				if err == nil {
					t.Error("Encode() = nil, want an error")
				}
				if strings.Contains(encoded.String(), secret) {
					t.Errorf("Encode() wrote %q, want no secret", encoded.String())
				}
			})
			t.Run("GobEncode", func(t *testing.T) {
				b, err := c.GobEncode()
				if err == nil {
					t.Error("GobEncode() = nil, want an error")
				}
				if b != nil {
					t.Errorf("GobEncode() = %q, want nil", b)
				}
			})
		})
	}
}

// logged returns what slog writes of c and of its value.
func logged(c *Config) string {
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "pointer", c, "value", *c)
	return log.String()
}

func marshaled(t *testing.T, c *Config) string {
	t.Helper()
	b, err := json.Marshal(struct{ Pointer, Value any }{c, *c})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pgx does not know auto, and is told to negotiate.
func TestConnStringOfAuto(t *testing.T) {
	c, err := Parse("host=h sslnegotiation=auto")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.ConnString(), "host=h sslnegotiation=postgres"; got != want {
		t.Errorf("ConnString() = %q, want %q", got, want)
	}
	if got, want := c.DSN(), "host=h sslnegotiation=auto"; got != want {
		t.Errorf("DSN() = %q, want %q", got, want)
	}
}
