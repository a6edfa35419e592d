package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var (
	simple   = pgx.QueryExecModeSimpleProtocol
	extended = pgx.QueryExecModeDescribeExec // Parse, Describe, Bind, Execute
)

// admin starts an emulator and signs in as an Entra administrator.
func startWithAdmin(t *testing.T, opts ...emulator.Option) (*emulator.Azure, *pgx.Conn) {
	t.Helper()
	az := emulator.Start(t, opts...)
	dba := az.Add(emulator.Identity{Name: "dba@contoso.com", Kind: emulator.User})
	if err := az.GrantAdmin(context.Background(), dba); err != nil {
		t.Fatal(err)
	}
	user := dba.Name
	if len(opts) > 0 {
		user += "@" + emulator.ServerName
	}
	return az, mustConnectAs(t, az, user, az.Token(dba, nil))
}

// session is signIn for who must get in.
func mustConnectAs(t *testing.T, az *emulator.Azure, user, password string) *pgx.Conn {
	t.Helper()
	conn, err := connectAs(t, az, user, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// refused checks that err is PostgreSQL's, with that code and, in it, that text.
func checkPgError(t *testing.T, err error, code, text string) {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != code || !strings.Contains(pg.Message, text) {
		t.Errorf("got  %v\nwant %s %s", err, code, text)
	}
}

// admits checks that the role lets the identity in, as itself.
func checkSignIn(t *testing.T, az *emulator.Azure, role string, id emulator.Identity) {
	t.Helper()
	conn, err := connectAs(t, az, role, az.Token(id, nil))
	if err != nil {
		t.Errorf("%q: %v", role, err)
		return
	}
	defer conn.Close(context.Background())
	var who string
	if err := conn.QueryRow(context.Background(), "select session_user").Scan(&who); err != nil || !strings.HasPrefix(role, who) {
		t.Errorf("session_user = %q, %v; want %q", who, err, role)
	}
}

// Names made to break what quotes them.
var awkwardNames = []string{`x"; drop role y; --`, `it's`, `back\slash\'`, "Zoë 名前", `"`, `%I %L %s $1`, "{role}"}

func TestCreatePrincipal(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	for _, name := range append(awkwardNames, "plain") {
		id := az.Add(emulator.Identity{Name: name})
		var said string
		if err := dba.QueryRow(ctx, "SELECT * FROM pgaadauth_create_principal($1, false, false)", name).Scan(&said); err != nil || said != `Created role for "`+name+`"` {
			t.Errorf("%q, %v", said, err)
		}
		checkSignIn(t, az, name, id)

		other := "other " + name
		if err := dba.QueryRow(ctx, "SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid($1, $2, 'service', false, false)", other, id.ObjectID).Scan(&said); err != nil || said != `Created role for "`+other+`"` {
			t.Errorf("%q, %v", said, err)
		}
		checkSignIn(t, az, other, id)
		if _, err := connectAs(t, az, other, az.Token(az.Add(emulator.Identity{Name: "stranger"}), nil)); err == nil {
			t.Errorf("%q lets a stranger in", other)
		}
	}
	person := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	team := az.Add(emulator.Identity{Name: "Team", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, Groups: []string{team.ObjectID}})
	for _, name := range []string{person.Name, team.Name} {
		if _, err := dba.Exec(ctx, "SELECT pgaadauth_create_principal('"+name+"', false, false)", simple); err != nil {
			t.Error(err)
		}
	}
	checkSignIn(t, az, person.Name, person)
	checkSignIn(t, az, team.Name, member)
	_, err := connectAs(t, az, team.Name, az.Token(person, nil))
	checkPgError(t, err, "28P01", "does not contain group ID "+team.ObjectID)
}

func TestCreatePrincipalRefused(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	az.Add(emulator.Identity{Name: "twin", ObjectID: "00000000-0000-0000-0000-000000000001"})
	az.Add(emulator.Identity{Name: "twin", ObjectID: "00000000-0000-0000-0000-000000000002"})
	az.Add(emulator.Identity{Name: "Once"})
	az.Add(emulator.Identity{Name: "Once"}) // the same again
	for _, tt := range []struct{ sql, code, text string }{
		{"SELECT pgaadauth_create_principal('nobody', false, false)", "P0001", "Could not validate AAD user nobody because its name is not found in the tenant."},
		{"SELECT pgaadauth_create_principal('once', false, false)", "P0001", "Could not validate AAD user once because"},
		{"SELECT pgaadauth_create_principal('twin', false, false)", "P0001", `Cannot validate Microsoft Entra ID user "twin" because its name isn't unique in the tenant.`},
		{"SELECT pgaadauth_create_principal('app', false, false)", "42710", `role "app" already exists`},
		{"SELECT pgaadauth_create_principal(NULL, false, false)", "P0001", "not found in the tenant"},
		{"SELECT pgaadauth_create_principal_with_oid('x', '00000000-0000-0000-0000-000000000001', 'application', false, false)", "22023", "invalid security label"},
		{"SELECT pgaadauth_create_principal_with_oid('x', 'app', 'service', false, false)", "22023", "invalid security label"},
		{"SELECT pgaadauth_create_principal_with_oid('x', '00000000-0000-0000-0000-000000000001,type=user', 'service', false, false)", "22023", "invalid security label"},
		{"SELECT pgaadauth_create_principal_with_oid('x', NULL, NULL, false, false)", "22023", "invalid security label"},
		{"SELECT pgaadauth_update_principal_with_oid('x', '00000000-0000-0000-0000-000000000001', 'service', false, false)", "42704", `role "x" does not exist`},
		{"SELECT pgaadauth_update_principal_with_oid('postgres', '00000000-0000-0000-0000-000000000001', 'service', true, false)", "42501", "superuser"},
		{"SELECT * FROM pg_emulator.directory", "42501", "permission denied for table directory"},
		{"SELECT pg_emulator.create_role('x', '00000000-0000-0000-0000-000000000001', 'service', true, false)", "42501", ""},
		{"CREATE ROLE x IN ROLE azure_ad_user", "42704", `role "azure_ad_user" does not exist`},
		{"SET aad_validate_oids_in_tenant = off", "42704", `unrecognized configuration parameter "aad_validate_oids_in_tenant"`},
	} {
		_, err := dba.Exec(ctx, tt.sql)
		checkPgError(t, err, tt.code, tt.text)
	}
	if _, err := dba.Exec(ctx, "SELECT pgaadauth_create_principal('Once', false, false)"); err != nil {
		t.Error(err)
	}
}

// Only an Entra administrator may, and only in the database postgres.
func TestWhoMayCreate(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	const create = "SELECT pgaadauth_create_principal('new', true, false)"
	denied := "permission denied for function pgaadauth_create_principal"
	az.Add(emulator.Identity{Name: "new"})
	for _, sql := range []string{"CREATE ROLE pwadmin LOGIN CREATEROLE PASSWORD 'secret'", "GRANT azure_pg_admin TO pwadmin", "CREATE DATABASE elsewhere"} {
		if _, err := dba.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	_, err := mustConnectAs(t, az, "pwadmin", "secret").Exec(ctx, create)
	checkPgError(t, err, "42501", denied)
	_, err = mustConnectAs(t, az, "pwadmin", "secret").Exec(ctx, "CALL pg_emulator.label('pwadmin', 'aadauth,oid=00000000-0000-0000-0000-000000000001,type=user,admin')")
	checkPgError(t, err, "42501", "permission denied for procedure label")
	app := az.Add(emulator.Identity{Name: "app"})
	_, err = mustConnectAs(t, az, "app", az.Token(app, nil)).Exec(ctx, create)
	checkPgError(t, err, "42501", denied)

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

	// One administrator makes another, who then may.
	if _, err := dba.Exec(ctx, create); err != nil {
		t.Fatal(err)
	}
	second := mustConnectAs(t, az, "new", az.Token(az.Add(emulator.Identity{Name: "new"}), nil))
	var attributes string
	if err := second.QueryRow(ctx, "select concat(rolcreaterole, rolcreatedb, pg_has_role('azure_pg_admin', 'member')) from pg_roles where rolname = session_user").Scan(&attributes); err != nil || attributes != "ttt" {
		t.Errorf("attributes %s, %v", attributes, err)
	}
	az.Add(emulator.Identity{Name: "third"})
	if _, err := second.Exec(ctx, "SELECT pgaadauth_create_principal('third', false, false)"); err != nil {
		t.Error(err)
	}
	// And is none any more.
	if _, err := dba.Exec(ctx, "SELECT pgaadauth_update_principal_with_oid('new', $1, 'service', false, false)", az.Add(emulator.Identity{Name: "new"}).ObjectID); err != nil {
		t.Error(err)
	}
	_, err = second.Exec(ctx, create)
	checkPgError(t, err, "42501", denied)
}

func TestListAndDropPrincipals(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	id := az.Add(emulator.Identity{Name: "reader"})
	if _, err := dba.Exec(ctx, "SELECT pgaadauth_create_principal('reader', false, true)"); err != nil {
		t.Fatal(err)
	}
	for admins, want := range map[bool]string{
		true:  "dba@contoso.com/user/0/1",
		false: "app/service/0/0 dba@contoso.com/user/0/1 reader/service/1/0",
	} {
		rows, err := dba.Query(ctx, "SELECT rolname, principaltype, objectid, tenantid, ismfa, isadmin FROM pgaadauth_list_principals($1)", admins)
		if err != nil {
			t.Fatal(err)
		}
		var name, kind, oid, tenant string
		var mfa, isAdmin int
		var got []string
		_, err = pgx.ForEachRow(rows, []any{&name, &kind, &oid, &tenant, &mfa, &isAdmin}, func() error {
			got = append(got, fmt.Sprintf("%s/%s/%d/%d", name, kind, mfa, isAdmin))
			if tenant != emulator.TenantID || name == "reader" && oid != id.ObjectID {
				t.Errorf("%s: tenant %s, oid %s", name, tenant, oid)
			}
			return nil
		})
		if s := strings.Join(got, " "); err != nil || s != want {
			t.Errorf("%v: %s, %v; want %s", admins, s, err, want)
		}
	}
	checkSignIn(t, az, "reader", id)
	if _, err := dba.Exec(ctx, "DROP ROLE reader"); err != nil {
		t.Fatal(err)
	}
	_, err := connectAs(t, az, "reader", az.Token(id, nil))
	checkPgError(t, err, "28P01", `password authentication failed for user "reader"`)
	if _, err := dba.Exec(ctx, "CREATE ROLE reader LOGIN PASSWORD 'x'"); err != nil { // the label went with it
		t.Fatal(err)
	}
	mustConnectAs(t, az, "reader", "x")
}
