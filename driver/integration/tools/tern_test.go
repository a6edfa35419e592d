package tools

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jackc/tern/v2/migrate"
)

var ternMigrations = fstest.MapFS{
	"001_author.sql": {Data: []byte("CREATE TABLE {{.table}} (name text);\n---- create above / drop below ----\nDROP TABLE {{.table}};\n")},
	"002_name.sql":   {Data: []byte("---- tern: disable-tx ----\nCREATE INDEX CONCURRENTLY author_name ON author (name);\n---- create above / drop below ----\n---- tern: disable-tx ----\nDROP INDEX CONCURRENTLY author_name;\n")},
}

func TestTern(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	// tern calls f with a migrator on one connection of db.
	tern := func(f func(*migrate.Migrator) error) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Raw(func(raw any) error {
			m, err := migrate.NewMigrator(ctx, raw.(*stdlib.Conn).Conn(), "schema_version")
			if err != nil {
				return err
			}
			m.Data["table"] = "author"
			if err := m.LoadMigrations(ternMigrations); err != nil {
				return err
			}
			m.Migrations = append(m.Migrations, &migrate.Migration{Sequence: 3, Name: "ada",
				UpFunc: func(ctx context.Context, conn *pgx.Conn) error {
					_, err := conn.CopyFrom(ctx, pgx.Identifier{"author"}, []string{"name"}, pgx.CopyFromRows([][]any{{"Ada"}, {"Mary"}}))
					return err
				},
				DownFunc: func(ctx context.Context, conn *pgx.Conn) error {
					_, err := conn.Exec(ctx, "TRUNCATE author")
					return err
				}})
			return f(m)
		})
	}
	version := func(want int32) {
		t.Helper()
		check(t, tern(func(m *migrate.Migrator) error {
			v, err := m.GetCurrentVersion(ctx)
			if v != want {
				t.Errorf("version = %d, want %d", v, want)
			}
			return err
		}))
	}
	check(t, tern(func(m *migrate.Migrator) error { return m.MigrateTo(ctx, 2) }))
	version(2)

	d.expire()
	check(t, tern(func(m *migrate.Migrator) error { return m.Migrate(ctx) }))
	version(3)
	var authors int
	check(t, db.QueryRow("SELECT count(*) FROM author").Scan(&authors))
	checkEqual(t, "authors", authors, 2)
	err := tern(func(m *migrate.Migrator) error {
		m.AppendMigration("broken", "CREATE TABLE a ();\nCREATE TABLE author ();", "")
		return m.Migrate(ctx)
	})
	var failed migrate.MigrationPgError
	if !errors.As(err, &failed) || failed.MigrationName != "broken" || failed.Code != "42P07" {
		t.Errorf("Migrate() = %v, want SQLSTATE 42P07 of migration broken", err)
	}
	version(3)
	check(t, tern(func(m *migrate.Migrator) error { return m.MigrateTo(ctx, 0) }))
	var left bool
	check(t, db.QueryRow("SELECT to_regclass('author') IS NOT NULL OR to_regclass('a') IS NOT NULL").Scan(&left))
	if left {
		t.Error("table author or a exists, want both dropped")
	}
}
