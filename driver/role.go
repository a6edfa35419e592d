package driver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Role is a PostgreSQL role to be made for a principal of Microsoft Entra.
type Role struct {
	Name       string // as clients will write it, without @servername
	Kind       string // one of RoleKinds
	ServerType string // flexible, also if empty, or single
	Admin      bool   // flexible: an Entra administrator of the server
	ObjectID   string // flexible: of the principal (of an application: its service principal's); if empty the server looks Name up in the tenant
	ClientID   string // single: of an application or managed identity
}

// A roleKind is a row of the table of principals that a role can be made for.
type roleKind struct {
	name        string
	object      string // what pgaadauth calls it
	application bool   // signs in by itself
}

var roleKinds = []roleKind{
	{"user", "user", false},
	{"group", "group", false},
	{"managed-identity", "service", true},
	{"service-principal", "service", true},
}

// RoleKinds lists the kinds of principals that a role can be made for: user, group,
// managed-identity, service-principal.
func RoleKinds() []string {
	names := make([]string, len(roleKinds))
	for i, k := range roleKinds {
		names[i] = k.name
	}
	return names
}

// maxName is how many bytes PostgreSQL keeps of a name.
const maxName = 63

// A label is a list of settings: what stands in it for a GUID must be one, lest a
// made-up token say ",admin" there.
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// check finds the role's kind, or says what is wrong with the role.
func (r Role) check() (roleKind, error) {
	i := slices.IndexFunc(roleKinds, func(k roleKind) bool { return k.name == r.Kind })
	switch {
	case i < 0:
		return roleKind{}, fmt.Errorf("kind %q is not known; use user, group, managed-identity or service-principal", r.Kind)
	case r.Name == "":
		return roleKind{}, errors.New("the role has no name; give the one that clients will write as user")
	case strings.ContainsRune(r.Name, 0) || !utf8.ValidString(r.Name):
		return roleKind{}, fmt.Errorf("role %q has a NUL byte or is no UTF-8; PostgreSQL takes neither", r.Name)
	case len(r.Name) > maxName:
		return roleKind{}, fmt.Errorf("role %q has %d bytes, of which PostgreSQL keeps %d; give a shorter name, and the object id by which the principal is found", r.Name, len(r.Name), maxName)
	}
	k := roleKinds[i]
	if r.ObjectID != "" && !guid.MatchString(r.ObjectID) {
		return k, fmt.Errorf("object id %q is no GUID; give the one that Entra shows", r.ObjectID)
	}
	switch r.ServerType {
	case "", "flexible":
		if r.ClientID != "" {
			return k, errors.New("flexible server knows a principal by its object id; give that, an application's being its service principal's (Enterprise Applications), in place of the client id")
		}
	case "single":
		switch {
		case r.Admin:
			return k, errors.New("single server's Entra administrator is not made by SQL; set it in the Azure portal")
		case r.ObjectID != "":
			return k, errors.New("single server finds users and groups by name and applications by client id; leave the object id out")
		case k.application && r.ClientID == "":
			return k, errors.New("single server knows an application by its client id; give it")
		case !k.application && r.ClientID != "":
			return k, fmt.Errorf("a %s has no client id; leave it out", k.name)
		}
	case "cosmos":
		return k, errors.New("no SQL makes Entra roles on Azure Cosmos DB for PostgreSQL; add the identity under Authentication in the Azure portal")
	default:
		return k, fmt.Errorf("server type %q is not known; use flexible or single", r.ServerType)
	}
	return k, nil
}

// SQL returns the statements that make the role, to be run by an Entra
// administrator of the server in database postgres. Names are quoted whatever they
// hold. The functions and recipes are those that Azure documents. An error says what
// is wrong with the fields.
func (r Role) SQL() ([]string, error) {
	k, err := r.check()
	if err != nil {
		return nil, err
	}
	switch {
	case r.ServerType == "single" && k.application:
		return []string{"SET aad_validate_oids_in_tenant = off;",
			"CREATE ROLE " + quoteName(r.Name) + " WITH LOGIN PASSWORD " + quoteText(r.ClientID) + " IN ROLE azure_ad_user;"}, nil
	case r.ServerType == "single":
		return []string{"CREATE USER " + quoteName(r.Name) + " IN ROLE azure_ad_user;"}, nil
	case r.ObjectID != "":
		return []string{fmt.Sprintf("SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid(%s, %s, '%s', %t, false);",
			quoteText(r.Name), quoteText(r.ObjectID), k.object, r.Admin)}, nil
	}
	return []string{fmt.Sprintf("SELECT * FROM pg_catalog.pgaadauth_create_principal(%s, %t, false);", quoteText(r.Name), r.Admin)}, nil
}

// rebind returns the statements that give an existing role to the principal.
func (r Role) rebind() ([]string, error) {
	k, err := r.check()
	if err != nil {
		return nil, err
	}
	name := quoteName(r.Name)
	switch {
	case r.ServerType == "single" && k.application:
		return []string{"SET aad_validate_oids_in_tenant = off;", "ALTER ROLE " + name + " PASSWORD " + quoteText(r.ClientID) + ";"}, nil
	case r.ServerType == "single": // which looks the object id up again
		return []string{"REVOKE azure_ad_user FROM " + name + ";", "GRANT azure_ad_user TO " + name + ";"}, nil
	case r.ObjectID == "":
		return nil, errors.New("the principal's object id is not known; give it")
	}
	label := "aadauth,oid=" + r.ObjectID + ",type=" + k.object
	if r.Admin {
		label += ",admin"
	}
	return []string{`SECURITY LABEL FOR "pgaadauth" ON ROLE ` + name + " IS " + quoteText(label) + ";"}, nil
}

// quoteName writes an identifier. What does not print is escaped, so that a
// terminal shows all of it.
func quoteName(s string) string {
	if printable(s) {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"':
			b.WriteString(`""`)
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\+%06X`, r)
		}
	}
	return `U&"` + b.String() + `"`
}

// quoteText writes a literal that means the same whatever
// standard_conforming_strings says.
func quoteText(s string) string {
	if printable(s) && !strings.Contains(s, `\`) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	return "E'" + b.String() + "'"
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
