package emulator_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const atServer = "@" + emulator.ServerName

func TestSingleServerUserName(t *testing.T) {
	az := emulator.Start(t, emulator.WithSingleServer())
	app := mustGrant(t, az, emulator.Identity{Name: "single"})
	t.Run("with the server's name", func(t *testing.T) {
		checkSignIn(t, az, "single"+atServer, app)
	})
	for _, tt := range []struct{ name, user string }{
		{"without a server", "single"},
		{"with another server", "single@other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connectAs(t, az, tt.user, az.Token(app, nil))
			checkPgError(t, err, "28000", "<username@hostname> format")
		})
	}
}

// The gateway removes the server's name for native roles too, because PostgreSQL does not
// know it.
func TestSingleServerNativeRole(t *testing.T) {
	az := emulator.Start(t, emulator.WithSingleServer())
	superuser, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	mustConnectAs(t, az, "postgres"+atServer, superuser.Password)
}

// The statements in Azure's guide to single server create roles, in the simple and in the
// extended query protocol.
func TestSingleServerRoles(t *testing.T) {
	az, dba := startWithAdmin(t, emulator.WithSingleServer())
	ctx := context.Background()
	// run executes a statement in both protocols, and keeps the effect of one.
	run := func(sql string) {
		t.Helper()
		runIn(t, dba, sql, simple, (pgx.Tx).Rollback)
		runIn(t, dba, sql, extended, (pgx.Tx).Commit)
	}
	user := az.Add(emulator.Identity{Name: "user1@yourtenant.onmicrosoft.com", Kind: emulator.User})
	second := az.Add(emulator.Identity{Name: `o'brien"s@yourtenant.onmicrosoft.com`, Kind: emulator.User})
	group := az.Add(emulator.Identity{Name: "GroupName", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "member", Kind: emulator.User, Groups: []string{group.ObjectID}})
	app := az.Add(emulator.Identity{Name: "the app"})
	existing := az.Add(emulator.Identity{Name: "existing", Kind: emulator.User})

	run(`CREATE ROLE "user1@yourtenant.onmicrosoft.com" WITH LOGIN IN ROLE azure_ad_user;`)
	run(`CREATE USER "o'brien""s@yourtenant.onmicrosoft.com" IN ROLE azure_ad_user`)
	run(`CREATE ROLE "GroupName" WITH LOGIN IN ROLE azure_ad_user;`)
	run(`SET aad_validate_oids_in_tenant = off`)
	run(`CREATE ROLE myapp WITH LOGIN PASSWORD '` + app.ClientID + `' IN ROLE azure_ad_user;`)
	run(`CREATE ROLE nobody WITH LOGIN IN ROLE azure_ad_user`)
	run(`CREATE ROLE "the app" WITH LOGIN IN ROLE azure_ad_user`) // an application needs a password
	run(`set session AAD_validate_oids_in_tenant to on;`)
	run(`CREATE ROLE existing LOGIN`)
	run(`GRANT azure_ad_user TO "existing"`)
	if _, err := dba.Exec(ctx, "SET aad_validate_oids_in_tenant = off;\n\tCREATE ROLE myapp2 WITH LOGIN PASSWORD '"+app.ClientID+"' IN ROLE azure_ad_user;", simple); err != nil {
		t.Error(err)
	}
	if got := queryString(t, dba, "SHOW emulator.validate_oids"); got != "off" {
		t.Errorf("emulator.validate_oids = %q, want off", got)
	}

	for _, tt := range []struct {
		name, role string
		id         emulator.Identity
	}{
		{"user", user.Name, user},
		{"user with quotes in the name", second.Name, second},
		{"member of a group", group.Name, member},
		{"application", "myapp", app},
		{"application, statements in one message", "myapp2", app},
		{"existing role", "existing", existing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkSignIn(t, az, tt.role+atServer, tt.id) // sets the role's password
			checkSignIn(t, az, tt.role+atServer, tt.id)
		})
	}

	before := az.Counts().Refused
	refusals := []struct {
		name, role string
		id         emulator.Identity
		code, text string
	}{
		{"another application", "myapp", az.Add(emulator.Identity{Name: "app"}), "28P01", "Service Principal oid mismatch for role[myapp]"},
		{"user as an application", "myapp", user, "28000", "Service Principals cannot generate"},
		{"another user", user.Name, second, "28P01", "oid mismatch"},
		{"not a member", "GroupName", user, "28P01", "does not contain group ID " + group.ObjectID},
		{"role of no identity", "nobody", user, "28P01", "Could not validate AAD user nobody because its name is not found in the tenant."},
		{"role of an application without a password", "the app", app, "28P01", "Could not validate AAD user the app because"},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connectAs(t, az, tt.role+atServer, az.Token(tt.id, nil))
			checkPgError(t, err, tt.code, tt.text)
		})
	}
	if n := az.Counts().Refused - before; n != int64(len(refusals)) {
		t.Errorf("%d refusals, want %d", n, len(refusals))
	}

	t.Run("flexible server's functions", func(t *testing.T) {
		_, err := dba.Exec(ctx, "SELECT pgaadauth_create_principal('x', false, false)")
		checkPgError(t, err, "42883", "does not exist")
	})
	t.Run("not an administrator", func(t *testing.T) {
		conn := mustConnectAs(t, az, user.Name+atServer, az.Token(user, nil))
		_, err := conn.Exec(ctx, "SET aad_validate_oids_in_tenant = off")
		checkPgError(t, err, "42704", "unrecognized configuration parameter")
		_, err = conn.Exec(ctx, "CREATE ROLE x IN ROLE azure_ad_user")
		checkPgError(t, err, "42501", "permission denied to create role")
	})

	run(`REVOKE azure_ad_user FROM "existing"`)
	run(`DROP ROLE myapp`)
	for _, tt := range []struct {
		name, role string
		id         emulator.Identity
	}{
		{"group role azure_ad_user", "azure_ad_user", user},
		{"group role azure_ad_admin", "azure_ad_admin", user},
		{"superuser", "postgres", user},
		{"revoked", "existing", existing},
		{"dropped", "myapp", app},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connectAs(t, az, tt.role+atServer, az.Token(tt.id, nil))
			checkPgError(t, err, "28P01", "password authentication failed")
		})
	}
}

// runIn executes a statement in a transaction and in a mode, and ends the transaction.
func runIn(t *testing.T, conn *pgx.Conn, sql string, mode pgx.QueryExecMode, end func(pgx.Tx, context.Context) error) {
	t.Helper()
	ctx := context.Background()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, sql, mode); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
	if err := end(tx, ctx); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}
