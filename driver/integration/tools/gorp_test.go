package tools

import (
	"testing"
	"time"

	"github.com/go-gorp/gorp/v3"
)

type gorpAuthor struct {
	ID      int64     `db:"id,primarykey,autoincrement"`
	Version int64     `db:"version"`
	Name    string    `db:"name"`
	Bio     *string   `db:"bio"`
	Photo   []byte    `db:"photo"`
	Born    time.Time `db:"born"`
}

func TestGorp(t *testing.T) {
	d := newTestDB(t)
	db := d.open()
	m := gorp.DbMap{Db: db, Dialect: gorp.PostgresDialect{}}
	table := m.AddTableWithName(gorpAuthor{}, "author")
	table.SetVersionCol("version")
	table.ColMap("name").SetUnique(true)
	check(t, m.CreateTablesIfNotExists())
	bio := "poet"
	lorde := gorpAuthor{Name: "Lorde", Bio: &bio, Photo: []byte{0, 255}, Born: born}
	check(t, m.Insert(&lorde))

	d.expire()

	var got gorpAuthor
	check(t, m.WithContext(t.Context()).SelectOne(&got, "SELECT * FROM author WHERE name = :name", map[string]any{"name": "Lorde"}))
	if !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	got.Born = lorde.Born
	checkEqual(t, "author", got, lorde)
	checkEqual(t, "a second Lorde", sqlState(m.Insert(&gorpAuthor{Name: "Lorde", Born: born})), "23505")

	tx, err := m.Begin()
	check(t, err)
	got.Bio = nil
	_, err = tx.Update(&got)
	check(t, err)
	check(t, tx.Savepoint("one"))
	check(t, tx.Insert(&gorpAuthor{Name: "lost", Born: born}))
	check(t, tx.RollbackToSavepoint("one"))
	check(t, tx.Commit())
	_, err = m.Update(&lorde) // of the version before
	if _, ok := err.(gorp.OptimisticLockError); !ok {
		t.Errorf("update of an old version: error = %v, want a gorp.OptimisticLockError", err)
	}
	n, err := m.SelectInt("SELECT count(*) FROM author WHERE bio IS NULL AND version = $1", 2)
	check(t, err)
	checkEqual(t, "authors", n, int64(1))
	who, err := m.SelectStr("SELECT session_user")
	check(t, err)
	checkEqual(t, "session_user", who, d.Role)
	check(t, m.DropTables())
}
