package emulator_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// SECURITY LABEL maps a role to an identity, and can map it to another one.
func TestSecurityLabel(t *testing.T) {
	az, dba := startWithAdmin(t)
	ctx := context.Background()
	first := az.Add(emulator.Identity{Name: "old"})
	second := az.Add(emulator.Identity{Name: "new"})
	for i, name := range slices.Concat(awkwardNames, []string{"lower", "MixedCase"}) {
		protocol := protocols[i%2]
		t.Run(name, func(t *testing.T) {
			role := pgx.Identifier{name}.Sanitize()
			label := func(id emulator.Identity) string {
				return `SECURITY LABEL FOR "pgaadauth" ON ROLE ` + role + ` IS 'aadauth,oid=` + id.ObjectID + `,type=service'`
			}
			for _, sql := range []string{"CREATE ROLE " + role + " LOGIN PASSWORD 'x'", label(first)} {
				if _, err := dba.Exec(ctx, sql, protocol.mode); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			checkSignIn(t, az, name, first)
			if _, err := dba.Exec(ctx, "/* again */ "+label(second)+"; -- done", protocol.mode); err != nil {
				t.Fatal(err)
			}
			checkSignIn(t, az, name, second)
			_, err := connectAs(t, az, name, az.Token(first, nil))
			checkPgError(t, err, "28P01", "Service Principal oid mismatch for role["+name+"]")
		})
	}
	t.Run("not an administrator", func(t *testing.T) {
		conn := mustConnectAs(t, az, "lower", az.Token(second, nil))
		_, err := conn.Exec(ctx, `SECURITY LABEL FOR "pgaadauth" ON ROLE lower IS 'aadauth,oid=`+first.ObjectID+`,type=service'`)
		checkPgError(t, err, "22023", `security label provider "pgaadauth" is not loaded`)
	})
}

func TestSecurityLabelRefused(t *testing.T) {
	az, dba := startWithAdmin(t)
	mustExec(t, dba, "CREATE ROLE lower LOGIN")
	label := "aadauth,oid=" + az.Identity("app").ObjectID + ",type=user"
	for _, tt := range []struct{ name, sql, code, text string }{
		{"invalid label", `SECURITY LABEL FOR pgaadauth ON ROLE lower IS 'nonsense'`, "22023", "invalid security label"},
		{"no role", `SECURITY LABEL FOR "pgaadauth" ON ROLE nobody IS '` + label + `'`, "42704", `role "nobody" does not exist`},
		{"superuser", `SECURITY LABEL FOR "pgaadauth" ON ROLE "postgres" IS '` + label + `'`, "42501", "superuser"},
		{"another provider", `SECURITY LABEL FOR "other" ON ROLE lower IS 'pgaadauth'`, "22023", "is not loaded"},
		{"another object", `SECURITY LABEL FOR "pgaadauth" ON TABLE lower IS '` + label + `'`, "22023", "is not loaded"},
		{"syntax error", `SECURITY LABEL FOR "pgaadauth" ON ROLE lower IS '` + label + `' extra`, "42601", "syntax error"},
	} {
		for _, protocol := range protocols {
			t.Run(tt.name+", "+protocol.name, func(t *testing.T) {
				_, err := dba.Exec(t.Context(), tt.sql, protocol.mode)
				checkPgError(t, err, tt.code, tt.text)
			})
		}
	}
}

// One message can have several statements, and strings that look like one.
func TestSecurityLabelAmongStatements(t *testing.T) {
	az, dba := startWithAdmin(t)
	id := az.Add(emulator.Identity{Name: "new"})
	if _, err := dba.Exec(t.Context(), `CREATE ROLE many LOGIN; security label for PGAADAUTH on role Many is 'aadauth,oid=`+id.ObjectID+`,type=service,admin';
		DO $x$ BEGIN PERFORM 'a;SECURITY LABEL FOR "pgaadauth" ON ROLE r IS ''b'''; END $x$; SELECT 1`, simple); err != nil {
		t.Fatal(err)
	}
	checkSignIn(t, az, "many", id)
	got := queryString(t, dba, `SELECT $$ ; SECURITY LABEL FOR "pgaadauth" ON ROLE r IS 'x'; $$ || $1`, "é")
	if want := ` ; SECURITY LABEL FOR "pgaadauth" ON ROLE r IS 'x'; é`; got != want {
		t.Errorf("string = %q, want %q", got, want)
	}
}

// A label can be removed, even twice, and the administrator's privileges with it.
func TestSecurityLabelRemoved(t *testing.T) {
	az, dba := startWithAdmin(t)
	id := az.Add(emulator.Identity{Name: "new"})
	mustExec(t, dba, "CREATE ROLE former LOGIN", `SECURITY LABEL FOR "pgaadauth" ON ROLE former IS 'aadauth,oid=`+id.ObjectID+`,type=service,admin'`)
	checkSignIn(t, az, "former", id)
	for _, protocol := range protocols {
		if _, err := dba.Exec(t.Context(), `SECURITY LABEL FOR "pgaadauth" ON ROLE former IS NULL`, protocol.mode); err != nil {
			t.Fatal(err)
		}
	}
	_, err := connectAs(t, az, "former", az.Token(id, nil))
	checkPgError(t, err, "28P01", "password authentication failed")
	const attributes = "SELECT concat(rolcreaterole, rolcreatedb, pg_has_role('former', 'azure_pg_admin', 'member')) FROM pg_roles WHERE rolname = 'former'"
	if got := queryString(t, dba, attributes); got != "fff" {
		t.Errorf("attributes = %s, want fff", got)
	}
}

// The first sign-ins of a role that SQL has created can be concurrent. Each one replaces
// a password that is not the gateway's.
func TestFirstSignIns(t *testing.T) {
	az, dba := startWithAdmin(t)
	id := az.Add(emulator.Identity{Name: "new"})
	mustExec(t, dba, "SELECT pgaadauth_create_principal('new', false, false)")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { checkSignIn(t, az, "new", id) })
	}
	wg.Wait()
	mustExec(t, dba, "ALTER ROLE new PASSWORD 'native'")
	checkSignIn(t, az, "new", id)
	_, err := connectAs(t, az, "new", "native")
	checkPgError(t, err, "28P01", "has invalid format")
}

// The gateway reads an administrator's session to rewrite statements, and relays messages
// of every size unchanged.
func TestLargeMessages(t *testing.T) {
	_, dba := startWithAdmin(t)
	ctx := context.Background()
	mustExec(t, dba, "CREATE TEMP TABLE t (b bytea)")
	for _, size := range []int{0, 1, 1<<16 - 20, 1 << 16, 3 << 20} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			content := bytes.Repeat([]byte{0, 'Q', 255, 'P', ';'}, size/5+1)[:size]
			if _, err := dba.Exec(ctx, "INSERT INTO t VALUES ($1)", content); err != nil {
				t.Fatal(err)
			}
			got := queryString(t, dba, "SELECT length('"+strings.Repeat("é", size)+"')::text -- pgaadauth")
			if want := fmt.Sprint(size); got != want {
				t.Errorf("length = %s, want %s", got, want)
			}
		})
	}
	if _, err := dba.PgConn().CopyFrom(ctx, strings.NewReader(strings.Repeat("pgaadauth\n", 300_000)), "COPY t FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	if got := queryString(t, dba, "SELECT count(*)::text FROM t"); got != "300005" {
		t.Errorf("%s rows, want 300005", got)
	}
}
