package migrate

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Each option does what it does in golang-migrate's own driver.
func TestOptions(t *testing.T) {
	const table = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename NOT LIKE 'pg%' AND schemaname <> 'information_schema' AND tablename <> 'a'"
	for name, o := range map[string]struct {
		query, migration string
		err              string // of up
		see, want        string
	}{
		"none":              {"", "CREATE TABLE a ();", "", table, "public.schema_migrations"},
		"table":             {"x-migrations-table=ledger", "CREATE TABLE a ();", "", table, "public.ledger"},
		"empty":             {"x-migrations-table=&x-multi-statement=&x-statement-timeout=", "CREATE TABLE a ();", "", table, "public.schema_migrations"},
		"spaces":            {"x-migrations-table=a%20b+c%2Bd", "CREATE TABLE a ();", "", table, "public.a b c+d"},
		"escaped name":      {"x%2Dmigrations%2Dtable=ledger", "CREATE TABLE a ();", "", table, "public.ledger"},
		"not quoted":        {"x-migrations-table=ops.versions&x-migrations-table-quoted=false", "CREATE TABLE a ();", "", table, "public.ops.versions"},
		"quoted":            {"x-migrations-table=%22ops%22.%22Versions%22&x-migrations-table-quoted=true", "CREATE TABLE a ();", "", table, "ops.Versions"},
		"quoted, no schema": {"x-migrations-table-quoted=1&x-migrations-table=%22ledger%22", "CREATE TABLE a ();", "", table, "public.ledger"},

		"one transaction": {"x-multi-statement=false", "CREATE TABLE a (); CREATE INDEX CONCURRENTLY ON a ((1));", "cannot run inside a transaction block",
			"SELECT to_regclass('a') IS NULL", "true"},
		"many": {"x-multi-statement=true", "CREATE TABLE a (); CREATE INDEX CONCURRENTLY i ON a ((1));", "",
			"SELECT indexname::text FROM pg_indexes WHERE tablename = 'a'", "i"},
		"long":     {"x-multi-statement=true&x-multi-statement-max-size=5000", "CREATE TABLE a (); -- " + strings.Repeat("long ", 1000), "token too long", "SELECT to_regclass('a') IS NULL", "false"},
		"not long": {"x-multi-statement=true&x-multi-statement-max-size=6000", "CREATE TABLE a (); -- " + strings.Repeat("long ", 1000), "", "SELECT to_regclass('a') IS NULL", "false"},
		"max 0":    {"x-multi-statement=true&x-multi-statement-max-size=0", "CREATE TABLE a (); -- " + strings.Repeat("long ", 1000), "", "SELECT to_regclass('a') IS NULL", "false"},

		"timeout":    {"x-statement-timeout=200", "CREATE TABLE a (); SELECT pg_sleep(60);", "context deadline exceeded", "SELECT to_regclass('a') IS NULL", "true"},
		"no timeout": {"x-statement-timeout=30000", "CREATE TABLE a (); SELECT pg_sleep(0.3);", "", "SELECT to_regclass('a') IS NULL", "false"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			_, err := p.superuser().Exec(t.Context(), "CREATE SCHEMA ops; GRANT ALL ON SCHEMA ops TO PUBLIC")
			check(t, err)
			m := p.open(folder(t, "1_a.up.sql", o.migration), p.url(o.query))
			if err := m.Up(); o.err == "" {
				check(t, err)
				wantsVersion(t, m, 1)
			} else {
				wants(t, err, o.err)
			}
			p.see("SELECT x::text FROM ("+o.see+") _(x)", o.want)
		})
	}
}

// A space and a plus arrive as such, whatever golang-migrate's drivers make of them.
func TestValues(t *testing.T) {
	p := newPlace(t)
	pem, err := os.ReadFile(az.CertFile())
	check(t, err)
	file := filepath.Join(t.TempDir(), "the ca + all.pem")
	check(t, os.WriteFile(file, pem, 0o644))
	id := az.Add(emulator.Identity{Name: "values " + p.Name, Kind: emulator.ServicePrincipal, Secret: "a b+c%d&e?f"})
	check(t, az.Grant(t.Context(), id))
	super := p.superuser()
	_, err = super.Exec(t.Context(), `CREATE SCHEMA "a b+c"; GRANT ALL ON SCHEMA "a b+c" TO PUBLIC`)
	check(t, err)
	where, _, _ := strings.Cut(strings.TrimPrefix(p.url(), "aadpostgres://"), "?")
	u := "fortest://" + url.PathEscape(id.Name) + "@" + where + "?aad_auth=client-secret&aad_client_secret=a%20b+c%25d%26e?f&aad_client_id=" + id.ClientID +
		"&aad_tenant_id=" + emulator.TenantID + "&x-migrations-table=v" +
		"&application_name=x%20y+z%2B&search_path=%22a%20b%2Bc%22&sslrootcert=" + strings.ReplaceAll(url.PathEscape(file), "%2B", "+")
	m := p.open(folder(t, "1_a.up.sql", "CREATE TABLE a AS SELECT current_setting('application_name') AS name, session_user AS who"), u)
	check(t, m.Up())
	p.see(`SELECT name || '/' || who FROM "a b+c".a`, "x y+z+/"+id.Name)
	p.see("SELECT schemaname::text FROM pg_tables WHERE tablename = 'v'", "a b+c")
}

