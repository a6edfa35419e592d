package emulator

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// given starts a PostgreSQL as a user of the emulator may have one.
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

// state is all that an emulator could leave behind.
func serverState(t *testing.T, conn *pgx.Conn) (text string) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), `SELECT concat_ws(' ', (SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'),
		(SELECT string_agg(datname || coalesce(datacl::text, ''), ' ' ORDER BY datname) FROM pg_database),
		(SELECT string_agg(nspname || coalesce(nspacl::text, ''), ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'),
		(SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_shseclabel), (SELECT count(*) FROM pg_auth_members))`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGivenServer(t *testing.T) {
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	ctx, dsn := context.Background(), startPostgres(t)
	super, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(ctx)
	exec := func(conn *pgx.Conn, statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	exec(super, "CREATE ROLE azure_pg_admin NOLOGIN", "CREATE ROLE alice LOGIN PASSWORD 'x'", "CREATE DATABASE work") // as for the dump of a server of Azure's
	before := serverState(t, super)
	work := strings.Replace(dsn, "dbname=postgres", "dbname=work", 1)

	for _, opts := range [][]Option{nil, {WithSingleServer()}, nil} {
		a, err := New(ctx, append(opts, WithPostgres(work))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(ctx, WithPostgres(dsn)); err == nil || !strings.Contains(err.Error(), "another emulator uses the given PostgreSQL") {
			t.Errorf("a second one: %v", err)
		}
		user, dba := "dba", a.Add(Identity{Name: "dba"})
		if err := a.GrantAdmin(ctx, dba); err != nil {
			t.Fatal(err)
		}
		if a.single {
			user += "@" + ServerName
		}
		connect := func(database string) *pgx.Conn {
			config, err := pgx.ParseConfig(a.DSN("sslmode=verify-full"))
			if err != nil {
				t.Fatal(err)
			}
			config.User, config.Password, config.Database = user, a.Token(dba, nil), database
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		conn := connect("postgres")
		if a.single {
			exec(conn, "CREATE ROLE made LOGIN IN ROLE azure_ad_user")
		} else {
			a.Add(Identity{Name: "made"})
			exec(conn, "SELECT pgaadauth_create_principal('made', true, false)")
		}
		exec(conn, "CREATE DATABASE mine", "CREATE DATABASE theirs")
		exec(super, "CREATE SCHEMA \"of made\" AUTHORIZATION made", "GRANT CONNECT ON DATABASE work TO made", "ALTER DATABASE theirs OWNER TO postgres")
		conn.Close(ctx)
		other := connect("work")
		exec(other, "CREATE TABLE t (n int)", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO made")
		other.Close(ctx)
		third := connect("theirs")
		exec(super, "GRANT CREATE ON DATABASE theirs TO dba")
		exec(third, "CREATE SCHEMA mine", "CREATE TABLE mine.t (n int)")
		third.Close(ctx)

		if err := (&Database{"of_a_test", a}).create(ctx); err != nil {
			t.Fatal(err)
		}
		if !a.single { // a run that is killed leaves all of it, to the next one
			a.gateway.close()
			a.entra.Close()
			a.host.Close()
			a.postgres.lock.Conn().Close(ctx)
			a.postgres.lock.Release()
			a.postgres.pool.Close()
			os.RemoveAll(a.dir)
			if a, err = New(ctx, WithPostgres(dsn)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		exec(super, "DROP DATABASE theirs")
		if after := serverState(t, super); strings.Replace(after, "work{=Tc/postgres,postgres=CTc/postgres}", "work", 1) != before {
			t.Errorf("left behind:\n%s\n%s", before, after)
		}
	}
}

func TestTenantOfSQL(t *testing.T) {
	if !strings.Contains(sqlSection("flexible"), "'"+TenantID+"'") {
		t.Error("azure.sql has another tenant than TenantID")
	}
}
