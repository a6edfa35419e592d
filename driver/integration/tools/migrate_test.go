package tools

import (
	"errors"
	"os/exec"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	_ "github.com/aadpostgres/aadpostgres/driver/migrate"
)

var migrations = fstest.MapFS{
	"1_author.up.sql":   {Data: []byte("CREATE TABLE author (name text); CREATE TABLE book (title text);")},
	"1_author.down.sql": {Data: []byte("DROP TABLE book; DROP TABLE author;")},
	"2_name.up.sql":     {Data: []byte("CREATE INDEX CONCURRENTLY author_name ON author (name)")}, // alone in its file: no transaction
	"2_name.down.sql":   {Data: []byte("DROP INDEX CONCURRENTLY author_name")},
	"3_ada.up.sql":      {Data: []byte("BEGIN; INSERT INTO author VALUES ('Ada'); COMMIT;")},
	"3_ada.down.sql":    {Data: []byte("DELETE FROM author")},
}

func TestMigrate(t *testing.T) {
	d := newTestDB(t)
	open := func() *migrate.Migrate {
		source, err := iofs.New(migrations, ".")
		check(t, err)
		m, err := migrate.NewWithSourceInstance("iofs", source, d.URL+"&x-migrations-table=ledger")
		check(t, err)
		return m
	}
	close := func(m *migrate.Migrate) {
		t.Helper()
		sourceErr, databaseErr := m.Close()
		check(t, errors.Join(sourceErr, databaseErr))
	}
	db := d.open()
	sees := func(what string, want int) {
		t.Helper()
		var n int
		check(t, db.QueryRow("SELECT count(*) FROM "+what).Scan(&n))
		if n != want {
			t.Errorf("rows in %s = %d, want %d", what, n, want)
		}
	}
	m := open()
	check(t, m.Steps(2))
	sees("pg_indexes WHERE indexname = 'author_name'", 1)
	sees("ledger WHERE version = 2 AND NOT dirty", 1)

	d.expire()
	// golang-migrate keeps one session and does not replace it.
	if err := m.Up(); err == nil {
		t.Error("Up() = nil after its session was terminated, want an error")
	}
	m.Close()
	m = open()
	check(t, m.Up())
	sees("author", 1)
	if err := m.Up(); err != migrate.ErrNoChange {
		t.Errorf("second Up() = %v, want %v", err, migrate.ErrNoChange)
	}
	check(t, m.Down())
	close(m)
	sees("pg_tables WHERE tablename IN ('author', 'book')", 0)

	// With an instance of golang-migrate's own driver, over an open pool.
	driver, err := pgx.WithInstance(db, &pgx.Config{MigrationsTable: "ledger"})
	check(t, err)
	source, err := iofs.New(migrations, ".")
	check(t, err)
	m, err = migrate.NewWithInstance("iofs", source, "aadpostgres", driver)
	check(t, err)
	check(t, m.Migrate(3))
	sees("author", 1)
	close(m) // closes the pool too
}

// TestMigrateWithout runs a program without the import, for an import's registration
// lasts for the whole process.
func TestMigrateWithout(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "run", "./testdata/migrate").CombinedOutput()
	check(t, err)
	checkError(t, errors.New(string(out)), "unknown driver aadpostgres (forgotten import?)")
}
