package dsn

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEveryKeyIsInATestRow(t *testing.T) {
	for _, k := range Keys() {
		t.Run(k.Name, func(t *testing.T) {
			for _, row := range valid {
				if strings.Contains(row.out, k.Name+"=") {
					return
				}
			}
			t.Errorf("no row of valid has %s in its out, want one", k.Name)
		})
	}
}

func TestModeNames(t *testing.T) {
	for _, m := range Modes() {
		for _, name := range append([]string{string(m.Name)}, m.Aliases...) {
			for _, in := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
				t.Run(in, func(t *testing.T) {
					c := mustParse(t, "host=h aad_auth="+in)
					if want := []Mode{m.Name}; !reflect.DeepEqual(c.Auth, want) {
						t.Errorf("Auth = %v, want %v", c.Auth, want)
					}
					if again := mustParse(t, c.DSN()); !reflect.DeepEqual(again, c) {
						t.Errorf("Parse(%q) = %v, want %v", c.DSN(), again, c)
					}
				})
			}
		}
	}
}

func TestModesHaveKnownKeys(t *testing.T) {
	for _, m := range Modes() {
		t.Run(string(m.Name), func(t *testing.T) {
			for _, key := range slices.Concat(m.Keys, m.Required) {
				if !slices.Contains(keyNames(), key) {
					t.Errorf("key %s is not in Keys()", key)
				}
			}
		})
	}
}

// A mode accepts the keys that its row of the table has, and those of every token mode.
// It rejects all others.
func TestKeysOfModes(t *testing.T) {
	everyTokenMode := []string{"aad_cloud", "aad_scope", "aad_server_type", "aad_token_max_age", "aad_token_timeout", "aad_insecure"}
	for _, m := range Modes() {
		accepted := slices.Concat(m.Keys, everyTokenMode)
		if m.Name == Password {
			accepted = nil
		}
		for _, k := range Keys() {
			if k.Name == "aad_auth" {
				continue
			}
			t.Run(string(m.Name)+"/"+k.Name, func(t *testing.T) {
				in := "aad_auth=" + string(m.Name) + " " + k.Name + "=" + exampleValue(k.Name)
				_, err := Parse(in)
				if want := slices.Contains(accepted, k.Name); (err == nil) != want {
					t.Errorf("Parse(%q) = %v, want accepted: %t", in, err, want)
				}
			})
		}
	}
}

// exampleValue returns a valid value of a key.
func exampleValue(key string) string {
	switch key {
	case "aad_redirect_url":
		return "http://localhost"
	case "aad_authority_host":
		return "https://h"
	case "aad_cloud":
		return "public"
	case "aad_server_type":
		return "single"
	case "aad_token_max_age", "aad_token_timeout":
		return "1m"
	case "aad_insecure":
		return "plaintext"
	case "aad_disable_instance_discovery", "aad_send_certificate_chain":
		return "true"
	}
	return "x"
}
