package migrate

import (
	"errors"
	"testing"

	"github.com/golang-migrate/migrate/v4"
)

func TestUpAndDown(t *testing.T) {
	db := newTestDB(t)
	m := db.open(librarySource(t), db.url())
	wantNoVersion(t, m)

	check(t, m.Up())
	wantVersion(t, m, 3)
	db.wantValue("SELECT name || born FROM author", "Ada1815-12-10")
	db.wantValue("SELECT tableowner::text FROM pg_tables WHERE tablename = 'author'", "app")
	err := m.Up()
	if !errors.Is(err, migrate.ErrNoChange) {
		t.Errorf("second Up() = %v, want %v", err, migrate.ErrNoChange)
	}

	check(t, m.Steps(-2))
	wantVersion(t, m, 1)
	check(t, m.Migrate(2))
	wantVersion(t, m, 2)

	check(t, m.Down())
	wantNoVersion(t, m)
	db.wantValue("SELECT count(*)::text FROM pg_tables WHERE tablename IN ('author', 'book')", "0")

	check(t, m.Up())
	check(t, m.Drop())
	db.wantValue("SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'", "0")
}

// A migration that fails is rolled back, and leaves its version dirty.
func TestFailedMigration(t *testing.T) {
	db := newTestDB(t)
	m := db.open(newSource(t, "1_a.up.sql", "CREATE TABLE a ();", "2_b.up.sql", "CREATE TABLE b ();\nCREATE TABLES c ();"), db.url())
	wantError(t, m.Up(), `migration failed: syntax error at or near "TABLES" (column 8) in line 2: CREATE TABLE b ();`)
	version, dirty, err := m.Version()
	check(t, err)
	if version != 2 {
		t.Errorf("Version() = %d, want 2", version)
	}
	if !dirty {
		t.Error("Version() is clean, want it dirty")
	}
	db.wantValue("SELECT count(*)::text FROM pg_tables WHERE tablename IN ('a', 'b')", "1")
	err = m.Up()
	if !errors.As(err, new(migrate.ErrDirty)) {
		t.Errorf("Up() of a dirty database = %v, want %T", err, migrate.ErrDirty{})
	}

	check(t, m.Force(1))
	m = db.open(newSource(t, "1_a.up.sql", "CREATE TABLE a ();", "2_b.up.sql", "CREATE TABLE b ();"), db.url())
	check(t, m.Up())
	wantVersion(t, m, 2)
}
