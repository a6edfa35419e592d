package driver

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestRoleSQL(t *testing.T) {
	for _, tt := range []struct {
		role Role
		want string // of the statements, or what the error holds
	}{
		{Role{Kind: "user", Name: "me@contoso.com"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('me@contoso.com', false, false);`},
		{Role{Kind: "group", Name: "Admins", Admin: true}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('Admins', true, false);`},
		{Role{Kind: "managed-identity", Name: "billing"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('billing', false, false);`},
		{Role{Kind: "managed-identity", Name: "any", ObjectID: "00000000-0000-0000-0000-00000000000a", ServerType: "flexible"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('any', '00000000-0000-0000-0000-00000000000a', 'service', false, false);`},
		{Role{Kind: "service-principal", Name: "any", ObjectID: "00000000-0000-0000-0000-00000000000a", Admin: true}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('any', '00000000-0000-0000-0000-00000000000a', 'service', true, false);`},
		{Role{Kind: "group", Name: "g", ObjectID: "00000000-0000-0000-0000-00000000000a"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid('g', '00000000-0000-0000-0000-00000000000a', 'group', false, false);`},
		{Role{Kind: "user", Name: "u@t.onmicrosoft.com", ServerType: "single"}, `CREATE USER "u@t.onmicrosoft.com" IN ROLE azure_ad_user;`},
		{Role{Kind: "group", Name: "Prod DB", ServerType: "single"}, `CREATE USER "Prod DB" IN ROLE azure_ad_user;`},
		{Role{Kind: "managed-identity", Name: "myuser", ServerType: "single", ClientID: "c"}, `SET aad_validate_oids_in_tenant = off; CREATE ROLE "myuser" WITH LOGIN PASSWORD 'c' IN ROLE azure_ad_user;`},
		// Names made to break it.
		{Role{Kind: "user", Name: `x', true, true); DROP ROLE y; --`}, `SELECT * FROM pg_catalog.pgaadauth_create_principal('x'', true, true); DROP ROLE y; --', false, false);`},
		{Role{Kind: "user", Name: `\' OR 1=1 --`}, `SELECT * FROM pg_catalog.pgaadauth_create_principal(E'\\'' OR 1=1 --', false, false);`},
		{Role{Kind: "user", Name: "a\nb\x1b[31m\u202e"}, `SELECT * FROM pg_catalog.pgaadauth_create_principal(E'a\U0000000Ab\U0000001B[31m\U0000202E', false, false);`},
		{Role{Kind: "user", Name: `x" SUPERUSER; --`, ServerType: "single"}, `CREATE USER "x"" SUPERUSER; --" IN ROLE azure_ad_user;`},
		{Role{Kind: "user", Name: "a\t\"\\", ServerType: "single"}, `CREATE USER U&"a\+000009""\\" IN ROLE azure_ad_user;`},
		{Role{Kind: "service-principal", Name: "s", ServerType: "single", ClientID: `c' SUPERUSER --`}, `SET aad_validate_oids_in_tenant = off; CREATE ROLE "s" WITH LOGIN PASSWORD 'c'' SUPERUSER --' IN ROLE azure_ad_user;`},

		{Role{Kind: "robot", Name: "r"}, `kind "robot" is not known; use user, group, managed-identity or service-principal`},
		{Role{Kind: "user"}, "has no name"},
		{Role{Kind: "user", Name: "a\x00"}, "NUL byte"},
		{Role{Kind: "user", Name: "a\xff"}, "not UTF-8"},
		{Role{Kind: "user", Name: strings.Repeat("ä", 32)}, "has 64 bytes, of which PostgreSQL keeps 63"},
		{Role{Kind: "user", Name: "u", ServerType: "Flexible"}, "is not known; use flexible or single"},
		{Role{Kind: "user", Name: "u", ServerType: "cosmos"}, "in the Azure portal"},
		{Role{Kind: "managed-identity", Name: "m", ClientID: "c"}, "in place of the client ID"},
		{Role{Kind: "managed-identity", Name: "m", ServerType: "single"}, "by its client ID; pass it"},
		{Role{Kind: "user", Name: "m", ServerType: "single", ClientID: "c"}, "has no client ID"},
		{Role{Kind: "user", Name: "m", ObjectID: "the name"}, "is not a GUID"},
		{Role{Kind: "user", Name: "m", ObjectID: "00000000-0000-0000-0000-00000000000a,admin"}, "is not a GUID"},
		{Role{Kind: "user", Name: "m", ServerType: "single", ObjectID: "00000000-0000-0000-0000-00000000000a"}, "remove the object ID"},
		{Role{Kind: "user", Name: "m", ServerType: "single", Admin: true}, "set it in the Azure portal"},
	} {
		statements, err := tt.role.SQL()
		if got := strings.Join(statements, " "); err == nil && got != tt.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", tt.role, got, tt.want)
		} else if err != nil && (!strings.Contains(err.Error(), tt.want) || strings.HasPrefix(tt.want, "SELECT")) {
			t.Errorf("%+v: %v, want %s", tt.role, err, tt.want)
		}
	}
}

// The object id of a made-up token does not make anyone an administrator who does
// as the hint says.
func TestForgedObjectID(t *testing.T) {
	s := errContext{role: "r", claims: token.Claims{AppID: "a", ObjectID: "00000000-0000-0000-0000-00000000000a,type=service,admin"}}
	err := s.explain(&pgconn.PgError{Code: "28P01", Message: "Service Principal oid mismatch for role[r]"})
	if text := err.Error(); strings.Contains(text, "SECURITY LABEL") || !strings.Contains(text, "is not a GUID") {
		t.Error(err)
	}
}
