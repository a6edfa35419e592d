package tools

import (
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// TestSQL uses database/sql without any tool.
func TestSQL(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	_, err := db.ExecContext(ctx, notes)
	check(t, err)
	insert, err := db.PrepareContext(ctx, "INSERT INTO notes (body, tags, extra, photo, price, said) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id")
	check(t, err)
	defer insert.Close()
	type note struct {
		tags  []string
		extra []byte
		photo []byte
		price sql.NullString
		said  sql.Null[time.Time]
	}
	full := note{[]string{"a", `b",{}`, ""}, []byte(`{"k": [1, null]}`), []byte{0, 255}, sql.NullString{String: "123456789012.00000001", Valid: true}, sql.Null[time.Time]{V: born, Valid: true}}
	write := func(body string, n note) (id uuid.UUID) {
		t.Helper()
		check(t, insert.QueryRowContext(ctx, body, n.tags, n.extra, n.photo, n.price, n.said).Scan(&id))
		return id
	}
	read := func(id uuid.UUID, want note) {
		t.Helper()
		var got note
		by := ""
		check(t, db.QueryRowContext(ctx, "SELECT tags, extra, photo, price, said, by FROM notes WHERE id = $1", id).Scan(
			pgtype.NewMap().SQLScanner(&got.tags), &got.extra, &got.photo, &got.price, &got.said, &by))
		if !got.said.V.Equal(want.said.V) {
			t.Errorf("said = %v, want %v", got.said, want.said)
		}
		got.said.V = want.said.V
		checkEqual(t, "note", got, want)
		checkEqual(t, "session_user", by, d.Role)
	}
	first := write("first", full)
	empty := write("empty", note{})

	// A transaction is lost with its session, and the pool goes on.
	lost, err := db.BeginTx(ctx, nil)
	check(t, err)
	_, err = lost.ExecContext(ctx, "INSERT INTO notes (body) VALUES ('lost')")
	check(t, err)
	d.expire()
	if err := lost.Commit(); err == nil {
		t.Error("Commit() = nil after its session was terminated, want an error")
	}

	read(first, full)
	read(write("second", full), full)
	read(empty, note{})

	_, err = insert.ExecContext(ctx, "first", nil, nil, nil, nil, nil)
	checkEqual(t, "a second first", sqlState(err), "23505")
	tx, err := db.BeginTx(ctx, nil)
	check(t, err)
	for _, q := range []string{
		"INSERT INTO notes (body) VALUES ('kept')",
		"SAVEPOINT one", "INSERT INTO notes (body) VALUES ('kept too')", "SAVEPOINT two", "INSERT INTO notes (body) VALUES ('kept')",
	} {
		if _, err = tx.ExecContext(ctx, q); err != nil {
			break
		}
	}
	checkEqual(t, "in the inner savepoint", sqlState(err), "23505")
	_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT two")
	check(t, err)
	check(t, tx.Commit())
	tx, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	check(t, err)
	_, err = tx.ExecContext(ctx, "DELETE FROM notes")
	checkEqual(t, "a write in a read-only transaction", sqlState(err), "25006")
	check(t, tx.Rollback())

	batch, err := db.ExecContext(ctx, "INSERT INTO notes (body) SELECT unnest($1::text[]) ON CONFLICT (body) DO UPDATE SET price = 1", []string{"kept", "third", "fourth"})
	check(t, err)
	n, err := batch.RowsAffected()
	check(t, err)
	checkEqual(t, "rows of a batch", n, int64(3))
	var bodies string
	check(t, db.QueryRowContext(ctx, "SELECT string_agg(body || coalesce(price::int::text, ''), ',' ORDER BY body) FROM notes WHERE tags IS NULL").Scan(&bodies))
	checkEqual(t, "notes", bodies, "empty,fourth,kept1,kept too,third")
}

// TestSQLMany opens eight sessions at once, which share a token.
func TestSQLMany(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	const many = 8
	db.SetMaxOpenConns(many)
	db.SetMaxIdleConns(many)
	all := func() {
		t.Helper()
		before := d.connections()
		var all sync.WaitGroup
		var conns [many]*sql.Conn
		var errs [many]error
		for i := range many {
			all.Go(func() { conns[i], errs[i] = db.Conn(ctx) })
		}
		all.Wait()
		check(t, errors.Join(errs[:]...))
		for _, c := range conns {
			var who string
			check(t, c.QueryRowContext(ctx, "SELECT session_user").Scan(&who))
			checkEqual(t, "session_user", who, d.Role)
			check(t, c.Close())
		}
		checkEqual(t, "connections", d.connections()-before, many)
	}
	all()
	d.expire()
	before := d.tokenRequests()
	all()
	if got := d.tokenRequests() - before; got > 2 { // the second is a refresh, if this takes half the token's life
		t.Errorf("token requests = %d for %d sessions, want at most 2", got, many)
	}
}
