package tools

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/gocraft/dbr/v2"
	"github.com/gocraft/dbr/v2/dialect"
	"github.com/google/uuid"
)

type dbrNote struct {
	ID    uuid.UUID
	Body  string
	Photo []byte
	Price dbr.NullString
	Said  *time.Time
	By    string
}

func TestDbr(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	conn := dbr.Connection{DB: db, Dialect: dialect.PostgreSQL, EventReceiver: &dbr.NullEventReceiver{}}
	session := conn.NewSession(nil)
	_, err := session.ExecContext(ctx, notes)
	check(t, err)
	full := dbrNote{Body: "first", Photo: []byte{0, 255}, Price: dbr.NewNullString("123456789012.00000001"), Said: &born}
	check(t, session.InsertInto("notes").Columns("body", "photo", "price", "said").Record(&full).Returning("id", "by").LoadContext(ctx, &full))
	checkEqual(t, "session_user", full.By, d.Role)

	d.expire()

	var got dbrNote
	check(t, session.Select("id", "body", "photo", "price", "said", "by").From("notes").Where(dbr.Eq("body", []string{"first", "?"})).LoadOneContext(ctx, &got))
	if got.Said == nil || !got.Said.Equal(born) {
		t.Errorf("said = %v, want %v", got.Said, born)
	}
	got.Said = full.Said
	checkEqual(t, "note", got, full)
	_, err = session.InsertInto("notes").Columns("body").Values("first").ExecContext(ctx)
	checkEqual(t, "a second first", sqlState(err), "23505")

	tx, err := session.BeginTx(ctx, nil)
	check(t, err)
	_, err = tx.InsertInto("notes").Columns("body").Values("kept").ExecContext(ctx)
	check(t, err)
	check(t, tx.Commit())
	tx, err = session.BeginTx(ctx, nil)
	check(t, err)
	_, err = tx.Update("notes").Set("body", "lost").Where("body = ?", "kept").ExecContext(ctx)
	check(t, err)
	check(t, tx.Rollback())
	var bodies []string
	_, err = session.SelectBySql("SELECT body FROM notes WHERE price IS NULL OR said = ? ORDER BY body", born).LoadContext(ctx, &bodies)
	check(t, err)
	checkEqual(t, "notes", bodies, []string{"first", "kept"})
}

// TestDbrWithout opens by the driver's name: dbr finds its dialect by that name, and knows
// "postgres" and "pgx" only. It runs a program, for dbr does not close the pool that it
// cannot use.
func TestDbrWithout(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "run", "./testdata/dbr").CombinedOutput()
	if err == nil {
		t.Error("dbr.Open() = nil, want an error")
	}
	checkError(t, errors.New(string(out)), "not supported")
}
