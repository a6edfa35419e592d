package dsn

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// validate checks the settings of a DSN together. settings are the values as written,
// from which c was made.
func (c *Config) validate(settings map[string]string) error {
	for i := range keys {
		name := keys[i].Name
		if _, set := settings[name]; set && !c.reads(name) {
			return fmt.Errorf("key %q is not used by aad_auth=%s; remove it, or set a mode that uses it: %s%s",
				name, (*modeList)(&c.Auth), strings.Join(modesThatRead(name), ", "), c.unusedHint(name))
		}
	}
	if len(c.Auth) > 1 {
		for _, m := range []Mode{AccessToken, Password} {
			if slices.Contains(c.Auth, m) {
				return fmt.Errorf("mode %q cannot be in a list; set it alone", m)
			}
		}
	}
	if jwtPattern.MatchString(c.Password.Value()) && !c.readsPassword() {
		return fmt.Errorf("the password is a token, but aad_auth=%s requests its own; set aad_auth=access-token to present this one, or remove the password",
			(*modeList)(&c.Auth))
	}
	if c.Password != (Secret{}) && !c.readsPassword() {
		return fmt.Errorf("a password is set, but aad_auth=%s authenticates with a token; remove the password, or set aad_auth=password to use it",
			(*modeList)(&c.Auth))
	}
	if c.Auth[0] != Password && c.Params["channel_binding"] == "require" {
		return errChannelBinding(subject("channel_binding"))
	}
	if err := c.validateIDs(); err != nil {
		return err
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

// unusedHint says more about a key that the modes do not use.
func (c *Config) unusedHint(key string) string {
	isID := key == "aad_client_id" || key == "aad_object_id" || key == "aad_resource_id"
	if isID && c.Auth[0] == Default {
		return "; for a managed identity set aad_auth=managed-identity, because aad_auth=default takes the client ID from AZURE_CLIENT_ID alone"
	}
	return ""
}

// errChannelBinding is about channel_binding=require beside a token. subject names the
// setting or the variable.
func errChannelBinding(subject string) error {
	return fmt.Errorf("%s is require, which only SCRAM can do; remove it, because a token is sent as it is, inside of TLS", subject)
}

var guid = regexp.MustCompile(`^(?i)\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?$`)

// validateIDs checks that an ID is not one that another key takes.
func (c *Config) validateIDs() error {
	for _, id := range []struct{ key, value string }{{"aad_client_id", c.ClientID}, {"aad_object_id", c.ObjectID}} {
		if strings.HasPrefix(strings.ToLower(id.value), "/subscriptions/") {
			return fmt.Errorf("key %q is a resource ID; write it as aad_resource_id", id.key)
		}
	}
	if guid.MatchString(c.ResourceID) {
		return errors.New(`key "aad_resource_id" is a GUID; write a client ID as aad_client_id, and an object ID as aad_object_id`)
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
