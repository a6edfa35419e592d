package tools

import (
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/sqljson"
	"github.com/lib/pq"

	"github.com/aadpostgres/aadpostgres/driver/integration/tools/entdb"
	"github.com/aadpostgres/aadpostgres/driver/integration/tools/entdb/migrate"
	"github.com/aadpostgres/aadpostgres/driver/integration/tools/entdb/person"
)

func TestEnt(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	client := entdb.NewClient(entdb.Driver(entsql.OpenDB(dialect.Postgres, db)))
	check(t, client.Schema.Create(ctx))
	add := func(name string) *entdb.PersonCreate { return client.Person.Create().SetName(name).SetBorn(born) }
	const pay = "123456789012.00000001"
	tags, extra := pq.StringArray{"a", `b",{}`}, map[string]any{"k": []any{1.0, nil}}
	lorde, err := add("Lorde").SetBio("poet").SetPhoto([]byte{0, 255}).SetPay(pay).SetTags(tags).SetExtra(extra).Save(ctx)
	check(t, err)
	staff, err := client.Person.CreateBulk(add("Ann").SetBoss(lorde), add("Bea").SetBoss(lorde).AddFriends(lorde)).Save(ctx)
	check(t, err)

	d.expire()

	_, err = db.ExecContext(ctx, "ALTER TABLE persons ADD stray int") // not in ent's schema
	check(t, err)
	check(t, client.Schema.Create(ctx, migrate.WithDropColumn(true)))
	var strays int
	check(t, db.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'stray'").Scan(&strays))
	checkEqual(t, "columns that ent's schema lacks", strays, 0)
	who, err := client.QueryContext(ctx, "SELECT session_user")
	check(t, err)
	defer who.Close()
	var name string
	check(t, entsql.ScanOne(who, &name))
	check(t, who.Err())
	check(t, who.Close()) // returns its session to the pool
	checkEqual(t, "session_user", name, d.Role)

	got, err := client.Person.Query().
		Where(person.Name("Lorde"), person.Born(born), func(s *entsql.Selector) {
			s.Where(entsql.And(sqljson.ValueContains(person.FieldExtra, 1, sqljson.Path("k")), entsql.ExprP("'a' = ANY(tags)")))
		}).
		WithStaff(func(q *entdb.PersonQuery) { q.WithBoss().WithFriends().Order(entdb.Asc(person.FieldName)) }).Only(ctx)
	check(t, err)
	if s := got.Edges.Staff; len(s) != 2 || s[1].Name != "Bea" || s[1].Edges.Boss.ID != lorde.ID || len(s[1].Edges.Friends) != 1 || len(s[0].Edges.Friends) != 0 {
		t.Errorf("edges = %v, want Ann and Bea with boss and friends", s)
	}
	if !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	checkEqual(t, "fields", []any{got.ID, *got.Bio, got.Photo, got.Pay, got.Tags, got.Extra}, []any{lorde.ID, "poet", []byte{0, 255}, pay, tags, extra})
	ann, err := client.Person.Get(ctx, staff[0].ID)
	check(t, err)
	checkEqual(t, "NULLs", []any{ann.Bio, ann.Photo, ann.Tags, ann.Extra}, []any{(*string)(nil), []byte(nil), pq.StringArray(nil), map[string]any(nil)})

	err = add("Lorde").Exec(ctx)
	if !entdb.IsConstraintError(err) || sqlState(err) != "23505" {
		t.Errorf("a second Lorde: error = %v, want a constraint error with SQLSTATE 23505", err)
	}
	if _, err := client.Person.Query().Where(person.Name("nobody")).Only(ctx); !entdb.IsNotFound(err) {
		t.Errorf("nobody: error = %v, want not found", err)
	}
	check(t, client.Person.CreateBulk(add("Lorde").SetBio("late"), add("Cleo")).OnConflictColumns(person.FieldName).Update(func(u *entdb.PersonUpsert) { u.UpdateBio() }).Exec(ctx))
	got, err = client.Person.Query().Where(person.Name("Lorde")).Only(ctx)
	check(t, err)
	checkEqual(t, "upserted", []any{*got.Bio, got.Photo}, []any{"late", []byte{0, 255}})

	tx, err := client.Tx(ctx)
	check(t, err)
	check(t, tx.Person.Create().SetName("kept").SetBorn(born).Exec(ctx))
	_, err = tx.ExecContext(ctx, "SAVEPOINT one")
	check(t, err)
	err = tx.Person.Create().SetName("kept").SetBorn(born).Exec(ctx)
	checkEqual(t, "in the savepoint", entdb.IsConstraintError(err), true)
	_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT one")
	check(t, err)
	check(t, tx.Commit())
	tx, err = client.Tx(ctx)
	check(t, err)
	_, err = tx.Person.Delete().Exec(ctx)
	check(t, err)
	check(t, tx.Rollback())
	n, err := client.Person.Query().Count(ctx)
	check(t, err)
	checkEqual(t, "persons", n, 5)
}

// TestEntWithout shows that ent's own Open takes names of dialects only.
func TestEntWithout(t *testing.T) {
	_, err := entdb.Open("aadpostgres", az.DSN())
	checkError(t, err, `unsupported driver: "aadpostgres"`)
}
