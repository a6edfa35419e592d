package tools

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/migrate"
)

type bunAuthor struct {
	bun.BaseModel `bun:"table:authors"`

	ID    uuid.UUID `bun:"type:uuid,pk,default:gen_random_uuid()"`
	Name  string    `bun:",unique"`
	Bio   *string
	Photo []byte
	Pay   string         `bun:"type:numeric(20,8),default:0"`
	Tags  []string       `bun:",array"`
	Extra map[string]any `bun:"type:jsonb"`
	Born  time.Time
	Books []*bunBook `bun:"rel:has-many,join:id=author_id"`
}

type bunBook struct {
	bun.BaseModel `bun:"table:books"`

	ID       int64 `bun:",pk,autoincrement"`
	Title    string
	AuthorID uuid.UUID   `bun:"type:uuid"`
	Author   *bunAuthor  `bun:"rel:belongs-to,join:author_id=id"`
	Genres   []*bunGenre `bun:"m2m:book_genres,join:Book=Genre"`
}

type bunGenre struct {
	bun.BaseModel `bun:"table:genres"`

	Name string `bun:",pk"`
}

type bunBookGenre struct {
	bun.BaseModel `bun:"table:book_genres"`

	BookID int64     `bun:",pk"`
	Book   *bunBook  `bun:"rel:belongs-to,join:book_id=id"`
	Name   string    `bun:",pk"`
	Genre  *bunGenre `bun:"rel:belongs-to,join:name=name"`
}

