package tools

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"golang.org/x/sync/errgroup"
)

var goosePlain = fstest.MapFS{
	"00001_author.sql": {Data: []byte(`-- +goose Up
CREATE TABLE author (id bigserial PRIMARY KEY, name text NOT NULL);
CREATE TABLE book (id bigserial PRIMARY KEY, author bigint REFERENCES author, title text NOT NULL);
-- +goose Down
DROP TABLE book;
DROP TABLE author;
`)},
	"00002_title.sql": {Data: []byte(`-- +goose NO TRANSACTION
-- +goose Up
CREATE INDEX CONCURRENTLY book_title ON book (title);
-- +goose Down
DROP INDEX CONCURRENTLY book_title;
`)},
	"00003_shout.sql": {Data: []byte(`-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  t := upper(t);
  RETURN t || '!';
END $$;
-- +goose StatementEnd
-- +goose Down
DROP FUNCTION shout;
`)},
}

// gooseGo are migrations in Go: one in a transaction, one without.
func gooseGo() []*goose.Migration {
	return []*goose.Migration{
		goose.NewGoMigration(4,
			&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO author (name) VALUES ($1), ($2)", "Ada", "Mary")
				return err
			}},
			&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "DELETE FROM author")
				return err
			}}),
		goose.NewGoMigration(5,
			&goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
				_, err := db.ExecContext(ctx, "CREATE INDEX CONCURRENTLY author_name ON author (name)")
				return err
			}},
			&goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
				_, err := db.ExecContext(ctx, "DROP INDEX CONCURRENTLY author_name")
				return err
			}}),
	}
}

func TestGoose(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	var fsys fs.FS = goosePlain
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys)
	check(t, err)
	done, err := provider.Up(ctx)
	check(t, err)
	if len(done) != 3 {
		t.Errorf("Up() = %v, want 3 migrations", done)
	}
	var shouted string
	check(t, db.QueryRow("SELECT shout('go')").Scan(&shouted))
	if shouted != "GO!" {
		t.Errorf("shout('go') = %q, want %q", shouted, "GO!")
	}

	d.expire()
	// Of two providers that begin at once, one migrates. The other waits for the lock and
	// has nothing to do.
	var all errgroup.Group
	counts := make([]int, 2)
	for i := range counts {
		all.Go(func() error {
			locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
			if err != nil {
				return err
			}
			provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys, goose.WithSessionLocker(locker), goose.WithGoMigrations(gooseGo()...))
			if err != nil {
				return err
			}
			done, err := provider.Up(ctx)
			counts[i] = len(done)
			return err
		})
	}
	check(t, all.Wait())
	if counts[0]+counts[1] != 2 || (counts[0] != 0 && counts[1] != 0) {
		t.Errorf("concurrent migrations = %v, want 2 and 0", counts)
	}

	provider, err = goose.NewProvider(goose.DialectPostgres, db, fsys, goose.WithGoMigrations(gooseGo()...))
	check(t, err)
	current, target, err := provider.GetVersions(ctx)
	check(t, err)
	checkEqual(t, "current and target version", []int64{current, target}, []int64{5, 5})
	_, err = provider.DownTo(ctx, 1)
	check(t, err)
	status, err := provider.Status(ctx)
	check(t, err)
	for i, want := range []goose.State{"applied", "pending", "pending", "pending", "pending"} {
		if status[i].State != want {
			t.Errorf("state of version %d = %s, want %s", i+1, status[i].State, want)
		}
	}
	_, err = provider.DownTo(ctx, 0)
	check(t, err)
	var left int
	check(t, db.QueryRow("SELECT count(*) FROM pg_tables WHERE tablename IN ('author', 'book')").Scan(&left))
	checkEqual(t, "tables after DownTo(0)", left, 0)

	// The package's global functions, as older programs call them.
	goose.SetLogger(goose.NopLogger())
	goose.SetBaseFS(goosePlain)
	check(t, goose.SetDialect("postgres"))
	check(t, goose.UpContext(ctx, db, "."))
	version, err := goose.GetDBVersionContext(ctx, db)
	check(t, err)
	checkEqual(t, "version", version, int64(3))
}

// TestGooseFails checks that a migration which fails is rolled back, and that those before
// it stay.
func TestGooseFails(t *testing.T) {
	d := newTestDB(t)
	db := d.open()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fstest.MapFS{
		"1_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a ();\n")},
		"2_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b ();\nCREATE TABLE a ();\n")},
	})
	check(t, err)
	_, err = provider.Up(t.Context())
	var partial *goose.PartialError
	var pg *pgconn.PgError
	if !errors.As(err, &partial) || len(partial.Applied) != 1 || partial.Failed.Source.Version != 2 || !errors.As(err, &pg) || pg.Code != "42P07" {
		t.Errorf("Up() = %v, want SQLSTATE 42P07 of version 2 after one migration", err)
	}
	var a, b bool
	check(t, db.QueryRow("SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL").Scan(&a, &b))
	if !a || b {
		t.Errorf("table a exists: %t, want true; table b exists: %t, want false", a, b)
	}
}

func TestGooseWithout(t *testing.T) {
	_, err := goose.OpenDBWithDriver("aadpostgres", az.DSN())
	checkError(t, err, `"aadpostgres": unknown dialect`)
}
