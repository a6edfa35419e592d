package driver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Role describes a PostgreSQL role to create for a Microsoft Entra principal.
type Role struct {
	Name       string // as clients send it, without @servername; at most 63 bytes
	Kind       string // required; one of RoleKinds
	ServerType string // flexible or single; "" means flexible
	Admin      bool   // flexible: an Entra administrator of the server
	ClientID   string // single only: required for an application or managed identity

	// ObjectID is the object ID of the principal, for flexible only. For an application, use
	// the object ID of its service principal, not of the app registration. If it is "", the
	// server looks up Name in the tenant.
	ObjectID string
}

// A roleKind is a row of the table of kinds of principals.
type roleKind struct {
	name        string
	objectType  string // what pgaadauth calls it
	application bool   // it signs in by itself, and is not a person or a group
}

var roleKinds = []roleKind{
	{"user", "user", false},
	{"group", "group", false},
	{"managed-identity", "service", true},
	{"service-principal", "service", true},
}

// RoleKinds returns the kinds of principals that a role can be created for: user, group,
// managed-identity, service-principal.
func RoleKinds() []string {
	names := make([]string, len(roleKinds))
	for i, k := range roleKinds {
		names[i] = k.name
	}
	return names
}

// maxNameBytes is how many bytes of a name PostgreSQL keeps (NAMEDATALEN less one).
const maxNameBytes = 63

// guid matches an object ID. A security label is a list of settings: what stands in it for
// an object ID must be one, or a forged token could add ",admin".
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// check finds the role's kind, or says what is wrong with the role.
func (r Role) check() (roleKind, error) {
	i := slices.IndexFunc(roleKinds, func(k roleKind) bool { return k.name == r.Kind })
	if i < 0 {
		return roleKind{}, fmt.Errorf("kind %q is not known; use user, group, managed-identity or service-principal", r.Kind)
	}
	k := roleKinds[i]
	if r.Name == "" {
		return k, errors.New("the role has no name; pass the one that clients write as user")
	}
	if strings.ContainsRune(r.Name, 0) || !utf8.ValidString(r.Name) {
		return k, fmt.Errorf("role %q has a NUL byte or is not UTF-8; PostgreSQL accepts neither", r.Name)
	}
	if len(r.Name) > maxNameBytes {
		return k, fmt.Errorf("role %q has %d bytes, of which PostgreSQL keeps %d; pass a shorter name, and the object ID of the principal", r.Name, len(r.Name), maxNameBytes)
	}
	if r.ObjectID != "" && !guid.MatchString(r.ObjectID) {
		return k, fmt.Errorf("object ID %q is not a GUID; pass the one that Entra shows", r.ObjectID)
	}
	return k, r.checkServer(k)
}

// checkServer says what is wrong with the role for its kind of server.
func (r Role) checkServer(k roleKind) error {
	switch r.ServerType {
	case "", "flexible":
		if r.ClientID != "" {
			return errors.New("a flexible server knows a principal by its object ID; pass that in place of the client ID, for an application its service principal's (Enterprise Applications)")
		}
	case "single":
		switch {
		case r.Admin:
			return errors.New("SQL cannot make the Entra administrator of a single server; set it in the Azure portal")
		case r.ObjectID != "":
			return errors.New("a single server finds users and groups by name and applications by client ID; remove the object ID")
		case k.application && r.ClientID == "":
			return errors.New("a single server knows an application by its client ID; pass it")
		case !k.application && r.ClientID != "":
			return fmt.Errorf("a %s has no client ID; remove it", k.name)
		}
	case "cosmos":
		return errors.New("SQL cannot make Entra roles on Azure Cosmos DB for PostgreSQL; add the identity under Authentication in the Azure portal")
	default:
		return fmt.Errorf("server type %q is not known; use flexible or single", r.ServerType)
	}
	return nil
}

// SQL returns the statements that create the role, each with its semicolon. Run them in
// database postgres as an Entra administrator of the server. Names are quoted as SQL
// identifiers or literals. The statements are those that Azure documents. An error states
// which field is invalid, and is not an [*Error].
func (r Role) SQL() ([]string, error) {
	k, err := r.check()
	if err != nil {
		return nil, err
	}
	switch {
	case r.ServerType == "single" && k.application:
		return []string{"SET aad_validate_oids_in_tenant = off;",
			"CREATE ROLE " + quoteIdentifier(r.Name) + " WITH LOGIN PASSWORD " + quoteLiteral(r.ClientID) + " IN ROLE azure_ad_user;"}, nil
	case r.ServerType == "single":
		return []string{"CREATE USER " + quoteIdentifier(r.Name) + " IN ROLE azure_ad_user;"}, nil
	case r.ObjectID != "":
		return []string{fmt.Sprintf("SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid(%s, %s, '%s', %t, false);",
			quoteLiteral(r.Name), quoteLiteral(r.ObjectID), k.objectType, r.Admin)}, nil
	}
	return []string{fmt.Sprintf("SELECT * FROM pg_catalog.pgaadauth_create_principal(%s, %t, false);", quoteLiteral(r.Name), r.Admin)}, nil
}

// rebind returns the statements that give an existing role to the principal.
func (r Role) rebind() ([]string, error) {
	k, err := r.check()
	if err != nil {
		return nil, err
	}
	name := quoteIdentifier(r.Name)
	switch {
	case r.ServerType == "single" && k.application:
		return []string{"SET aad_validate_oids_in_tenant = off;", "ALTER ROLE " + name + " PASSWORD " + quoteLiteral(r.ClientID) + ";"}, nil
	case r.ServerType == "single": // it looks the object ID up again
		return []string{"REVOKE azure_ad_user FROM " + name + ";", "GRANT azure_ad_user TO " + name + ";"}, nil
	case r.ObjectID == "":
		return nil, errors.New("the principal's object ID is not known; pass it")
	}
	label := "aadauth,oid=" + r.ObjectID + ",type=" + k.objectType
	if r.Admin {
		label += ",admin"
	}
	return []string{`SECURITY LABEL FOR "pgaadauth" ON ROLE ` + name + " IS " + quoteLiteral(label) + ";"}, nil
}
