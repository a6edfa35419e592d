package tools

import (
	"database/sql"
	"errors"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/go-gorp/gorp/v3"
	"github.com/jackc/pgx/v5/pgconn"
	migrate "github.com/rubenv/sql-migrate"
)

var sqlMigrations = migrate.HttpFileSystemMigrationSource{FileSystem: http.FS(fstest.MapFS{
	"1_author.sql": {Data: []byte("-- +migrate Up\nCREATE TABLE author (name text);\nCREATE TABLE book (title text);\n-- +migrate Down\nDROP TABLE book;\nDROP TABLE author;\n")},
	"2_name.sql":   {Data: []byte("-- +migrate Up notransaction\nCREATE INDEX CONCURRENTLY author_name ON author (name);\n-- +migrate Down notransaction\nDROP INDEX CONCURRENTLY author_name;\n")},
	"3_shout.sql": {Data: []byte(`-- +migrate Up
-- +migrate StatementBegin
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN t := upper(t); RETURN t || '!'; END $$;
-- +migrate StatementEnd
-- +migrate Down
DROP FUNCTION shout;
`)},
})}

func TestSQLMigrate(t *testing.T) {
	d := newTestDB(t)
	migrate.MigrationDialects["aadpostgres"] = gorp.PostgresDialect{}
	db := d.open()
	exec := func(direction migrate.MigrationDirection, limit, want int) {
		t.Helper()
		n, err := migrate.ExecMaxContext(t.Context(), db, "aadpostgres", sqlMigrations, direction, limit)
		check(t, err)
		if n != want {
			t.Errorf("migrations = %d, want %d", n, want)
		}
	}
	exec(migrate.Up, 2, 2)
	exec(migrate.Down, 1, 1)

	d.expire()
	exec(migrate.Up, 0, 2)
	exec(migrate.Up, 0, 0)
	records, err := migrate.GetMigrationRecords(db, "aadpostgres")
	check(t, err)
	if len(records) != 3 || records[2].Id != "3_shout.sql" || records[2].AppliedAt.IsZero() {
		t.Errorf("records = %v, want 3, the last of 3_shout.sql", records)
	}

	broken := &migrate.MemoryMigrationSource{Migrations: []*migrate.Migration{
		{Id: "4_a", Up: []string{"CREATE TABLE a ()"}},
		{Id: "5_b", Up: []string{"CREATE TABLE b ()", "CREATE TABLE a ()"}},
	}}
	set := migrate.MigrationSet{TableName: "ledger"}
	n, err := set.ExecContext(t.Context(), db, "aadpostgres", broken, migrate.Up)
	var failed *migrate.TxError
	var pg *pgconn.PgError
	if n != 1 || !errors.As(err, &failed) || failed.Migration.Id != "5_b" || !errors.As(failed.Err, &pg) || pg.Code != "42P07" {
		t.Errorf("ExecContext() = %d, %v, want 1 and SQLSTATE 42P07 of 5_b", n, err)
	}
	var rolledBack bool
	check(t, db.QueryRow("SELECT to_regclass('b') IS NULL").Scan(&rolledBack))
	if !rolledBack {
		t.Error("table b exists, want the failed migration rolled back")
	}
	exec(migrate.Down, 0, 3)
}

// TestSQLMigrateWithout runs before TestSQLMigrate registers the dialect, for it is not
// parallel.
func TestSQLMigrateWithout(t *testing.T) {
	delete(migrate.MigrationDialects, "aadpostgres") // registered if the tests run again with -count
	db, err := sql.Open("aadpostgres", az.DSN())
	check(t, err)
	defer db.Close()
	_, err = migrate.Exec(db, "aadpostgres", sqlMigrations, migrate.Up)
	checkError(t, err, "Unknown dialect: aadpostgres")
}
