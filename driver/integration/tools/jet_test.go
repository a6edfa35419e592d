package tools

import (
	"errors"
	"testing"
	"time"

	"github.com/go-jet/jet/v2/postgres"
	"github.com/go-jet/jet/v2/qrm"
	"github.com/go-jet/jet/v2/stmtcache"
	"github.com/google/uuid"
	"github.com/lib/pq"
)

func TestJet(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	_, err := db.ExecContext(ctx, notes+"; CREATE TABLE replies (id bigint PRIMARY KEY, note uuid NOT NULL REFERENCES notes, text text)")
	check(t, err)
	// The types and columns are as jet's generator writes them. The generator is not used, for
	// it reads them from a database.
	type Notes struct {
		ID    uuid.UUID `sql:"primary_key"`
		Body  string
		Tags  pq.StringArray
		Extra *string
		Photo *[]byte
		Price *string
		Said  *time.Time
		By    string
	}
	type Replies struct {
		ID   int64 `sql:"primary_key"`
		Note uuid.UUID
		Text *string
	}
	id, body, by := postgres.StringColumn("id"), postgres.StringColumn("body"), postgres.StringColumn("by")
	tags, extra, photo := postgres.StringArrayColumn("tags"), postgres.StringColumn("extra"), postgres.ByteaColumn("photo")
	price, said := postgres.FloatColumn("price"), postgres.TimestampzColumn("said")
	all := postgres.ColumnList{id, body, tags, extra, photo, price, said, by}
	note := postgres.NewTable("public", "notes", "", all...)
	replyID, to, text := postgres.IntegerColumn("id"), postgres.StringColumn("note"), postgres.StringColumn("text")
	reply := postgres.NewTable("public", "replies", "", replyID, to, text)

	when := born
	full := Notes{Body: "first", Tags: pq.StringArray{"a", `b",{}`}, Extra: new(`{"k": [1, null]}`), Photo: &[]byte{0, 255}, Price: new("123456789012.00000001"), Said: &when}
	insert := func(n ...Notes) postgres.InsertStatement {
		return note.INSERT(body, tags, extra, photo, price, said).MODELS(n)
	}
	var saved []Notes
	check(t, insert(full, Notes{Body: "empty"}).RETURNING(all).QueryContext(ctx, db, &saved))
	if len(saved) != 2 || saved[0].ID == uuid.Nil {
		t.Fatalf("saved = %v, want 2 notes with ids", saved)
	}
	_, err = reply.INSERT(replyID, to, text).VALUES(1, saved[0].ID, "yes").VALUES(2, saved[0].ID, nil).ExecContext(ctx, db)
	check(t, err)
	statement := postgres.SELECT(all, replyID, to, text).
		FROM(note.LEFT_JOIN(reply, to.EQ(id))).
		WHERE(said.EQ(postgres.TimestampzT(born)).AND(tags.CONTAINS(postgres.StringArray("a"))).AND(postgres.RawBool("notes.extra @> #k::jsonb", postgres.RawArgs{"#k": `{"k": [1]}`}))).
		ORDER_BY(replyID.ASC())
	type shelf []struct {
		Notes
		Replies []Replies
	}
	cache := stmtcache.New(db)
	defer cache.Close()
	check(t, statement.QueryContext(ctx, cache, &shelf{}))

	d.expire()

	for _, source := range []struct {
		name string
		db   qrm.Queryable
	}{{"pool", db}, {"prepared", cache}} {
		db := source.db
		var shelf shelf
		check(t, statement.QueryContext(ctx, db, &shelf))
		if len(shelf) != 1 || len(shelf[0].Replies) != 2 || *shelf[0].Replies[0].Text != "yes" || shelf[0].Replies[1].Text != nil {
			t.Fatalf("%s: shelf = %v, want a note with 2 replies", source.name, shelf)
		}
		got := shelf[0].Notes
		checkEqual(t, "session_user", got.By, d.Role)
		if !got.Said.Equal(born) {
			t.Errorf("said = %v, want %v", got.Said, born)
		}
		got.ID, got.By, got.Said = full.ID, full.By, full.Said
		checkEqual(t, "note", got, full)
	}
	var empty Notes
	check(t, note.SELECT(all).WHERE(body.EQ(postgres.String("empty"))).QueryContext(ctx, db, &empty))
	checkEqual(t, "NULLs", empty, Notes{ID: saved[1].ID, Body: "empty", By: d.Role})
	if err := note.SELECT(all).WHERE(id.EQ(postgres.UUID(uuid.New()))).QueryContext(ctx, db, &empty); !errors.Is(err, qrm.ErrNoRows) {
		t.Errorf("no note: error = %v, want %v", err, qrm.ErrNoRows)
	}

	_, err = insert(full).ExecContext(ctx, db)
	checkEqual(t, "a second first", sqlState(err), "23505")
	_, err = insert(full, Notes{Body: "third"}).ON_CONFLICT(body).DO_UPDATE(postgres.SET(price.SET(postgres.Decimal("1")))).ExecContext(ctx, db)
	check(t, err)
	tx, err := db.BeginTx(ctx, nil)
	check(t, err)
	_, err = insert(Notes{Body: "kept"}).ExecContext(ctx, tx)
	check(t, err)
	_, err = tx.ExecContext(ctx, "SAVEPOINT one")
	check(t, err)
	_, err = insert(Notes{Body: "lost"}, Notes{Body: "kept"}).ExecContext(ctx, tx)
	checkEqual(t, "in the savepoint", sqlState(err), "23505")
	_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT one")
	check(t, err)
	check(t, tx.Commit())
	tx, err = db.BeginTx(ctx, nil)
	check(t, err)
	_, err = note.DELETE().WHERE(body.NOT_EQ(postgres.String("first"))).ExecContext(ctx, tx)
	check(t, err)
	check(t, tx.Rollback())
	var bodies []string
	check(t, note.SELECT(body).WHERE(price.IS_NULL().OR(price.EQ(postgres.Decimal("1")))).ORDER_BY(body.ASC()).QueryContext(ctx, db, &bodies))
	checkEqual(t, "notes", bodies, []string{"empty", "first", "kept", "third"})
}
