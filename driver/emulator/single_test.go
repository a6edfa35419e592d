package emulator_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// The recipes for single server, as Azure's guide has them.
func TestSingleServerRecipes(t *testing.T) {
	az, dba := startWithAdmin(t, emulator.WithSingleServer())
	ctx := context.Background()
	const at = "@" + emulator.ServerName
	run := func(sql string) {
		t.Helper()
		for _, mode := range []pgx.QueryExecMode{simple, extended} {
			tx, err := dba.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, sql, mode); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
			if mode == simple {
				tx.Rollback(ctx)
			} else {
				tx.Commit(ctx)
			}
		}
	}
	person := az.Add(emulator.Identity{Name: "user1@yourtenant.onmicrosoft.com", Kind: emulator.User})
	second := az.Add(emulator.Identity{Name: `o'brien"s@yourtenant.onmicrosoft.com`, Kind: emulator.User})
	team := az.Add(emulator.Identity{Name: "GroupName", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "member", Kind: emulator.User, Groups: []string{team.ObjectID}})
	app := az.Add(emulator.Identity{Name: "the app"})
	old := az.Add(emulator.Identity{Name: "existing", Kind: emulator.User})

	run(`CREATE ROLE "user1@yourtenant.onmicrosoft.com" WITH LOGIN IN ROLE azure_ad_user;`)
	run(`CREATE USER "o'brien""s@yourtenant.onmicrosoft.com" IN ROLE azure_ad_user`)
	run(`CREATE ROLE "GroupName" WITH LOGIN IN ROLE azure_ad_user;`)
	run(`SET aad_validate_oids_in_tenant = off`)
	run(`CREATE ROLE myapp WITH LOGIN PASSWORD '` + app.ClientID + `' IN ROLE azure_ad_user;`)
	run(`CREATE ROLE nobody WITH LOGIN IN ROLE azure_ad_user`)
	run(`CREATE ROLE "the app" WITH LOGIN IN ROLE azure_ad_user`) // no person
	run(`set session AAD_validate_oids_in_tenant to on;`)
	run(`CREATE ROLE existing LOGIN`)
	run(`GRANT azure_ad_user TO "existing"`)
	if _, err := dba.Exec(ctx, "SET aad_validate_oids_in_tenant = off;\n\tCREATE ROLE myapp2 WITH LOGIN PASSWORD '"+app.ClientID+"' IN ROLE azure_ad_user;", simple); err != nil {
		t.Error(err)
	}
	var off string
	if err := dba.QueryRow(ctx, "SHOW emulator.validate_oids").Scan(&off); err != nil || off != "off" {
		t.Errorf("%s, %v", off, err)
	}

	for range 2 { // the first sign-in may differ
		checkSignIn(t, az, person.Name+at, person)
		checkSignIn(t, az, second.Name+at, second)
		checkSignIn(t, az, team.Name+at, member)
		checkSignIn(t, az, "myapp"+at, app)
		checkSignIn(t, az, "myapp2"+at, app)
		checkSignIn(t, az, "existing"+at, old)
	}
	before := az.Counts().Refused
	for _, tt := range []struct {
		role       string
		id         emulator.Identity
		code, text string
	}{
		{"myapp", az.Add(emulator.Identity{Name: "app"}), "28P01", "Service Principal oid mismatch for role[myapp]"},
		{"myapp", person, "28000", "Service Principals cannot generate"},
		{person.Name, second, "28P01", "oid mismatch"},
		{"GroupName", person, "28P01", "does not contain group ID " + team.ObjectID},
		{"nobody", person, "28P01", "Could not validate AAD user nobody because its name is not found in the tenant."},
		{"the app", app, "28P01", "Could not validate AAD user the app because"},
	} {
		_, err := connectAs(t, az, tt.role+at, az.Token(tt.id, nil))
		checkPgError(t, err, tt.code, tt.text)
	}
	if n := az.Counts().Refused - before; n != 6 {
		t.Errorf("%d refusals, want 6", n)
	}

	_, err := dba.Exec(ctx, "SELECT pgaadauth_create_principal('x', false, false)")
	checkPgError(t, err, "42883", "does not exist")
	_, err = mustConnectAs(t, az, person.Name+at, az.Token(person, nil)).Exec(ctx, "SET aad_validate_oids_in_tenant = off")
	checkPgError(t, err, "42704", "unrecognized configuration parameter")
	_, err = mustConnectAs(t, az, person.Name+at, az.Token(person, nil)).Exec(ctx, "CREATE ROLE x IN ROLE azure_ad_user")
	checkPgError(t, err, "42501", "permission denied to create role")

	for _, role := range []string{"azure_ad_user", "azure_ad_admin", "postgres"} {
		_, err = connectAs(t, az, role+at, az.Token(person, nil))
		checkPgError(t, err, "28P01", "password authentication failed")
	}
	run(`REVOKE azure_ad_user FROM "existing"`)
	_, err = connectAs(t, az, "existing"+at, az.Token(old, nil))
	checkPgError(t, err, "28P01", "password authentication failed")
	run(`DROP ROLE myapp`)
	_, err = connectAs(t, az, "myapp"+at, az.Token(app, nil))
	checkPgError(t, err, "28P01", "password authentication failed")
}
