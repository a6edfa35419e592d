package emulator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const (
	simple   = pgx.QueryExecModeSimpleProtocol
	extended = pgx.QueryExecModeDescribeExec // Parse, Describe, Bind, Execute
)

// protocols are the query protocols, each of which rewrites statements in its own message.
var protocols = []struct {
	name string
	mode pgx.QueryExecMode
}{
	{"simple", simple},
	{"extended", extended},
}

// awkwardNames are role names that break code which does not quote them.
var awkwardNames = []string{`x"; drop role y; --`, `it's`, `back\slash\'`, "Zoë 名前", `"`, `%I %L %s $1`, "{role}"}

func TestCreatePrincipal(t *testing.T) {
	az, dba := startWithAdmin(t)
	stranger := az.Add(emulator.Identity{Name: "stranger"})
	for _, name := range slices.Concat(awkwardNames, []string{"plain"}) {
		t.Run(name, func(t *testing.T) {
			id := az.Add(emulator.Identity{Name: name})
			got := queryString(t, dba, "SELECT * FROM pgaadauth_create_principal($1, false, false)", name)
			if want := `Created role for "` + name + `"`; got != want {
				t.Errorf("pgaadauth_create_principal() = %q, want %q", got, want)
			}
			checkSignIn(t, az, name, id)

			other := "other " + name
			got = queryString(t, dba, "SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid($1, $2, 'service', false, false)", other, id.ObjectID)
			if want := `Created role for "` + other + `"`; got != want {
				t.Errorf("pgaadauth_create_principal_with_oid() = %q, want %q", got, want)
			}
			checkSignIn(t, az, other, id)
			if _, err := connectAs(t, az, other, az.Token(stranger, nil)); err == nil {
				t.Errorf("another identity signed in as %q, want an error", other)
			}
		})
	}
}

func TestCreatePrincipalForUserAndGroup(t *testing.T) {
	az, dba := startWithAdmin(t)
	user := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	group := az.Add(emulator.Identity{Name: "Team", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, Groups: []string{group.ObjectID}})
	for _, name := range []string{user.Name, group.Name} {
		if _, err := dba.Exec(t.Context(), "SELECT pgaadauth_create_principal('"+name+"', false, false)", simple); err != nil {
			t.Error(err)
		}
	}
	checkSignIn(t, az, user.Name, user)
	checkSignIn(t, az, group.Name, member)
	_, err := connectAs(t, az, group.Name, az.Token(user, nil))
	checkPgError(t, err, "28P01", "does not contain group ID "+group.ObjectID)
}

