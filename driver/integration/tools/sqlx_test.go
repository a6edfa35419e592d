package tools

import (
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/types"
	"github.com/lib/pq"
)

type sqlxNote struct {
	ID    uuid.UUID
	Body  string
	Tags  pq.StringArray
	Extra types.NullJSONText
	Photo []byte
	Price sql.NullString
	Said  *time.Time
	By    string
}

const sqlxInsert = `INSERT INTO notes (body, tags, extra, photo, price, said) VALUES (:body, :tags, :extra, :photo, :price, :said)`

func TestSqlx(t *testing.T) {
	d := newTestDB(t)
	ctx, dsn := t.Context(), d.DSN
	sqlx.BindDriver("aadpostgres", sqlx.DOLLAR)
	db, err := sqlx.ConnectContext(ctx, "aadpostgres", dsn)
	check(t, err)
	defer db.Close()
	db.MustExecContext(ctx, notes)
	full := sqlxNote{Body: "first", Tags: pq.StringArray{"a", `b",{}`}, Photo: []byte{0, 255}, Price: sql.NullString{String: "0.00000001", Valid: true}, Said: &born,
		Extra: types.NullJSONText{JSONText: types.JSONText(`{"k": [1, null]}`), Valid: true}}
	_, err = db.NamedExecContext(ctx, sqlxInsert, full)
	check(t, err)
	named, err := db.PrepareNamedContext(ctx, "SELECT * FROM notes WHERE body = :body")
	check(t, err)
	defer named.Close()
	prepared, err := db.PreparexContext(ctx, "SELECT body FROM notes WHERE $1 = ANY(tags)")
	check(t, err)
	defer prepared.Close()

	d.expire()

	var got sqlxNote
	check(t, named.GetContext(ctx, &got, sqlxNote{Body: "first"}))
	if got.Said == nil || !got.Said.Equal(born) {
		t.Errorf("said = %v, want %v", got.Said, born)
	}
	checkEqual(t, "session_user", got.By, d.Role)
	got.ID, got.Said, got.By = uuid.Nil, full.Said, ""
	checkEqual(t, "note", got, full)
	var bodies []string
	check(t, prepared.SelectContext(ctx, &bodies, `b",{}`))
	checkEqual(t, "notes with a tag", bodies, []string{"first"})

	// Many rows in one statement, of which one exists.
	many := []sqlxNote{{Body: "second", Tags: pq.StringArray{}}, {Body: "third"}, {Body: "first"}}
	r, err := db.NamedExecContext(ctx, sqlxInsert+` ON CONFLICT (body) DO NOTHING`, many)
	check(t, err)
	n, err := r.RowsAffected()
	check(t, err)
	checkEqual(t, "rows of a batch", n, int64(2))
	_, err = db.NamedExecContext(ctx, sqlxInsert, full)
	checkEqual(t, "a second first", sqlState(err), "23505")
	query, args, err := sqlx.In("SELECT body FROM notes WHERE body IN (?) ORDER BY body", []string{"third", "second"})
	check(t, err)
	check(t, db.SelectContext(ctx, &bodies, db.Rebind(query), args...))
	checkEqual(t, "notes by In", bodies, []string{"second", "third"})
	var third sqlxNote
	check(t, db.GetContext(ctx, &third, "SELECT * FROM notes WHERE body = $1", "third"))
	checkEqual(t, "NULLs", third, sqlxNote{ID: third.ID, Body: "third", Extra: types.NullJSONText{JSONText: types.JSONText("{}")}, By: d.Role})

	tx, err := db.BeginTxx(ctx, nil)
	check(t, err)
	_, err = tx.NamedExecContext(ctx, "UPDATE notes SET body = :body WHERE id = :id", sqlxNote{ID: third.ID, Body: "3"})
	check(t, err)
	tx.MustExecContext(ctx, "SAVEPOINT one")
	_, err = tx.NamedExecContext(ctx, sqlxInsert, full)
	checkEqual(t, "in the savepoint", sqlState(err), "23505")
	tx.MustExecContext(ctx, "ROLLBACK TO SAVEPOINT one")
	check(t, tx.Commit())
	tx, err = db.BeginTxx(ctx, nil)
	check(t, err)
	tx.MustExecContext(ctx, "DELETE FROM notes")
	check(t, tx.Rollback())

	rows, err := db.NamedQueryContext(ctx, "SELECT * FROM notes WHERE said = :said OR body = :body ORDER BY body", map[string]any{"said": born, "body": "3"})
	check(t, err)
	defer rows.Close()
	bodies = nil
	for rows.Next() {
		row := map[string]any{}
		check(t, rows.MapScan(row))
		bodies = append(bodies, row["body"].(string))
	}
	check(t, rows.Err())
	checkEqual(t, "notes by name", bodies, []string{"3", "first"})
	check(t, db.GetContext(ctx, &third, "SELECT * FROM notes WHERE extra @> $1", json.RawMessage(`{"k": [1]}`)))
}

// TestSqlxWithout omits BindDriver: sqlx leaves question marks in the query, which
// PostgreSQL does not understand. With an open pool, sqlx.NewDb takes a name that it knows.
func TestSqlxWithout(t *testing.T) {
	d := newTestDB(t)
	ctx := t.Context()
	db, err := sqlx.ConnectContext(ctx, unboundDriver, d.DSN)
	check(t, err)
	defer db.Close()
	db.MustExecContext(ctx, notes)
	_, err = db.NamedExecContext(ctx, sqlxInsert, sqlxNote{Body: "first"})
	checkError(t, err, "42601")
	d.expire()
	_, err = sqlx.NewDb(db.DB, "pgx").NamedExecContext(ctx, sqlxInsert, sqlxNote{Body: "first"})
	check(t, err)
}
