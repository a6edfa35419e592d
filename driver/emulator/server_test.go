package emulator

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// hostileVariables are variables of libpq and pgx with values that would keep the emulator
// from its server, or change what its statements mean.
func hostileVariables(t *testing.T) []string {
	services := filepath.Join(t.TempDir(), "pg_service.conf")
	if err := os.WriteFile(services, []byte("[other]\nhost=h.invalid\nclient_encoding=latin1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"PGHOST=h.invalid", "PGHOSTADDR=192.0.2.1", "PGPORT=1", "PGDATABASE=other", "PGUSER=other", "PGPASSWORD=other", "PGPASSFILE=/none", "PGSERVICE=other", "PGSERVICEFILE=" + services,
		"PGREQUIREAUTH=oauth", "PGCHANNELBINDING=require", "PGREQUIREPEER=other", "PGTARGETSESSIONATTRS=standby", "PGMINPROTOCOLVERSION=3.2", "PGMAXPROTOCOLVERSION=3.2", "PGCLIENTENCODING=latin1", "PGDATESTYLE=German", "PGTZ=Nowhere/Else",
		"PGOPTIONS=-c default_transaction_read_only=on -c search_path=other -c standard_conforming_strings=off", "PGAPPNAME=other", "PGCONNECT_TIMEOUT=x", "PGLOADBALANCEHOSTS=random",
		"PGSSLMODE=verify-full", "PGSSLROOTCERT=/none", "PGSSLCERT=/none", "PGSSLKEY=/none", "PGSSLCERTMODE=require", "PGSSLSNI=0", "PGSSLNEGOTIATION=direct", "PGSSLPASSWORD=other", "PGSSLCRL=/none", "PGSSLMINPROTOCOLVERSION=TLSv1.3",
		"PGGSSENCMODE=require", "PGKRBSRVNAME=other"}
}

func setVariables(t *testing.T, variables []string) {
	t.Helper()
	for _, kv := range variables {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// No variable of PostgreSQL changes the emulator's own connections: neither all together nor
// any alone.
func TestVariables(t *testing.T) {
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	all := hostileVariables(t)
	check := func(t *testing.T, az *Azure) {
		ctx := t.Context()
		id := az.Add(Identity{Name: "später", Kind: User})
		if err := az.Grant(ctx, id); err != nil {
			t.Errorf("Grant() = %v", err)
		}
		az.Database(t).Exec(t, "CREATE TABLE t (a text); INSERT INTO t VALUES ('ä')")
		principal, mapped, err := az.lookUpPrincipal(ctx, &az.postgres, "später")
		if err != nil || !mapped {
			t.Errorf("lookUpPrincipal() = %v, %t, %v, want the role", principal, mapped, err)
		}
		config, err := az.gateway.sessionConfig(principal, nil, map[string]string{"user": "später", "database": "postgres"})
		if err != nil {
			t.Fatal(err)
		}
		if len(config.RuntimeParams) != 0 {
			t.Errorf("parameters of a session = %v, want the client's only", config.RuntimeParams)
		}
	}
	t.Run("all", func(t *testing.T) {
		setVariables(t, all)
		az := Start(t)
		check(t, az)
		var settings string
		err := az.postgres.pool.QueryRow(t.Context(), `SELECT concat_ws(' ', current_setting('client_encoding'), current_setting('DateStyle'), current_setting('standard_conforming_strings'), current_database())`).Scan(&settings)
		if err != nil {
			t.Fatal(err)
		}
		if want := "UTF8 ISO, MDY on postgres"; settings != want {
			t.Errorf("settings = %q, want %q", settings, want)
		}
	})
	server := startPostgres(t)
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		t.Run(name, func(t *testing.T) {
			setVariables(t, []string{kv})
			if name == "PGSERVICE" {
				setVariables(t, all[slices.IndexFunc(all, func(kv string) bool { return strings.HasPrefix(kv, "PGSERVICEFILE=") }):][:1])
			}
			az := Start(t, WithPostgres(server))
			check(t, az)
		})
	}
}

// pgxEnv has every variable that pgx reads.
func TestVariablesOfPgx(t *testing.T) {
	source := pgxSource(t)
	for _, m := range regexp.MustCompile(`"(PG[A-Z_]+)":`).FindAllStringSubmatch(source, -1) {
		if !slices.ContainsFunc(pgxEnv, func(v struct{ variable, param, value string }) bool { return v.variable == m[1] }) {
			t.Errorf("pgxEnv lacks %s, want every variable that pgx reads", m[1])
		}
	}
}

func pgxSource(t *testing.T) string {
	t.Helper()
	file, _ := runtime.FuncForPC(reflect.ValueOf(pgconn.ParseConfig).Pointer()).FileLine(reflect.ValueOf(pgconn.ParseConfig).Pointer())
	source, err := os.ReadFile(file)
	if err != nil {
		t.Skip("pgx's source is not here: ", err)
	}
	return string(source)
}

// The given DSN keeps its options, in every form, and its service.
func TestGivenDSN(t *testing.T) {
	services := filepath.Join(t.TempDir(), "pg_service.conf")
	if err := os.WriteFile(services, []byte("[mine]\nhost=h1\noptions=-c a.b=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dsn, want string }{
		{"pairs", "host=h1 password=x options='-c a.b=1'", "-c a.b=1"},
		{"URL", "postgres://u:x@h1/db?options=" + queryEscape("-c a.b=1"), "-c a.b=1"},
		{"URL without a query", "postgres://u:x@h1/db", ""},
		{"service", "service=mine servicefile=" + quote(services), "-c a.b=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PGOPTIONS", "-c c.d=2")
			p := &postgres{dsn: tt.dsn}
			config, err := p.config()
			if err != nil {
				t.Fatal(err)
			}
			if config.Host != "h1" {
				t.Errorf("host = %q, want h1", config.Host)
			}
			if got := config.RuntimeParams["options"]; got != tt.want {
				t.Errorf("options = %q, want %q", got, tt.want)
			}
			if err := p.openPool(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer p.pool.Close()
			if got := p.pool.Config().ConnConfig.RuntimeParams["options"]; got != tt.want {
				t.Errorf("options of the pool = %q, want %q", got, tt.want)
			}
			g := &gateway{server: p}
			session, err := g.sessionConfig(principal{password: "x"}, nil, map[string]string{"options": "-c e.f=3"})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := session.RuntimeParams["options"], joinOptions(tt.want, "-c e.f=3"); got != want {
				t.Errorf("options of a session = %q, want %q", got, want)
			}
		})
	}
}

// Where PostgreSQL's reserved names are refused, as with Citus, the emulator's schema has
// another name.
func TestReservedSchema(t *testing.T) {
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	ctx := context.Background()
	server := startPostgres(t)
	superuser, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer superuser.Close(ctx)
	execAll(t, superuser, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'CREATE SCHEMA' AND c.object_identity LIKE 'pg\_%') THEN
				RAISE reserved_name USING MESSAGE = 'unacceptable schema name';
			END IF;
		END $$`, "CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION refuse()")
	before := serverState(t, superuser)
	az, err := New(ctx, WithPostgres(server), WithAdmin(Identity{Name: "dba@contoso.com", Kind: User}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(az.DSN("user=dba@contoso.com", "sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = az.Token(az.Identity("dba@contoso.com"), nil)
	admin, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	execAll(t, admin, "SELECT pgaadauth_create_principal('app2', false, false) FROM pg_catalog.pg_class LIMIT 0", "CREATE ROLE labeled LOGIN",
		`SECURITY LABEL FOR "pgaadauth" ON ROLE labeled IS 'aadauth,oid=`+az.Identity("app").ObjectID+`,type=service'`)
	admin.Close(ctx)
	if err := az.Close(); err != nil {
		t.Error(err)
	}
	if after := serverState(t, superuser); after != before {
		t.Errorf("the server has\n%s\nwant, as before,\n%s", after, before)
	}
}

// A server that is too old is refused with the versions that work.
func TestOldServer(t *testing.T) {
	for _, tt := range []struct {
		version string
		isOld   bool
	}{
		{"9.6.24", true},
		{"11.22 (Debian 11.22-1)", true},
		{"12.4", true},
		{"13devel", false},
		{"13.0", false},
		{"18.6", false},
	} {
		t.Run(tt.version, func(t *testing.T) {
			p := postgres{dsn: "host=127.0.0.1 user=postgres sslmode=disable port=" + fakeServer(t, tt.version)}
			err := p.start(t.Context())
			want := "emulator: PostgreSQL " + tt.version + " is too old; use version 13 or newer"
			if !tt.isOld && err != nil {
				t.Errorf("start() = %v, want no error", err)
			}
			if tt.isOld && (err == nil || err.Error() != want) {
				t.Errorf("start() = %v, want %s", err, want)
			}
		})
	}
}

// fakeServer accepts one client, says that it is PostgreSQL of that version, and returns its
// port.
func fakeServer(t *testing.T, version string) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := readStartup(conn); err != nil {
			return
		}
		sendMessages(conn, &pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: version}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		conn.Read(make([]byte, 16)) // Terminate
	}()
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
