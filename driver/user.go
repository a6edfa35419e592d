package driver

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A user says which role to sign in as.
type user struct {
	name       string // of the DSN, PGUSER or a service; "" to take it from the token
	serverType string
}

// roleFor returns the user name to send to host with t. Where none is given it is the
// token's own: the managed identity's name, else the person's UPN. Microsoft's helpers
// for Python and .NET derive it so; system-assigned identities are this package's
// addition.
func (u user) roleFor(t *token.Token, host string) (string, error) {
	name := u.name
	if name == "" {
		name = tokenUser(t.Claims)
	}
	if name == "" {
		return "", newError(StepDSN, errors.New("no user is given, and the token does not tell its name: "+describe(t.Claims)), nil)
	}
	if u.serverType != "single" {
		return name, nil
	}
	// Single server needs role@server, even after a UPN. An address has no server name
	// to append: then the user must have it.
	suffix := serverSuffix(host)
	if strings.HasSuffix(name, suffix) {
		return name, nil
	}
	return name + suffix, nil
}

// describe says whose token has no name.
func describe(c token.Claims) string {
	kind := "it is"
	if c.Guest() {
		kind = "it is a guest's,"
	}
	if c.Application() == "" && c.ObjectID == "" {
		return kind + " without appid and oid"
	}
	return fmt.Sprintf("%s of appid %q, oid %q", kind, c.Application(), c.ObjectID)
}

// serverSuffix is what single server needs after a user's name: @ and the first label of
// the host. It is "" for an address.
func serverSuffix(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	server, _, _ := strings.Cut(host, ".")
	if server == "" {
		return ""
	}
	return "@" + server
}

// tokenUser returns the name of a role that follows from the token, or "".
func tokenUser(c token.Claims) string {
	if c.ManagedIdentity != "" {
		return path.Base(c.ManagedIdentity)
	}
	if c.Guest() {
		return "" // the token has the name in the home tenant, which is not the role's
	}
	return c.Person()
}
