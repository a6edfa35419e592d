package dsn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// validate checks the settings of a DSN together. settings are the values as written,
// from which c was made.
func (c *Config) validate(settings map[string]string) error {
	for i := range keys {
		name := keys[i].Name
		if _, set := settings[name]; set && !c.reads(name) {
			return fmt.Errorf("key %q is not used by aad_auth=%s; remove it, or set a mode that uses it: %s",
				name, (*modeList)(&c.Auth), strings.Join(modesThatRead(name), ", "))
		}
	}
	if len(c.Auth) > 1 {
		for _, m := range []Mode{AccessToken, Password} {
			if slices.Contains(c.Auth, m) {
				return fmt.Errorf("mode %q cannot be in a list; set it alone", m)
			}
		}
	}
	if c.Params["password"] != "" && !c.readsPassword() {
		return fmt.Errorf("a password is set, but aad_auth=%s authenticates with a token; remove the password, or set aad_auth=password to use it",
			(*modeList)(&c.Auth))
	}
	ids := 0
	for _, id := range []string{c.ClientID, c.ObjectID, c.ResourceID} {
		if id != "" {
			ids++
		}
	}
	if ids > 1 {
		return errors.New("a managed identity has more than one ID; keep one of aad_client_id, aad_object_id, aad_resource_id")
	}
	return nil
}

// reads reports whether one of the modes reads that key.
func (c *Config) reads(key string) bool {
	return slices.ContainsFunc(c.Auth, func(m Mode) bool { return lookupMode(string(m)).reads(key) })
}

// readsPassword reports whether the mode uses the setting password.
func (c *Config) readsPassword() bool {
	switch c.Auth[0] {
	case Password:
		return true
	case AccessToken:
		return c.TokenFile == ""
	}
	return false
}

func modesThatRead(key string) []string {
	var names []string
	for i := range modes {
		if modes[i].reads(key) {
			names = append(names, string(modes[i].Name))
		}
	}
	return names
}
