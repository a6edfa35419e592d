package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/source/file"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// az is the emulator that all tests share.
var az *emulator.Azure

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	az, err = emulator.New(context.Background())
	if err != nil {
		return 1, err
	}
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		return 1, errors.Join(err, az.Close())
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		os.Setenv(name, value)
	}
	Register("fortest", driver.WithTransport(az.Client()))
	code = m.Run()
	err = az.Close()
	if err != nil || code != 0 {
		return code, err
	}
	// golang-migrate leaves the reader of a migration that it does not run to its end.
	return code, goleak.Find(goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

// A testDB is a database to migrate.
type testDB struct {
	*emulator.Database
	t *testing.T
}

func newTestDB(t *testing.T) *testDB {
	t.Helper()
	t.Parallel()
	return &testDB{az.Database(t), t}
}

// url returns a URL that signs in as the host's identity. Each of params is key=value,
// escaped as in a URL.
func (db *testDB) url(params ...string) string {
	base := "aadpostgres" + strings.TrimPrefix(db.URL("aad_auth=managed-identity"), "postgres")
	return strings.Join(append([]string{base}, params...), "&")
}

// open opens golang-migrate until the test ends.
func (db *testDB) open(source, url string) *migrate.Migrate {
	db.t.Helper()
	m, err := migrate.New(source, url)
	if err != nil {
		db.t.Fatal(err)
	}
	db.t.Cleanup(func() { m.Close() })
	return m
}

// superuser connects to PostgreSQL without the driver, until the test ends.
func (db *testDB) superuser() *pgx.Conn {
	db.t.Helper()
	config, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		db.t.Fatal(err)
	}
	config.Database = db.Name
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		db.t.Fatal(err)
	}
	db.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// wantValue checks the text of a query's one value.
func (db *testDB) wantValue(query, want string) {
	db.t.Helper()
	var got *string
	err := db.superuser().QueryRow(db.t.Context(), query).Scan(&got)
	if err != nil {
		db.t.Errorf("%s: %v", query, err)
		return
	}
	if got == nil {
		db.t.Errorf("%s: got NULL, want %q", query, want)
		return
	}
	if *got != want {
		db.t.Errorf("%s: got %q, want %q", query, *got, want)
	}
}

// newSource writes migrations, each a name followed by its SQL, and returns the URL of
// their folder.
func newSource(t *testing.T, namesAndSQL ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "migrations-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// golang-migrate leaves the file of a migration open that it does not run to its end,
		// and Windows keeps a file that is open.
		if err := os.RemoveAll(dir); err != nil && runtime.GOOS != "windows" {
			t.Error(err)
		}
	})
	for i := 0; i < len(namesAndSQL); i += 2 {
		err := os.WriteFile(filepath.Join(dir, namesAndSQL[i]), []byte(namesAndSQL[i+1]), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + filepath.ToSlash(dir)
}

// librarySource returns three migrations that succeed.
func librarySource(t *testing.T) string {
	t.Helper()
	return newSource(t,
		"1_author.up.sql", "CREATE TABLE author (name text); CREATE TABLE book (title text);",
		"1_author.down.sql", "DROP TABLE author; DROP TABLE book;",
		"2_born.up.sql", "ALTER TABLE author ADD born date;",
		"2_born.down.sql", "ALTER TABLE author DROP born;",
		"3_first.up.sql", "INSERT INTO author VALUES ('Ada', '1815-12-10');",
		"3_first.down.sql", "TRUNCATE author;")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err has want in its text.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func wantVersion(t *testing.T, m *migrate.Migrate, want uint) {
	t.Helper()
	got, dirty, err := m.Version()
	if err != nil {
		t.Errorf("Version() = %v, want %d", err, want)
		return
	}
	if got != want {
		t.Errorf("Version() = %d, want %d", got, want)
	}
	if dirty {
		t.Errorf("Version() = %d, dirty; want it clean", got)
	}
}

func wantNoVersion(t *testing.T, m *migrate.Migrate) {
	t.Helper()
	_, _, err := m.Version()
	if !errors.Is(err, migrate.ErrNilVersion) {
		t.Errorf("Version() error = %v, want %v", err, migrate.ErrNilVersion)
	}
}
