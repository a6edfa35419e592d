package driver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
// addition. There is none where it is not known how Azure names the managed identity.
func (u user) roleFor(t *token.Token, host string) (string, error) {
	name := u.name
	if name == "" {
		name = tokenUser(t.Claims)
	}
	if name == "" {
		return "", newError(StepDSN, errNoUser(t.Claims), nil)
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

// errNoUser says why no user follows from the token.
func errNoUser(c token.Claims) error {
	if c.ManagedIdentity != "" {
		return errors.New("no user is given, and it is not known how Azure names the managed identity of this type of resource: " + describe(c))
	}
	return errors.New("no user is given, and the token does not tell its name: " + describe(c))
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
		return c.ManagedIdentityName()
	}
	if c.Guest() {
		return "" // the token has the name in the home tenant, which is not the role's
	}
	return c.Person()
}

// appTokenForUser reports whether an application signs in with what looks like a person's
// name.
func (x errContext) appTokenForUser() bool {
	name := x.roleWithoutServer()
	return x.claims.AppOnly() && strings.Contains(name, "@") && name != tokenUser(x.claims)
}

// roleWithoutServer is the role without the server's name at its end.
func (x errContext) roleWithoutServer() string {
	suffix := serverSuffix(x.host)
	role := x.role
	for suffix != "" && strings.HasSuffix(role, suffix) {
		role = strings.TrimSuffix(role, suffix)
	}
	return role
}

// otherPerson reports whether a person signs in with what looks like another's name.
func (x errContext) otherPerson() bool {
	name := x.roleWithoutServer()
	return x.claims.Person() != "" && !x.claims.AppOnly() && strings.Contains(name, "@") && !x.isPerson(name) && !x.isGuest(name)
}

// expectedRole is the role as it would be created for the identity that signs in.
func (x errContext) expectedRole() Role {
	r := Role{Name: x.role, Kind: "user", ServerType: x.cloud.ServerType}
	single := r.ServerType == "single"
	if single {
		r.Name = x.roleWithoutServer()
	}
	switch {
	case x.claims.AppOnly() && single:
		r.Kind = "service-principal"
		r.ClientID = x.claims.Application()
	case x.claims.AppOnly():
		r.Kind = "service-principal"
		r.ObjectID = x.claims.ObjectID
	case !single && x.isGuest(r.Name):
		r.ObjectID = x.claims.ObjectID // the tenant does not find a guest by the name at home
	}
	return r
}

// namesItself reports whether the DSN names the person whose token it is. No variable says
// that more clearly.
func (x errContext) namesItself() bool {
	return x.intent.givenUser && !x.claims.Guest() && x.isPerson(x.roleWithoutServer())
}

// isPerson reports whether name is that of the person whose token it is.
func (x errContext) isPerson(name string) bool {
	if x.cloud.ServerType == "single" && strings.Count(name, "@") > 1 {
		name = name[:strings.LastIndex(name, "@")] // of a server whose name the host does not have
	}
	return slices.ContainsFunc(persons(x.claims), func(v string) bool { return v != "" && strings.EqualFold(v, name) })
}

// isGuest reports whether name is that of the guest whose token it is: as at home, or as in
// the tenant. If the token has no name, any person's name may be.
func (x errContext) isGuest(name string) bool {
	if !x.claims.Guest() || x.claims.AppOnly() || !strings.Contains(name, "@") {
		return false
	}
	if x.claims.Person() == "" {
		return true
	}
	return slices.ContainsFunc(persons(x.claims), func(v string) bool {
		v = homeName(v)
		inTenant := strings.ReplaceAll(v, "@", "_") + "#EXT#@"
		return v != "" && (strings.EqualFold(name, v) || (len(name) > len(inTenant) && strings.EqualFold(name[:len(inTenant)], inTenant)))
	})
}

// homeName returns a guest's name at home: me@home.com of live.com#me@home.com and of
// me_home.com#EXT#@contoso.onmicrosoft.com.
func homeName(name string) string {
	local, _, inTenant := strings.Cut(name, "#EXT#@")
	if i := strings.LastIndex(local, "_"); inTenant && i >= 0 {
		return local[:i] + "@" + local[i+1:]
	}
	return name[strings.LastIndex(name, "#")+1:]
}
