package emulator

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// startPostgres starts a server for WithPostgres and returns a superuser's DSN.
func startPostgres(t *testing.T) string {
	t.Helper()
	var p postgres
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := p.start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return p.dsn
}

// serverState returns everything that an emulator could leave on a server.
func serverState(t *testing.T, conn *pgx.Conn) (text string) {
	t.Helper()
	err := conn.QueryRow(context.Background(), `SELECT concat_ws(' ', (SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'),
		(SELECT string_agg(datname || coalesce(datacl::text, ''), ' ' ORDER BY datname) FROM pg_database),
		(SELECT string_agg(nspname || coalesce(nspacl::text, ''), ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'),
		(SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_shseclabel), (SELECT count(*) FROM pg_auth_members))`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	// A privilege that was granted and revoked leaves the default privileges spelled out.
	return strings.Replace(text, "work{=Tc/postgres,postgres=CTc/postgres}", "work", 1)
}

func execAll(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// Close restores the server of WithPostgres, and New does so after an emulator that was
// killed. Two emulators cannot use one server.
func TestWithPostgres(t *testing.T) {
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	ctx := context.Background()
	dsn := startPostgres(t)
	superuser, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer superuser.Close(ctx)
	// azure_pg_admin exists on a server that has restored a dump of one of Azure's.
	execAll(t, superuser, "CREATE ROLE azure_pg_admin NOLOGIN", "CREATE ROLE alice LOGIN PASSWORD 'x'", "CREATE DATABASE work")
	before := serverState(t, superuser)
	workDSN := strings.Replace(dsn, "dbname=postgres", "dbname=work", 1)

	for _, tt := range []struct {
		name   string
		opts   []Option
		killed bool
	}{
		{"flexible server, killed", nil, true},
		{"single server", []Option{WithSingleServer()}, false},
		{"flexible server", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := New(ctx, append(tt.opts, WithPostgres(workDSN))...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(ctx, WithPostgres(dsn))
			if want := "another emulator uses the given PostgreSQL"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a second New() = %v, want %q in it", err, want)
			}
			createObjects(t, a, superuser)
			if tt.killed {
				abandon(a)
				if a, err = New(ctx, WithPostgres(dsn)); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			execAll(t, superuser, "DROP DATABASE theirs") // no longer owned by an Entra role
			if after := serverState(t, superuser); after != before {
				t.Errorf("state after Close:\ngot  %s\nwant %s", after, before)
			}
		})
	}
}

// createObjects creates everything that cleanUp must remove: roles, databases, objects in
// several databases, privileges and default privileges.
func createObjects(t *testing.T, a *Azure, superuser *pgx.Conn) {
	t.Helper()
	ctx := context.Background()
	dba := a.Add(Identity{Name: "dba"})
	if err := a.GrantAdmin(ctx, dba); err != nil {
		t.Fatal(err)
	}
	// exec executes statements as the administrator in a database.
	exec := func(database string, statements ...string) {
		t.Helper()
		conn := connectTo(t, a, dba, database)
		defer conn.Close(ctx)
		execAll(t, conn, statements...)
	}
	if a.single {
		exec("postgres", "CREATE ROLE made LOGIN IN ROLE azure_ad_user")
	} else {
		a.Add(Identity{Name: "made"})
		exec("postgres", "SELECT pgaadauth_create_principal('made', true, false)")
	}
	exec("postgres", "CREATE DATABASE mine", "CREATE DATABASE theirs")
	execAll(t, superuser, "CREATE SCHEMA \"of made\" AUTHORIZATION made", "GRANT CONNECT ON DATABASE work TO made", "ALTER DATABASE theirs OWNER TO postgres")
	exec("work", "CREATE TABLE t (n int)", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO made")
	execAll(t, superuser, "GRANT CREATE ON DATABASE theirs TO dba")
	exec("theirs", "CREATE SCHEMA mine", "CREATE TABLE mine.t (n int)")
	if err := (&Database{"of_a_test", a}).create(ctx); err != nil {
		t.Fatal(err)
	}
}

// connectTo signs in as an identity to a database.
func connectTo(t *testing.T, a *Azure, id Identity, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(a.DSN("sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.User = id.Name
	if a.single {
		config.User += "@" + ServerName
	}
	config.Password = a.Token(id, nil)
	config.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// abandon stops an emulator as if its process were killed: it does not clean up the server.
func abandon(a *Azure) {
	a.gateway.close()
	a.entra.Close()
	a.host.Close()
	a.postgres.lock.Conn().Close(context.Background())
	a.postgres.lock.Release()
	a.postgres.pool.Close()
	os.RemoveAll(a.dir)
}

// azure.sql repeats TenantID.
func TestTenantOfSQL(t *testing.T) {
	if want := "'" + TenantID + "'"; !strings.Contains(sqlSection("flexible"), want) {
		t.Errorf("azure.sql does not contain %s", want)
	}
}
