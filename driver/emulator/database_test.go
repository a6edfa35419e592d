package emulator_test

import (
	"context"
	"fmt"
	"go/doc"
	"go/parser"
	gotoken "go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// connectTo signs in by a DSN or a URL.
func mustConnect(t *testing.T, az *emulator.Azure, id emulator.Identity, dsn string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.Password = az.Token(id, nil)
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Tests in parallel, each in a database that only it knows, on both kinds of
// server. What they leave open does not keep a database from being dropped.
func TestDatabase(t *testing.T) {
	for _, kind := range []struct {
		name string
		opts []emulator.Option
		at   string
	}{{"flexible", nil, ""}, {"single", []emulator.Option{emulator.WithSingleServer()}, "@" + emulator.ServerName}} {
		t.Run(kind.name, func(t *testing.T) {
			az := emulator.Start(t, append(kind.opts, emulator.WithIdentity(emulator.Identity{Name: "billing"}))...)
			app, billing, ctx := az.Identity("app"), az.Identity("billing"), context.Background()
			names, left := make(chan string, 8), make(chan *pgx.Conn, 16)
			t.Run("all", func(t *testing.T) {
				for i := range 8 {
					t.Run(fmt.Sprintf(`It's no. %d: "O'Ø" and a very long name indeed`, i), func(t *testing.T) {
						t.Parallel()
						d := az.Database(t)
						names <- d.Name
						d.Exec(t, "CREATE TABLE orders (id serial PRIMARY KEY, name text); INSERT INTO orders (name) VALUES ('first')")
						conn := mustConnect(t, az, app, d.DSN("user=app"+kind.at, "sslmode=verify-full"))
						left <- conn
						other := mustConnect(t, az, billing, d.URL("user=billing"+kind.at, "sslmode=verify-full", "application_name=a b+c"))
						left <- other
						for _, c := range []*pgx.Conn{conn, other} {
							if _, err := c.Exec(ctx, fmt.Sprintf("INSERT INTO orders (name) VALUES (current_database()); CREATE TABLE of_%s (n int); CREATE SCHEMA of_%[1]s", c.Config().User[:3]), simple); err != nil {
								t.Error(err)
							}
						}
						var all, name string
						if err := conn.QueryRow(ctx, "SELECT string_agg(name, ' ' ORDER BY id) FROM orders").Scan(&all); err != nil || all != "first "+d.Name+" "+d.Name {
							t.Errorf("%q, %v", all, err)
						}
						if err := other.QueryRow(ctx, "SHOW application_name").Scan(&name); err != nil || name != "a b+c" {
							t.Errorf("%q, %v", name, err)
						}
						if _, err := conn.Exec(ctx, "BEGIN; LOCK orders", simple); err != nil { // and no more
							t.Error(err)
						}
					})
				}
			})
			close(names)
			close(left)
			seen := map[string]bool{}
			for name := range names {
				if seen[name] || !regexp.MustCompile(`^testdatabase_`+kind.name+`_all_it_s_no_[a-z0-9_]{10,}$`).MatchString(name) || len(name) > 63 {
					t.Errorf("name %q", name)
				}
				seen[name] = true
			}
			for conn := range left {
				if err := conn.Ping(ctx); err == nil {
					t.Error("a session outlived its database")
				}
				conn.Close(ctx)
			}
			super, err := pgx.Connect(ctx, az.PostgresDSN())
			if err != nil {
				t.Fatal(err)
			}
			defer super.Close(ctx)
			var rest int
			if err := super.QueryRow(ctx, "SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'testdatabase%') + (SELECT count(*) FROM pg_emulator.databases)").Scan(&rest); err != nil || rest != 0 || len(seen) != 8 {
				t.Errorf("%d of %d databases are left, %v", rest, len(seen), err)
			}
		})
	}
}

func TestWithIdentity(t *testing.T) {
	person := emulator.Identity{Name: "dba@contoso.com", Kind: emulator.User}
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}), emulator.WithAdmin(person),
		emulator.WithIdentity(emulator.Identity{Name: "reports", Kind: emulator.ServicePrincipal}))
	for _, name := range []string{"app", "billing", "reports", person.Name} {
		checkSignIn(t, az, name, az.Identity(name))
	}
	az.Add(emulator.Identity{Name: "new"})
	ctx := context.Background()
	const create = "SELECT pgaadauth_create_principal('new', false, false)"
	_, err := mustConnectAs(t, az, "billing", az.Token(az.Identity("billing"), nil)).Exec(ctx, create)
	checkPgError(t, err, "42501", "permission denied")
	if _, err := mustConnectAs(t, az, person.Name, az.Token(az.Identity(person.Name), nil)).Exec(ctx, create); err != nil {
		t.Error(err)
	}
	checkSignIn(t, az, "new", az.Identity("new"))

	if _, err := emulator.New(ctx, emulator.WithIdentity(emulator.Identity{Name: "pg_mine"})); err == nil || !strings.Contains(err.Error(), `the role of pg_mine: ERROR: role name "pg_mine" is reserved`) {
		t.Errorf("got %v", err)
	}
	defer func() {
		if got := recover(); got != "emulator: no identity named nobody" {
			t.Errorf("got %v", got)
		}
	}()
	az.Identity("nobody")
}

// The examples that want a test have one.
func TestExamples(t *testing.T) {
	wanting := map[string]func(){"": Example, "_parallel": Example_parallel, "WithIdentity": ExampleWithIdentity, "WithAdmin": ExampleWithAdmin,
		"WithSingleServer": ExampleWithSingleServer, "WithPostgres": ExampleWithPostgres, "WithLog": ExampleWithLog,
		"Faults": ExampleFaults, "Azure_Database": ExampleAzure_Database, "Azure_Command": ExampleAzure_Command, "Azure_Token": ExampleAzure_Token}
	f, err := parser.ParseFile(gotoken.NewFileSet(), "example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Examples(f) {
		example := wanting[e.Name]
		switch {
		case e.Output != "":
			continue // go test runs it
		case example == nil:
			t.Errorf("Example%s is not run", e.Name)
			continue
		}
		t.Run("Example"+e.Name, func(t *testing.T) {
			setT(t)
			example()
		})
	}
}
