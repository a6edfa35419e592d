package tools

import (
	"database/sql"
	"encoding/json"
	"os"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/integration/tools/sqlcdb"
)

func TestSqlc(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	schema, err := os.ReadFile("sqlcdb/schema.sql")
	check(t, err)
	_, err = db.ExecContext(ctx, string(schema))
	check(t, err)
	q := sqlcdb.New(db)
	params := sqlcdb.SaveAuthorParams{
		Name: "Lorde", Bio: sql.NullString{String: "poet", Valid: true}, Photo: []byte{0, 255}, Born: born,
		Tags: []string{"poetry", `a "b", {c}`}, Extra: json.RawMessage(`{"k": [1, null]}`),
	}
	saved, err := q.SaveAuthor(ctx, params)
	check(t, err)
	prices := []string{"123456789012.00000001", "0.50000000"}
	n, err := q.AddBooks(ctx, sqlcdb.AddBooksParams{Author: saved.ID, Titles: []string{"Coal", "Zami"}, Prices: prices})
	check(t, err)
	checkEqual(t, "books added", n, int64(2))
	prepared, err := sqlcdb.Prepare(ctx, db)
	check(t, err)
	defer prepared.Close()

	d.expire()

	who, err := prepared.Whoami(ctx)
	check(t, err)
	checkEqual(t, "session_user", who, d.Role)
	n, err = prepared.SetMood(ctx, sqlcdb.SetMoodParams{Mood: sqlcdb.NullMood{Mood: sqlcdb.MoodDark, Valid: true}, Titles: []string{"Coal", "none"}})
	check(t, err)
	checkEqual(t, "moods set", n, int64(1))
	byTags := sqlcdb.ShelfParams{Tags: []string{"other", `a "b", {c}`}, Extra: json.RawMessage(`{"no": 1}`)}
	byExtra := sqlcdb.ShelfParams{Tags: []string{"other"}, Extra: json.RawMessage(`{"k": [1]}`)}
	for _, tt := range []struct {
		name string
		q    *sqlcdb.Queries
	}{{"New", q}, {"Prepare", prepared}} {
		for _, find := range []sqlcdb.ShelfParams{byTags, byExtra} {
			shelf, err := tt.q.Shelf(ctx, find)
			check(t, err)
			if len(shelf) != 2 {
				t.Fatalf("%s: Shelf(%+v) = %d books, want 2", tt.name, find, len(shelf))
			}
			author := shelf[0].Author
			if !author.Born.Equal(born) {
				t.Errorf("born = %v, want %v", author.Born, born)
			}
			author.Born = saved.Born
			checkEqual(t, "author", author, saved)
			got := []any{author.Name, author.Bio, author.Photo, author.Tags, string(author.Extra)}
			checkEqual(t, "author's fields", got, []any{params.Name, params.Bio, params.Photo, params.Tags, string(params.Extra)})
			checkEqual(t, "prices", []string{shelf[0].Book.Price, shelf[1].Book.Price}, prices)
			checkEqual(t, "moods", []sqlcdb.NullMood{shelf[0].Book.Mood, shelf[1].Book.Mood}, []sqlcdb.NullMood{{Mood: sqlcdb.MoodDark, Valid: true}, {}})
		}
	}

	params.Bio, params.Photo = sql.NullString{}, nil
	again, err := q.SaveAuthor(ctx, params) // an upsert
	check(t, err)
	checkEqual(t, "id, NULLs", []any{again.ID, again.Bio, again.Photo}, []any{saved.ID, sql.NullString{}, []byte(nil)})

	add := sqlcdb.AddAuthorParams{Name: "Morrison", Born: born}
	tx, err := db.BeginTx(ctx, nil)
	check(t, err)
	check(t, q.WithTx(tx).AddAuthor(ctx, add))
	check(t, tx.Rollback())
	tx, err = db.BeginTx(ctx, nil)
	check(t, err)
	check(t, prepared.WithTx(tx).AddAuthor(ctx, add))
	_, err = tx.ExecContext(ctx, "SAVEPOINT one")
	check(t, err)
	checkEqual(t, "a second Morrison", sqlState(prepared.WithTx(tx).AddAuthor(ctx, add)), "23505")
	_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT one")
	check(t, err)
	check(t, tx.Commit())
	count, err := prepared.CountAuthors(ctx)
	check(t, err)
	checkEqual(t, "authors", count, int64(2))
}