// A password may hold what elsewhere ends the user or begins the query.
func TestPassword(t *testing.T) {
	p := newPlace(t)
	u := p.URL("aad_auth=password", "sslmode=verify-full")
	u = strings.Replace(u, "postgres://", "aadpostgres://"+p.Name+":a%20b+c?x-d%40e&f@", 1)
	source := library(t)
	_, err := migrate.New(source, u)
	wants(t, err, "password authentication failed")
	_, err = p.superuser().Exec(t.Context(), "CREATE ROLE "+p.Name+" LOGIN PASSWORD 'a b+c?x-d@e&f'")
	check(t, err)
	t.Cleanup(func() {
		if _, err := p.superuser().Exec(context.Background(), "DROP OWNED BY "+p.Name+"; DROP ROLE "+p.Name); err != nil {
			t.Error(err)
		}
	})
	m := p.open(source, u)
	check(t, m.Up())
	sourceErr, databaseErr := m.Close()
	check(t, errors.Join(sourceErr, databaseErr))
}

// What is wrong with a URL is told in one line, without what is in it.
func TestBadURL(t *testing.T) {
	source := library(t)
	const at = "aadpostgres://app:hunter2@h/d?aad_auth=access-token&aad_client_certificate_password=hunter2&"
	for u, want := range map[string]string{
		"aadpostgres:app:hunter2@h/d":                                                    "aadpostgres: dsn: the database's URL has no ://; write it as in aadpostgres://host/database",
		at + "x-migration-table=v":                                                       "aadpostgres: dsn: x-migration-table is no option of golang-migrate's driver for pgx/v5; write one of x-migrations-table, x-migrations-table-quoted, x-statement-timeout, x-multi-statement, x-multi-statement-max-size",
		at + "x-lock-strategy=table":                                                     "x-lock-strategy is no option",
		at + "x-multi-statement=yes":                                                     `x-multi-statement is "yes"; write true or false`,
		at + "x-migrations-table-quoted=2":                                               `x-migrations-table-quoted is "2"; write true or false`,
		at + "x-statement-timeout=5s":                                                    `x-statement-timeout is "5s"; write milliseconds, as in 5000`,
		at + "x-statement-timeout=-1":                                                    `x-statement-timeout is "-1"; write milliseconds`,
		at + "x-multi-statement-max-size=1MB":                                            `x-multi-statement-max-size is "1MB"; write bytes`,
		at + "x-migrations-table=%zz":                                                    "x-migrations-table in the URL holds a bad %-sequence; write a % as %25",
		at + "x-migrations-table=v#frag":                                                 "x-migrations-table in the URL holds a #; write it as %23",
		at + "x-multi-statement=1&x-multi-statement=0":                                   "x-multi-statement is given twice; keep one",
		at + "x-migrations-table-quoted=true":                                            `x-migrations-table is "", but x-migrations-table-quoted wants %22table%22 or %22schema%22.%22table%22`,
		at + "x-migrations-table-quoted=true&x-migrations-table=%22":                     "wants %22table%22",
		at + "x-migrations-table-quoted=true&x-migrations-table=%22a%22.%22b%22.%22c%22": "wants %22table%22",
		at + "x-hunter2":                                                                 "a parameter of the URL has no =",
		at + "aad_token_flie=x":                                                          "aad_token_file",
		at + "user=a%zz":                                                                 `"user" in the URL has an invalid %-sequence`,
		"aadpostgres://app:hunter2@b@h/d":                                                "the host contains an @",
		"aadpostgres://app:hunter2@h/d":                                                  "aadpostgres: dsn: a password",
		"aadpostgres:///d?aad_auth=managed-identity&x-migrations-table=v":                "name the server's host",
		"nowhere://app:hunter2@h/d":                                                      "database driver: unknown driver nowhere (forgotten import?)",
	} {
		_, err := migrate.New(source, u)
		wants(t, err, want)
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", u, err)
		}
		if e := new(driver.Error); err != nil && !strings.HasPrefix(u, "nowhere") && (!errors.As(err, &e) || e.Step != driver.StepDSN) {
			t.Errorf("%s: not of the step dsn: %v", u, err)
		}
	}
}
