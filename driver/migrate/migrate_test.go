package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/source/file"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// az is the one emulator of this binary.
var az *emulator.Azure

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if az, err = emulator.New(context.Background()); err != nil {
		return 1, err
	}
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		return 1, err
	}
	for _, kv := range env {
		name, v, _ := strings.Cut(kv, "=")
		os.Setenv(name, v)
	}
	Register("fortest", driver.WithTransport(az.Client()))
	code = m.Run()
	if err := az.Close(); err != nil || code != 0 {
		return code, err
	}
	// golang-migrate leaves the reader of a migration that was not run to its end.
	return code, goleak.Find(goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

// A place is a database to migrate, and a look at it past the driver.
type place struct {
	*emulator.Database
	t *testing.T
}

func newPlace(t *testing.T) *place {
	t.Helper()
	t.Parallel()
	return &place{az.Database(t), t}
}

// url signs in as the host's identity; query is written as in a URL.
func (p *place) url(query ...string) string {
	s := strings.Join(append([]string{p.URL("aad_auth=managed-identity")}, query...), "&")
	return "aadpostgres" + strings.TrimPrefix(s, "postgres")
}

// open opens golang-migrate and closes it with the test.
func (p *place) open(source, url string) *migrate.Migrate {
	p.t.Helper()
	m, err := migrate.New(source, url)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { m.Close() })
	return m
}

// superuser reaches the database past the driver.
func (p *place) superuser() *pgx.Conn {
	p.t.Helper()
	config, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		p.t.Fatal(err)
	}
	config.Database = p.Name
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// see reports another answer than want to a query of one value.
func (p *place) see(query, want string) {
	p.t.Helper()
	var got sql.NullString
	if err := p.superuser().QueryRow(p.t.Context(), query).Scan(&got); err != nil || got.String != want {
		p.t.Errorf("%s: got %q, %v, want %q", query, got.String, err, want)
	}
}

// folder writes migrations, name and text by turns, and returns their source.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + filepath.ToSlash(dir)
}

func library(t *testing.T) string {
	return folder(t,
		"1_author.up.sql", "CREATE TABLE author (name text); CREATE TABLE book (title text);", "1_author.down.sql", "DROP TABLE author; DROP TABLE book;",
		"2_born.up.sql", "ALTER TABLE author ADD born date;", "2_born.down.sql", "ALTER TABLE author DROP born;",
		"3_first.up.sql", "INSERT INTO author VALUES ('Ada', '1815-12-10');", "3_first.down.sql", "TRUNCATE author;")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

func wantsVersion(t *testing.T, m *migrate.Migrate, want uint) {
	t.Helper()
	if v, dirty, err := m.Version(); v != want || dirty || err != nil {
		t.Errorf("got version %d, dirty %v, %v, want %d", v, dirty, err, want)
	}
}

func TestUpAndDown(t *testing.T) {
	p := newPlace(t)
	m := p.open(library(t), p.url())
	if _, _, err := m.Version(); err != migrate.ErrNilVersion {
		t.Errorf("a new database: %v", err)
	}
	check(t, m.Up())
	wantsVersion(t, m, 3)
	p.see("SELECT name || born FROM author", "Ada1815-12-10")
	p.see("SELECT tableowner::text FROM pg_tables WHERE tablename = 'author'", "app")
	if err := m.Up(); err != migrate.ErrNoChange {
		t.Errorf("a second time up: %v", err)
	}
	check(t, m.Steps(-2))
	wantsVersion(t, m, 1)
	check(t, m.Migrate(2))
	wantsVersion(t, m, 2)
	check(t, m.Down())
	if _, _, err := m.Version(); err != migrate.ErrNilVersion {
		t.Errorf("all the way down: %v", err)
	}
	p.see("SELECT count(*)::text FROM pg_tables WHERE tablename IN ('author', 'book')", "0")
	check(t, m.Up())
	check(t, m.Drop())
	p.see("SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'", "0")
}

// A migration that fails is undone, but for its mark.
func TestDirty(t *testing.T) {
	p := newPlace(t)
	m := p.open(folder(t, "1_a.up.sql", "CREATE TABLE a ();", "2_b.up.sql", "CREATE TABLE b ();\nCREATE TABLES c ();"), p.url())
	wants(t, m.Up(), `migration failed: syntax error at or near "TABLES" (column 8) in line 2: CREATE TABLE b ();`)
	if v, dirty, err := m.Version(); v != 2 || !dirty || err != nil {
		t.Errorf("got version %d, dirty %v, %v", v, dirty, err)
	}
	p.see("SELECT count(*)::text FROM pg_tables WHERE tablename IN ('a', 'b')", "1")
	if err := m.Up(); !errors.As(err, new(migrate.ErrDirty)) {
		t.Errorf("up with a dirty version: %v", err)
	}
	check(t, m.Force(1))
	m = p.open(folder(t, "1_a.up.sql", "CREATE TABLE a ();", "2_b.up.sql", "CREATE TABLE b ();"), p.url())
	check(t, m.Up())
	wantsVersion(t, m, 2)
}