func TestCreatePrincipalRefused(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	az.Add(emulator.Identity{Name: "twin", ObjectID: "00000000-0000-0000-0000-000000000001"})
	az.Add(emulator.Identity{Name: "twin", ObjectID: "00000000-0000-0000-0000-000000000002"})
	az.Add(emulator.Identity{Name: "Once"})
	az.Add(emulator.Identity{Name: "Once"}) // has the same object id
	for _, tt := range []struct{ name, sql, code, text string }{
		{"unknown name", "SELECT pgaadauth_create_principal('nobody', false, false)", "P0001", "Could not validate AAD user nobody because its name is not found in the tenant."},
		{"name in another case", "SELECT pgaadauth_create_principal('once', false, false)", "P0001", "Could not validate AAD user once because"},
		{"ambiguous name", "SELECT pgaadauth_create_principal('twin', false, false)", "P0001", `Cannot validate Microsoft Entra ID user "twin" because its name isn't unique in the tenant.`},
		{"existing role", "SELECT pgaadauth_create_principal('app', false, false)", "42710", `role "app" already exists`},
		{"null", "SELECT pgaadauth_create_principal(NULL, false, false)", "P0001", "not found in the tenant"},
		{"unknown object type", "SELECT pgaadauth_create_principal_with_oid('x', '00000000-0000-0000-0000-000000000001', 'application', false, false)", "22023", "invalid security label"},
		{"invalid object id", "SELECT pgaadauth_create_principal_with_oid('x', 'app', 'service', false, false)", "22023", "invalid security label"},
		{"injection into the label", "SELECT pgaadauth_create_principal_with_oid('x', '00000000-0000-0000-0000-000000000001,type=user', 'service', false, false)", "22023", "invalid security label"},
		{"null object id", "SELECT pgaadauth_create_principal_with_oid('x', NULL, NULL, false, false)", "22023", "invalid security label"},
		{"update of no role", "SELECT pgaadauth_update_principal_with_oid('x', '00000000-0000-0000-0000-000000000001', 'service', false, false)", "42704", `role "x" does not exist`},
		{"update of a superuser", "SELECT pgaadauth_update_principal_with_oid('postgres', '00000000-0000-0000-0000-000000000001', 'service', true, false)", "42501", "superuser"},
		{"emulator's tables", "SELECT * FROM pg_emulator.directory", "42501", "permission denied for table directory"},
		{"emulator's functions", "SELECT pg_emulator.create_role('x', '00000000-0000-0000-0000-000000000001', 'service', true, false)", "42501", ""},
		{"single server's role", "CREATE ROLE x IN ROLE azure_ad_user", "42704", `role "azure_ad_user" does not exist`},
		{"single server's parameter", "SET aad_validate_oids_in_tenant = off", "42704", `unrecognized configuration parameter "aad_validate_oids_in_tenant"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dba.Exec(ctx, tt.sql)
			checkPgError(t, err, tt.code, tt.text)
		})
	}
	mustExec(t, dba, "SELECT pgaadauth_create_principal('Once', false, false)")
}

// Only an Entra administrator can create roles, and only in the database postgres.
func TestWhoCanCreatePrincipals(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	const create = "SELECT pgaadauth_create_principal('new', true, false)"
	const denied = "permission denied for function pgaadauth_create_principal"
	newID := az.Add(emulator.Identity{Name: "new"})
	mustExec(t, dba, "CREATE ROLE pwadmin LOGIN CREATEROLE PASSWORD 'secret'", "GRANT azure_pg_admin TO pwadmin", "CREATE DATABASE elsewhere")

	t.Run("native administrator", func(t *testing.T) {
		conn := mustConnectAs(t, az, "pwadmin", "secret")
		_, err := conn.Exec(ctx, create)
		checkPgError(t, err, "42501", denied)
		_, err = conn.Exec(ctx, "CALL pg_emulator.label('pwadmin', 'aadauth,oid=00000000-0000-0000-0000-000000000001,type=user,admin')")
		checkPgError(t, err, "42501", "permission denied for procedure label")
	})
	t.Run("not an administrator", func(t *testing.T) {
		_, err := mustConnectAs(t, az, "app", az.Token(az.Identity("app"), nil)).Exec(ctx, create)
		checkPgError(t, err, "42501", denied)
	})
	t.Run("another database", func(t *testing.T) {
		config := dba.Config().Copy()
		config.Database = "elsewhere"
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, create)
		checkPgError(t, err, "42883", "function pgaadauth_create_principal(unknown, boolean, boolean) does not exist")
		_, err = conn.Exec(ctx, `SECURITY LABEL FOR "pgaadauth" ON ROLE pwadmin IS 'aadauth,oid=00000000-0000-0000-0000-000000000001,type=user'`)
		checkPgError(t, err, "22023", `security label provider "pgaadauth" is not loaded`)
	})

	mustExec(t, dba, create)
	second := mustConnectAs(t, az, "new", az.Token(newID, nil))
	t.Run("second administrator", func(t *testing.T) {
		const attributes = "select concat(rolcreaterole, rolcreatedb, pg_has_role('azure_pg_admin', 'member')) from pg_roles where rolname = session_user"
		if got := queryString(t, second, attributes); got != "ttt" {
			t.Errorf("attributes = %s, want ttt", got)
		}
		az.Add(emulator.Identity{Name: "third"})
		mustExec(t, second, "SELECT pgaadauth_create_principal('third', false, false)", "CREATE ROLE helper LOGIN CREATEROLE", "GRANT azure_pg_admin TO helper")
	})
	t.Run("former administrator", func(t *testing.T) {
		if _, err := dba.Exec(ctx, "SELECT pgaadauth_update_principal_with_oid('new', $1, 'service', false, false)", newID.ObjectID); err != nil {
			t.Error(err)
		}
		_, err := second.Exec(ctx, create)
		checkPgError(t, err, "42501", denied)
	})
}

func TestListPrincipals(t *testing.T) {
	az, dba := startWithAdmin(t)
	az.Add(emulator.Identity{Name: "reader"})
	mustExec(t, dba, "SELECT pgaadauth_create_principal('reader', false, true)")
	for _, tt := range []struct {
		name       string
		adminsOnly bool
		want       string // name, object type, multi-factor authentication, administrator
	}{
		{"administrators", true, "dba@contoso.com/user/0/1"},
		{"all", false, "app/service/0/0 dba@contoso.com/user/0/1 reader/service/1/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := dba.Query(t.Context(), "SELECT rolname, principaltype, objectid, tenantid, ismfa, isadmin FROM pgaadauth_list_principals($1)", tt.adminsOnly)
			if err != nil {
				t.Fatal(err)
			}
			var name, objectType, oid, tenant string
			var mfa, isAdmin int
			var list []string
			_, err = pgx.ForEachRow(rows, []any{&name, &objectType, &oid, &tenant, &mfa, &isAdmin}, func() error {
				list = append(list, fmt.Sprintf("%s/%s/%d/%d", name, objectType, mfa, isAdmin))
				if tenant != emulator.TenantID {
					t.Errorf("tenant of %s = %s, want %s", name, tenant, emulator.TenantID)
				}
				if want := az.Identity(name).ObjectID; oid != want {
					t.Errorf("object id of %s = %s, want %s", name, oid, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if got := strings.Join(list, " "); got != tt.want {
				t.Errorf("principals = %s, want %s", got, tt.want)
			}
		})
	}
}

// A role is no longer an Entra role after it was dropped, even if its name is used again.
func TestDropPrincipal(t *testing.T) {
	az, dba := startWithAdmin(t)
	id := az.Add(emulator.Identity{Name: "reader"})
	mustExec(t, dba, "SELECT pgaadauth_create_principal('reader', false, true)")
	checkSignIn(t, az, "reader", id)
	mustExec(t, dba, "DROP ROLE reader")
	_, err := connectAs(t, az, "reader", az.Token(id, nil))
	checkPgError(t, err, "28P01", `password authentication failed for user "reader"`)
	mustExec(t, dba, "CREATE ROLE reader LOGIN PASSWORD 'x'")
	mustConnectAs(t, az, "reader", "x")
}