func bunTables(ctx context.Context, m *migrate.Migrator, _ *migrate.Migration) error {
	for _, model := range []any{(*bunAuthor)(nil), (*bunBook)(nil), (*bunGenre)(nil), (*bunBookGenre)(nil)} {
		if _, err := m.DB().NewCreateTable().Model(model).WithForeignKeys().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func bunIndex(ctx context.Context, m *migrate.Migrator, _ *migrate.Migration) error {
	_, err := m.DB().NewCreateIndex().Model((*bunBook)(nil)).Index("books_title").Column("title").Exec(ctx)
	return err
}

func bunNoIndex(ctx context.Context, m *migrate.Migrator, _ *migrate.Migration) error {
	_, err := m.DB().NewDropIndex().Index("books_title").Exec(ctx)
	return err
}

func TestBun(t *testing.T) {
	d := newTestDB(t)
	ctx, dsn := t.Context(), d.DSN
	db, err := sql.Open("aadpostgres", dsn)
	check(t, err)
	orm := bun.NewDB(db, pgdialect.New())
	defer orm.Close()
	orm.RegisterModel((*bunBookGenre)(nil))
	migrations := migrate.NewMigrations()
	up := func(m migrate.Migration) {
		t.Helper()
		migrations.Add(m)
		migrator := migrate.NewMigrator(orm, migrations)
		check(t, migrator.Init(ctx))
		check(t, migrator.Lock(ctx))
		group, err := migrator.Migrate(ctx)
		check(t, err)
		check(t, migrator.Unlock(ctx))
		checkEqual(t, "migrations", len(group.Migrations), 1)
	}
	up(migrate.Migration{Name: "1", Up: bunTables})
	bio := "poet"
	lorde := &bunAuthor{Name: "Lorde", Bio: &bio, Photo: []byte{0, 255}, Pay: "123456789012.00000001", Tags: []string{"a", `b",{}`}, Extra: map[string]any{"k": []any{1.0, nil}}, Born: born}
	_, err = orm.NewInsert().Model(lorde).Exec(ctx)
	check(t, err)
	books := []*bunBook{{Title: "Coal", AuthorID: lorde.ID}, {Title: "Zami", AuthorID: lorde.ID}}
	_, err = orm.NewInsert().Model(&books).Exec(ctx)
	check(t, err)
	prepared, err := orm.PrepareContext(ctx, "SELECT title FROM books WHERE author_id = $1 ORDER BY id")
	check(t, err)
	defer prepared.Close()

	d.expire()

	up(migrate.Migration{Name: "2", Up: bunIndex, Down: bunNoIndex})
	group, err := migrate.NewMigrator(orm, migrations).Rollback(ctx)
	check(t, err)
	checkEqual(t, "migrations rolled back", len(group.Migrations), 1)
	var indexed bool
	check(t, orm.NewRaw("SELECT to_regclass(?) IS NOT NULL", "books_title").Scan(ctx, &indexed))
	checkEqual(t, "an index after the rollback", indexed, false)
	var who, title string
	check(t, orm.NewSelect().ColumnExpr("session_user").Scan(ctx, &who))
	checkEqual(t, "session_user", who, d.Role)
	check(t, prepared.QueryRowContext(ctx, lorde.ID).Scan(&title))
	checkEqual(t, "title", title, "Coal")

	_, err = orm.NewInsert().Model(&[]bunGenre{{Name: "poetry"}, {Name: "memoir"}}).Exec(ctx)
	check(t, err)
	_, err = orm.NewInsert().Model(&[]bunBookGenre{{BookID: books[1].ID, Name: "memoir"}, {BookID: books[1].ID, Name: "poetry"}}).Exec(ctx)
	check(t, err)
	named := struct{ First, Second string }{"Coal", "Zami"}
	n, err := orm.WithNamedArg("author", lorde.ID).NewSelect().Model((*bunBook)(nil)).Where("title IN (?first, ?second) AND author_id = ?author", named).Count(ctx)
	check(t, err)
	checkEqual(t, "books by named arguments", n, int64(2))
	var got bunAuthor
	check(t, orm.NewSelect().Model(&got).Where("name = ?", "Lorde").Where("'a' = ANY(tags)").Where(`extra @> ?`, `{"k":[1]}`).Relation("Books").Relation("Books.Genres").Relation("Books.Author").Scan(ctx))
	if len(got.Books) != 2 || len(got.Books[1].Genres) != 2 || got.Books[0].Author.Name != "Lorde" {
		t.Errorf("relations = %v, want 2 books with author and genres", got.Books)
	}
	if !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	got.Born, got.Books = lorde.Born, nil
	checkEqual(t, "author", &got, lorde)

	_, err = orm.NewInsert().Model(&bunAuthor{Name: "Lorde"}).Exec(ctx)
	checkEqual(t, "a second Lorde", sqlState(err), "23505")
	_, err = orm.NewInsert().Model(&bunAuthor{Name: "Lorde"}).On("CONFLICT (name) DO UPDATE").Set("bio = EXCLUDED.bio").Exec(ctx) // an upsert
	check(t, err)
	var now bunAuthor
	check(t, orm.NewSelect().Model(&now).Where("name = 'Lorde'").Scan(ctx))
	checkEqual(t, "a NULL and what was there", []any{now.Bio, now.Photo}, []any{(*string)(nil), lorde.Photo})

	add := func(db bun.IDB, name string) error {
		_, err := db.NewInsert().Model(&bunGenre{Name: name}).Exec(ctx)
		return err
	}
	err = orm.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		check(t, add(tx, "kept"))
		err := tx.RunInTx(ctx, nil, func(ctx context.Context, inner bun.Tx) error { // a savepoint
			check(t, add(inner, "lost"))
			return add(inner, "kept")
		})
		checkEqual(t, "in the savepoint", sqlState(err), "23505")
		return nil
	})
	check(t, err)
	err = orm.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		check(t, add(tx, "lost"))
		return add(tx, "poetry")
	})
	checkEqual(t, "in a transaction", sqlState(err), "23505")
	var names []string
	check(t, orm.NewSelect().Model((*bunGenre)(nil)).Column("name").Where("name IN (?)", bun.List([]string{"kept", "lost"})).Scan(ctx, &names))
	checkEqual(t, "genres", names, []string{"kept"})
}
