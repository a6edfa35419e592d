package driver

import (
	"strings"
	"testing"
)

const objectID = "00000000-0000-0000-0000-00000000000a"

// The SQL of a role quotes all that its fields hold.
func TestRoleSQL(t *testing.T) {
	for _, tt := range []struct {
		name string
		role Role
		want string // the statements
	}{
		{"user", Role{Kind: "user", Name: "me@contoso.com"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('me@contoso.com', false, false);`},
		{"group, admin", Role{Kind: "group", Name: "Admins", Admin: true}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('Admins', true, false);`},
		{"managed identity by name", Role{Kind: "managed-identity", Name: "billing"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('billing', false, false);`},
		{"managed identity by object ID", Role{Kind: "managed-identity", Name: "any", ObjectID: objectID, ServerType: "flexible"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('any', '00000000-0000-0000-0000-00000000000a', 'service', false, false);`},
		{"service principal by object ID, admin", Role{Kind: "service-principal", Name: "any", ObjectID: objectID, Admin: true}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('any', '00000000-0000-0000-0000-00000000000a', 'service', true, false);`},
		{"group by object ID", Role{Kind: "group", Name: "g", ObjectID: objectID}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('g', '00000000-0000-0000-0000-00000000000a', 'group', false, false);`},
		{"Single Server, user", Role{Kind: "user", Name: "u@t.onmicrosoft.com", ServerType: "single"}, `CREATE USER "u@t.onmicrosoft.com" IN ROLE azure_ad_user;`},
		{"Single Server, group", Role{Kind: "group", Name: "Prod DB", ServerType: "single"}, `CREATE USER "Prod DB" IN ROLE azure_ad_user;`},
		{"Single Server, managed identity", Role{Kind: "managed-identity", Name: "myuser", ServerType: "single", ClientID: "c"}, `SET aad_validate_oids_in_tenant = off; CREATE ROLE "myuser" WITH LOGIN PASSWORD 'c' IN ROLE azure_ad_user;`},
		{"SQL in the name", Role{Kind: "user", Name: `x', true, true); DROP ROLE y; --`}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('x'', true, true); DROP ROLE y; --', false, false);`},
		{"backslash in the name", Role{Kind: "user", Name: `\' OR 1=1 --`}, `SELECT * FROM pg_catalog.pgaadauth_create_principal(E'\\'' OR 1=1 --', false, false);`},
		{"control characters in the name", Role{Kind: "user", Name: "a\nb\x1b[31m\u202e"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal(E'a\U0000000Ab\U0000001B[31m\U0000202E', false, false);`},
		{"Single Server, SQL in the name", Role{Kind: "user", Name: `x" SUPERUSER; --`, ServerType: "single"}, `CREATE USER "x"" SUPERUSER; --" IN ROLE azure_ad_user;`},
		{"Single Server, control characters in the name", Role{Kind: "user", Name: "a\t\"\\", ServerType: "single"}, `CREATE USER U&"a\+000009""\\" IN ROLE azure_ad_user;`},
		{"Single Server, SQL in the client ID", Role{Kind: "service-principal", Name: "s", ServerType: "single", ClientID: `c' SUPERUSER --`}, `SET aad_validate_oids_in_tenant = off; CREATE ROLE "s" WITH LOGIN PASSWORD 'c'' SUPERUSER --' IN ROLE azure_ad_user;`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			statements, err := tt.role.SQL()
			if err != nil {
				t.Fatalf("SQL() = %v, want no error", err)
			}
			if got := strings.Join(statements, " "); got != tt.want {
				t.Errorf("SQL() = %s\nwant    %s", got, tt.want)
			}
		})
	}
}

// A role that the server would not make, or would make differently, has no SQL.
func TestRoleSQLErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		role Role
		want string // in the error
	}{
		{"unknown kind", Role{Kind: "robot", Name: "r"}, `kind "robot" is not known; use user, group, managed-identity or service-principal`},
		{"no name", Role{Kind: "user"}, "has no name"},
		{"NUL byte", Role{Kind: "user", Name: "a\x00"}, "NUL byte"},
		{"not UTF-8", Role{Kind: "user", Name: "a\xff"}, "not UTF-8"},
		{"name too long", Role{Kind: "user", Name: strings.Repeat("ä", 32)}, "has 64 bytes, of which PostgreSQL keeps 63"},
		{"unknown server type", Role{Kind: "user", Name: "u", ServerType: "Flexible"}, "is not known; use flexible or single"},
		{"Cosmos DB", Role{Kind: "user", Name: "u", ServerType: "cosmos"}, "in the Azure portal"},
		{"client ID without Single Server", Role{Kind: "managed-identity", Name: "m", ClientID: "c"}, "in place of the client ID"},
		{"Single Server, application without client ID", Role{Kind: "managed-identity", Name: "m", ServerType: "single"}, "by its client ID; pass it"},
		{"Single Server, user with client ID", Role{Kind: "user", Name: "m", ServerType: "single", ClientID: "c"}, "has no client ID"},
		{"object ID is not a GUID", Role{Kind: "user", Name: "m", ObjectID: "the name"}, "is not a GUID"},
		{"object ID with an option", Role{Kind: "user", Name: "m", ObjectID: objectID + ",admin"}, "is not a GUID"},
		{"Single Server, object ID", Role{Kind: "user", Name: "m", ServerType: "single", ObjectID: objectID}, "remove the object ID"},
		{"Single Server, admin", Role{Kind: "user", Name: "m", ServerType: "single", Admin: true}, "set it in the Azure portal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			statements, err := tt.role.SQL()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("SQL() = %q, %v, want %q in the error", statements, err, tt.want)
			}
		})
	}
}
