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
	const (
		createA      = "CREATE TABLE a ();"
		concurrently = "CREATE TABLE a (); CREATE INDEX CONCURRENTLY i ON a ((1));"
		versionTable = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename NOT LIKE 'pg%' AND schemaname <> 'information_schema' AND tablename <> 'a'"
		noA          = "SELECT to_regclass('a') IS NULL"
	)
	long := createA + " -- " + strings.Repeat("long ", 1000)
	for _, row := range []struct {
		name      string
		options   string
		migration string
		err       string // of Up
		query     string
		want      string
	}{
		{name: "none", migration: createA, query: versionTable, want: "public.schema_migrations"},
		{name: "table", options: "x-migrations-table=ledger", migration: createA, query: versionTable, want: "public.ledger"},
		{name: "empty", options: "x-migrations-table=&x-multi-statement=&x-statement-timeout=", migration: createA, query: versionTable, want: "public.schema_migrations"},
		{name: "spaces", options: "x-migrations-table=a%20b+c%2Bd", migration: createA, query: versionTable, want: "public.a b c+d"},
		{name: "escaped name", options: "x%2Dmigrations%2Dtable=ledger", migration: createA, query: versionTable, want: "public.ledger"},
		{name: "unknown", options: "x-migration-table=ledger&x-lock-strategy=table&x-lock-strategy=row&x-hunter2&x-a%20b=%zz%23&x-=", migration: createA, query: versionTable, want: "public.schema_migrations"},
		{name: "unknown beside known", options: "x-unknown=1&x-migrations-table=ledger&x-migrations-table-name=v", migration: createA, query: versionTable, want: "public.ledger"},
		{name: "without =", options: "x-multi-statement&x-migrations-table=ledger", migration: createA, query: versionTable, want: "public.ledger"},
		{name: "not quoted", options: "x-migrations-table=ops.versions&x-migrations-table-quoted=false", migration: createA, query: versionTable, want: "public.ops.versions"},
		{name: "quoted", options: "x-migrations-table=%22ops%22.%22Versions%22&x-migrations-table-quoted=true", migration: createA, query: versionTable, want: "ops.Versions"},
		{name: "quoted without schema", options: "x-migrations-table-quoted=1&x-migrations-table=%22ledger%22", migration: createA, query: versionTable, want: "public.ledger"},

		{name: "one transaction", options: "x-multi-statement=false", migration: concurrently, err: "cannot run inside a transaction block", query: noA, want: "true"},
		{name: "statement by statement", options: "x-multi-statement=true", migration: concurrently, query: "SELECT indexname::text FROM pg_indexes WHERE tablename = 'a'", want: "i"},
		{name: "above the maximum size", options: "x-multi-statement=true&x-multi-statement-max-size=5000", migration: long, err: "token too long", query: noA, want: "false"},
		{name: "below the maximum size", options: "x-multi-statement=true&x-multi-statement-max-size=6000", migration: long, query: noA, want: "false"},
		{name: "maximum size 0", options: "x-multi-statement=true&x-multi-statement-max-size=0", migration: long, query: noA, want: "false"},

		{name: "longer than the timeout", options: "x-statement-timeout=200", migration: createA + " SELECT pg_sleep(60);", err: "context deadline exceeded", query: noA, want: "true"},
		{name: "shorter than the timeout", options: "x-statement-timeout=30000", migration: createA + " SELECT pg_sleep(0.3);", query: noA, want: "false"},
	} {
		t.Run(row.name, func(t *testing.T) {
			db := newTestDB(t)
			db.Exec(t, "CREATE SCHEMA ops; GRANT ALL ON SCHEMA ops TO PUBLIC")
			m := db.open(newSource(t, "1_a.up.sql", row.migration), db.url(row.options))
			err := m.Up()
			if row.err != "" {
				wantError(t, err, row.err)
			} else {
				check(t, err)
				wantVersion(t, m, 1)
			}
			db.wantValue("SELECT x::text FROM ("+row.query+") _(x)", row.want)
		})
	}
}

// Spaces and plus signs arrive unchanged. In golang-migrate's own drivers they do not.
func TestEscapedValues(t *testing.T) {
	db := newTestDB(t)
	pem, err := os.ReadFile(az.CertFile())
	check(t, err)
	file := filepath.Join(t.TempDir(), "the ca + all.pem")
	check(t, os.WriteFile(file, pem, 0o644))
	id := az.Add(emulator.Identity{Name: "values " + db.Name, Kind: emulator.ServicePrincipal, Secret: "a b+c%d&e?f"})
	check(t, az.Grant(t.Context(), id))
	db.Exec(t, `CREATE SCHEMA "a b+c"; GRANT ALL ON SCHEMA "a b+c" TO PUBLIC`)
	address, _, _ := strings.Cut(strings.TrimPrefix(db.url(), "aadpostgres://"), "?")
	u := "fortest://" + url.PathEscape(id.Name) + "@" + address + "?aad_auth=client-secret&aad_client_secret=a%20b+c%25d%26e?f&aad_client_id=" + id.ClientID +
		"&aad_tenant_id=" + emulator.TenantID + "&x-migrations-table=v" +
		"&application_name=x%20y+z%2B&search_path=%22a%20b%2Bc%22&sslrootcert=" + strings.ReplaceAll(url.PathEscape(file), "%2B", "+")
	m := db.open(newSource(t, "1_a.up.sql", "CREATE TABLE a AS SELECT current_setting('application_name') AS name, session_user AS who"), u)
	check(t, m.Up())
	db.wantValue(`SELECT name || '/' || who FROM "a b+c".a`, "x y+z+/"+id.Name)
	db.wantValue("SELECT schemaname::text FROM pg_tables WHERE tablename = 'v'", "a b+c")
}

