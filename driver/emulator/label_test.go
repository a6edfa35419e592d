package emulator_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

func TestSecurityLabel(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	old, id := az.Add(emulator.Identity{Name: "old"}), az.Add(emulator.Identity{Name: "new"})
	for i, name := range append(awkwardNames, "lower", "MixedCase") {
		mode := []pgx.QueryExecMode{simple, extended}[i%2]
		quoted := pgx.Identifier{name}.Sanitize()
		label := func(id emulator.Identity) string {
			return `SECURITY LABEL FOR "pgaadauth" ON ROLE ` + quoted + ` IS 'aadauth,oid=` + id.ObjectID + `,type=service'`
		}
		for _, sql := range []string{"CREATE ROLE " + quoted + " LOGIN PASSWORD 'x'", label(old)} {
			if _, err := dba.Exec(ctx, sql, mode); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		checkSignIn(t, az, name, old)
		if _, err := dba.Exec(ctx, "/* again */ "+label(id)+"; -- done", mode); err != nil {
			t.Fatal(err)
		}
		checkSignIn(t, az, name, id)
		_, err := connectAs(t, az, name, az.Token(old, nil))
		checkPgError(t, err, "28P01", "Service Principal oid mismatch for role["+name+"]")
	}
	for _, mode := range []pgx.QueryExecMode{simple, extended} {
		for sql, want := range map[string][2]string{
			`SECURITY LABEL FOR pgaadauth ON ROLE lower IS 'nonsense'`:                                          {"22023", "invalid security label"},
			`SECURITY LABEL FOR "pgaadauth" ON ROLE nobody IS 'aadauth,oid=` + id.ObjectID + `,type=user'`:      {"42704", `role "nobody" does not exist`},
			`SECURITY LABEL FOR "pgaadauth" ON ROLE "postgres" IS 'aadauth,oid=` + id.ObjectID + `,type=user'`:  {"42501", "superuser"},
			`SECURITY LABEL FOR "other" ON ROLE lower IS 'pgaadauth'`:                                           {"22023", "is not loaded"},
			`SECURITY LABEL FOR "pgaadauth" ON TABLE lower IS 'aadauth,oid=` + id.ObjectID + `,type=user'`:      {"22023", "is not loaded"},
			`SECURITY LABEL FOR "pgaadauth" ON ROLE lower IS 'aadauth,oid=` + id.ObjectID + `,type=user' extra`: {"42601", "syntax error"},
		} {
			_, err := dba.Exec(ctx, sql, mode)
			checkPgError(t, err, want[0], want[1])
		}
	}
	// Several statements in one message, and what merely looks like one.
	if _, err := dba.Exec(ctx, `CREATE ROLE many LOGIN; security label for PGAADAUTH on role Many is 'aadauth,oid=`+id.ObjectID+`,type=service,admin';
		DO $x$ BEGIN PERFORM 'a;SECURITY LABEL FOR "pgaadauth" ON ROLE r IS ''b'''; END $x$; SELECT 1`, simple); err != nil {
		t.Fatal(err)
	}
	checkSignIn(t, az, "many", id)
	var text string
	if err := dba.QueryRow(ctx, `SELECT $$ ; SECURITY LABEL FOR "pgaadauth" ON ROLE r IS 'x'; $$ || $1`, "é").Scan(&text); err != nil || text != ` ; SECURITY LABEL FOR "pgaadauth" ON ROLE r IS 'x'; é` {
		t.Errorf("%q, %v", text, err)
	}
	// A label that is taken away, twice.
	for _, mode := range []pgx.QueryExecMode{simple, extended} {
		if _, err := dba.Exec(ctx, `SECURITY LABEL FOR "pgaadauth" ON ROLE many IS NULL`, mode); err != nil {
			t.Fatal(err)
		}
	}
	_, refusal := connectAs(t, az, "many", az.Token(id, nil))
	checkPgError(t, refusal, "28P01", "password authentication failed")
	if err := dba.QueryRow(ctx, "SELECT concat(rolcreaterole, rolcreatedb, pg_has_role('many', 'azure_pg_admin', 'member')) FROM pg_roles WHERE rolname = 'many'").Scan(&text); err != nil || text != "fff" {
		t.Errorf("attributes %s, %v", text, err)
	}
	// Others than administrators speak with PostgreSQL itself.
	_, err := mustConnectAs(t, az, "lower", az.Token(id, nil)).Exec(ctx, `SECURITY LABEL FOR "pgaadauth" ON ROLE lower IS 'aadauth,oid=`+old.ObjectID+`,type=service'`)
	checkPgError(t, err, "22023", `security label provider "pgaadauth" is not loaded`)
}

// The first sign-ins of a role that SQL has made come all at once.
func TestFirstSignIns(t *testing.T) {
	az, dba := startWithAdmin(t)
	id := az.Add(emulator.Identity{Name: "new"})
	if _, err := dba.Exec(context.Background(), "SELECT pgaadauth_create_principal('new', false, false)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { checkSignIn(t, az, "new", id) })
	}
	wg.Wait()
	if _, err := dba.Exec(context.Background(), "ALTER ROLE new PASSWORD 'native'"); err != nil {
		t.Fatal(err)
	}
	checkSignIn(t, az, "new", id)
	_, err := connectAs(t, az, "new", "native")
	checkPgError(t, err, "28P01", "has invalid format")
}
