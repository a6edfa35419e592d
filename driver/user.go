package driver

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// A user says which role to connect as.
type user struct {
	name       string // of the DSN, PGUSER or a service; or ""
	serverType string
}

// of returns the user name to send to host. Where none is given it is the
// token's own: the managed identity's name, else the person's UPN. Microsoft's
// helpers for Python and .NET derive it so; system-assigned identities are this
// package's addition.
func (u user) of(t *token, host string) (string, error) {
	name := cmp.Or(u.name, t.claims.user())
	if name == "" {
		id := "the token names neither appid nor oid"
		if app := t.claims.application(); app != "" || t.claims.ObjectID != "" {
			id = fmt.Sprintf("the token is of appid %q, oid %q", app, t.claims.ObjectID)
		}
		if t.claims.guest() {
			id += ", a guest's: roles of guests are named as in me_home.com#EXT#@tenant.onmicrosoft.com"
		}
		return "", &Error{Step: StepDSN, Err: errors.New("no user is given, and the token does not tell its name"),
			Hint: "set user to the name of the PostgreSQL role that was made for this identity; " + id}
	}
	if u.serverType != "single" {
		return name, nil
	}
	// Single server wants role@server, even after a UPN. An address has no
	// server name to append: then the user must bring it along.
	server := serverName(host)
	if server == "" || strings.HasSuffix(name, "@"+server) {
		return name, nil
	}
	return name + "@" + server, nil
}

// serverName is the first label of a host, and "" of an address.
func serverName(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	server, _, _ := strings.Cut(host, ".")
	return server
}

func (c claims) user() string {
	switch {
	case c.ManagedIdentity != "":
		return path.Base(c.ManagedIdentity)
	case c.guest():
		return "" // the name at home, not the role's
	}
	return cmp.Or(c.UPN, c.PreferredUsername, c.UniqueName)
}