// A password may contain the characters that end the user or begin the query.
func TestPassword(t *testing.T) {
	db := newTestDB(t)
	u := db.URL("aad_auth=password", "sslmode=verify-full")
	u = strings.Replace(u, "postgres://", "aadpostgres://"+db.Name+":a%20b+c?x-d%40e&f@", 1)
	source := librarySource(t)
	_, err := migrate.New(source, u)
	wantError(t, err, "password authentication failed")
	_, err = db.superuser().Exec(t.Context(), "CREATE ROLE "+db.Name+" LOGIN PASSWORD 'a b+c?x-d@e&f'")
	check(t, err)
	t.Cleanup(func() {
		if _, err := db.superuser().Exec(context.Background(), "DROP OWNED BY "+db.Name+"; DROP ROLE "+db.Name); err != nil {
			t.Error(err)
		}
	})
	m := db.open(source, u)
	check(t, m.Up())
	sourceErr, databaseErr := m.Close()
	check(t, errors.Join(sourceErr, databaseErr))
}

// An error in a URL is one line of step dsn, and holds no secret of the URL.
func TestInvalidURL(t *testing.T) {
	const valid = "aadpostgres://app:hunter2@h/d?aad_auth=access-token&aad_client_certificate_password=hunter2&"
	source := librarySource(t)
	for _, row := range []struct {
		name string
		url  string
		want string
	}{
		{"no slashes", "aadpostgres:app:hunter2@h/d",
			"aadpostgres: dsn: the database's URL has no ://; write it as aadpostgres://host/database"},
		{"multi-statement", valid + "x-multi-statement=yes", `x-multi-statement is "yes"; write true or false`},
		{"quoted", valid + "x-migrations-table-quoted=2", `x-migrations-table-quoted is "2"; write true or false`},
		{"timeout with a unit", valid + "x-statement-timeout=5s", `x-statement-timeout is "5s"; write milliseconds, as in 5000`},
		{"negative timeout", valid + "x-statement-timeout=-1", `x-statement-timeout is "-1"; write milliseconds`},
		{"size with a unit", valid + "x-multi-statement-max-size=1MB", `x-multi-statement-max-size is "1MB"; write bytes`},
		{"escape in an option", valid + "x-migrations-table=%zz", "x-migrations-table in the URL has an invalid % escape; write % as %25"},
		{"fragment", valid + "x-migrations-table=v#frag", "x-migrations-table in the URL contains a #; write it as %23"},
		{"option given twice", valid + "x-multi-statement=1&x-multi-statement=0", "x-multi-statement is given twice; keep one"},
		{"quoted without a table", valid + "x-migrations-table-quoted=true",
			`x-migrations-table is "", but x-migrations-table-quoted is true; write %22table%22 or %22schema%22.%22table%22`},
		{"one quote", valid + "x-migrations-table-quoted=true&x-migrations-table=%22", "write %22table%22"},
		{"three names", valid + "x-migrations-table-quoted=true&x-migrations-table=%22a%22.%22b%22.%22c%22", "write %22table%22"},
		{"parameter without =", valid + "hunter2", "a parameter of the URL has no ="},
		{"misspelled key", valid + "aad_token_flie=x", "aad_token_file"},
		{"misspelled key beside an unknown option", valid + "x-unknown=1&aad_token_flie=x", "aad_token_file"},
		{"escape in a parameter", valid + "user=a%zz", `"user" in the URL has an invalid %-sequence`},
		{"two @", "aadpostgres://app:hunter2@b@h/d", "the host contains an @"},
		{"password without the mode", "aadpostgres://app:hunter2@h/d", "aadpostgres: dsn: a password"},
		{"no host", "aadpostgres:///d?aad_auth=managed-identity&x-migrations-table=v", "set host"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := migrate.New(source, row.url)
			wantError(t, err, row.want)
			if err == nil {
				return
			}
			wantOneSafeLine(t, err)
			var e *driver.Error
			if !errors.As(err, &e) {
				t.Fatalf("got a %T, want a %T", err, e)
			}
			if e.Step != driver.StepDSN {
				t.Errorf("step: got %q, want %q", e.Step, driver.StepDSN)
			}
		})
	}
}

// The error about a scheme that is not registered is golang-migrate's.
func TestUnknownScheme(t *testing.T) {
	_, err := migrate.New(librarySource(t), "nowhere://app:hunter2@h/d")
	wantError(t, err, "database driver: unknown driver nowhere (forgotten import?)")
	wantOneSafeLine(t, err)
}

func wantOneSafeLine(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %q, want one line", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got error %q, want no password", err)
	}
}
