package tools

import (
	"context"
	"errors"
	"testing"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
	"ariga.io/atlas/sql/sqlclient"
	"github.com/jackc/pgx/v5/pgconn"
)

// errAtlas is the error without the registration, which lasts for the whole process.
var _, errAtlas = sqlclient.Open(context.Background(), "aadpostgres://127.0.0.1/app")

func init() {
	sqlclient.Register("aadpostgres", sqlclient.DriverOpener(postgres.Open))
}

const atlasAuthors = `
schema "public" {}

table "author" {
  schema = schema.public
  column "id" {
    type = bigint
    identity { generated = ALWAYS }
  }
  column "name" { type = text }
  primary_key { columns = [column.id] }
}
`

const atlasBooks = atlasAuthors + `
enum "kind" {
  schema = schema.public
  values = ["novel", "poem"]
}

table "book" {
  schema = schema.public
  column "id" { type = uuid }
  column "author" { type = bigint }
  column "kind" {
    type = enum.kind
    default = "novel"
  }
  column "extra" {
    type = jsonb
    null = true
  }
  primary_key { columns = [column.id] }
  foreign_key "book_author" {
    columns     = [column.author]
    ref_columns = [table.author.column.id]
    on_delete   = CASCADE
  }
  index "book_kind" {
    columns = [column.kind]
    where   = "(extra IS NOT NULL)"
  }
  check "named" { expr = "(id IS NOT NULL)" }
}
`

// atlasChanges returns the changes from the database's schema to that of hcl.
func atlasChanges(t *testing.T, client *sqlclient.Client, hcl string) []schema.Change {
	t.Helper()
	want := new(schema.Schema)
	check(t, postgres.EvalHCLBytes([]byte(hcl), want, nil))
	have, err := client.InspectSchema(t.Context(), "public", nil)
	check(t, err)
	want.Attrs = have.Attrs // the comment and collation that every schema has
	changes, err := client.SchemaDiff(have, want)
	check(t, err)
	return changes
}

func TestAtlas(t *testing.T) {
	d := newTestDB(t)
	ctx := t.Context()
	client, err := sqlclient.Open(ctx, d.URL)
	check(t, err)
	defer client.Close()
	apply := func(hcl string, atLeast int) {
		t.Helper()
		changes := atlasChanges(t, client, hcl)
		if len(changes) < atLeast {
			t.Errorf("changes = %d, want at least %d", len(changes), atLeast)
		}
		check(t, client.ApplyChanges(ctx, changes))
		if rest := atlasChanges(t, client, hcl); len(rest) != 0 {
			t.Errorf("changes after ApplyChanges = %v, want none", rest)
		}
	}
	apply(atlasAuthors, 1)

	d.expire()
	apply(atlasBooks, 2)
	realm, err := client.InspectRealm(ctx, &schema.InspectRealmOption{Schemas: []string{"public"}})
	check(t, err)
	book, ok := realm.Schemas[0].Table("book")
	if !ok || len(book.Columns) != 4 || len(book.ForeignKeys) != 1 || len(book.Indexes) != 1 || book.ForeignKeys[0].OnDelete != schema.Cascade {
		t.Errorf("book = %+v, want 4 columns, an index and a foreign key with cascade", book)
	}

	// In a transaction that is rolled back.
	tx, err := client.Tx(ctx, nil)
	check(t, err)
	check(t, tx.ApplyChanges(ctx, []schema.Change{&schema.DropTable{T: book}}))
	check(t, tx.Rollback())
	if rest := atlasChanges(t, client, atlasBooks); len(rest) != 0 {
		t.Errorf("changes after Rollback = %v, want none", rest)
	}

	// Only one client has the lock.
	unlock, err := client.Lock(ctx, "migrate", 0)
	check(t, err)
	if _, err := client.Lock(ctx, "migrate", 100*time.Millisecond); !errors.Is(err, schema.ErrLocked) {
		t.Errorf("second Lock() = %v, want %v", err, schema.ErrLocked)
	}
	check(t, unlock())

	// Versioned files: a concurrent index, and a file that fails.
	dir := migrate.OpenMemDir(d.Role)
	defer dir.Close()
	executor, err := migrate.NewExecutor(client.Driver, dir, migrate.NopRevisionReadWriter{}, migrate.WithAllowDirty(true))
	check(t, err)
	check(t, dir.WriteFile("1_name.sql", []byte("CREATE INDEX CONCURRENTLY author_name ON author (name);\nINSERT INTO author (name) VALUES ('Ada');\n")))
	check(t, dir.WriteFile("2_broken.sql", []byte("CREATE TABLE author ();\n")))
	sum, err := dir.Checksum()
	check(t, err)
	check(t, migrate.WriteSumFile(dir, sum))
	check(t, executor.ExecuteN(ctx, 1))
	files, err := dir.Files()
	check(t, err)
	err = executor.ExecuteFiles(ctx, files[1:])
	var failed *migrate.StmtExecError
	var pg *pgconn.PgError
	if !errors.As(err, &failed) || failed.Version != "2" || !errors.As(err, &pg) || pg.Code != "42P07" {
		t.Errorf("ExecuteFiles() = %v, want SQLSTATE 42P07 of version 2", err)
	}
	apply(atlasAuthors, 2) // drops the table, its enum and the index
	apply(`schema "public" {}`, 1)
}

func TestAtlasWithout(t *testing.T) {
	checkError(t, errAtlas, `unknown driver "aadpostgres"`)
}
