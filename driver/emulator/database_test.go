package emulator_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Parallel tests have a database each, on both server types. A session that a test leaves
// open does not prevent its database from being dropped.
func TestDatabase(t *testing.T) {
	for _, tt := range []struct {
		name       string
		opts       []emulator.Option
		userSuffix string
	}{
		{"flexible", nil, ""},
		{"single", []emulator.Option{emulator.WithSingleServer()}, atServer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const tests = 8
			az := emulator.Start(t, append(tt.opts, emulator.WithIdentity(emulator.Identity{Name: "billing"}))...)
			ctx := context.Background()
			names := make(chan string, tests)
			open := make(chan *pgx.Conn, 2*tests)
			t.Run("all", func(t *testing.T) {
				for i := range tests {
					t.Run(fmt.Sprintf(`It's no. %d: "O'Ø" and a very long name indeed`, i), func(t *testing.T) {
						t.Parallel()
						d := az.Database(t)
						names <- d.Name
						app, billing := testOneDatabase(t, az, d, tt.userSuffix)
						open <- app
						open <- billing
					})
				}
			})
			close(names)
			close(open)

			pattern := regexp.MustCompile(`^testdatabase_` + tt.name + `_all_it_s_no_[a-z0-9_]{10,}$`)
			seen := map[string]bool{}
			for name := range names {
				if !pattern.MatchString(name) {
					t.Errorf("name = %q, want one that matches %s", name, pattern)
				}
				if len(name) > 63 {
					t.Errorf("name %q has %d bytes, want at most 63", name, len(name))
				}
				if seen[name] {
					t.Errorf("two databases have the name %q", name)
				}
				seen[name] = true
			}
			if len(seen) != tests {
				t.Errorf("%d databases, want %d", len(seen), tests)
			}
			for conn := range open {
				if err := conn.Ping(ctx); err == nil {
					t.Error("a session outlived its database")
				}
				conn.Close(ctx)
			}
			superuser, err := pgx.Connect(ctx, az.PostgresDSN())
			if err != nil {
				t.Fatal(err)
			}
			defer superuser.Close(ctx)
			for _, query := range []string{
				"SELECT count(*)::text FROM pg_database WHERE datname LIKE 'testdatabase%'",
				"SELECT count(*)::text FROM pg_emulator.databases",
			} {
				if got := queryString(t, superuser, query); got != "0" {
					t.Errorf("%s = %s, want 0", query, got)
				}
			}
		})
	}
}

// testOneDatabase uses a database as two roles, which have all privileges in it, and
// returns their sessions. One of them holds a lock.
func testOneDatabase(t *testing.T, az *emulator.Azure, d *emulator.Database, userSuffix string) (app, billing *pgx.Conn) {
	ctx := context.Background()
	d.Exec(t, "CREATE TABLE orders (id serial PRIMARY KEY, name text); INSERT INTO orders (name) VALUES ('first')")
	app = mustConnect(t, az, az.Identity("app"), d.DSN("user=app"+userSuffix, "sslmode=verify-full"))
	billing = mustConnect(t, az, az.Identity("billing"), d.URL("user=billing"+userSuffix, "sslmode=verify-full", "application_name=a b+c"))
	for _, conn := range []*pgx.Conn{app, billing} {
		sql := fmt.Sprintf("INSERT INTO orders (name) VALUES (current_database()); CREATE TABLE of_%s (n int); CREATE SCHEMA of_%[1]s", conn.Config().User[:3])
		if _, err := conn.Exec(ctx, sql, simple); err != nil {
			t.Error(err)
		}
	}
	if got, want := queryString(t, app, "SELECT string_agg(name, ' ' ORDER BY id) FROM orders"), "first "+d.Name+" "+d.Name; got != want {
		t.Errorf("orders = %q, want %q", got, want)
	}
	if got, want := queryString(t, billing, "SHOW application_name"), "a b+c"; got != want {
		t.Errorf("application_name = %q, want %q", got, want)
	}
	if _, err := app.Exec(ctx, "BEGIN; LOCK orders", simple); err != nil {
		t.Error(err)
	}
	return app, billing
}
