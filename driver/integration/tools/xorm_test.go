package tools

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"xorm.io/xorm"
	"xorm.io/xorm/dialects"
	"xorm.io/xorm/migrate"
	"xorm.io/xorm/names"
)

// It is not in a test, for a second call panics, as with -count.
func init() {
	dialects.RegisterDriver("aadpostgres", dialects.QueryDriver("pgx"))
}

// xormTags implements xorm's interface for an array; xorm ignores database/sql's.
type xormTags []string

func (x *xormTags) FromDB(b []byte) error { return (*pq.StringArray)(x).Scan(b) }

func (x xormTags) ToDB() ([]byte, error) {
	v, err := pq.StringArray(x).Value()
	if v == nil {
		return nil, err
	}
	return []byte(v.(string)), err
}

type xormAuthor struct {
	ID    string `xorm:"uuid pk 'id'"`
	Name  string `xorm:"unique"`
	Bio   *string
	Photo []byte
	Pay   string         `xorm:"numeric(20,8)"`
	Tags  xormTags       `xorm:"array 'tags'"`
	Extra map[string]any `xorm:"jsonb"`
	Born  time.Time      `xorm:"timestampz"`
}

type xormBook struct {
	ID       int64 `xorm:"pk autoincr 'id'"`
	Title    string
	AuthorID *string `xorm:"uuid index 'author_id'"`
}

// A xormShelf is a book with its author.
type xormShelf struct {
	Book   xormBook   `xorm:"extends"`
	Author xormAuthor `xorm:"extends"`
}

func TestXorm(t *testing.T) {
	d := newTestDB(t)
	dsn := d.DSN
	db, err := xorm.NewEngine("aadpostgres", dsn)
	check(t, err)
	defer db.Close()
	db.SetDefaultContext(t.Context())
	db.SetMapper(names.GonicMapper{})
	migrations := []*migrate.Migration{{ID: "1", Migrate: func(db *xorm.Engine) error {
		if _, err := db.Exec("CREATE TABLE xorm_author (id uuid PRIMARY KEY, tags text[])"); err != nil { // xorm cannot create a column of type text[]
			return err
		}
		return db.Sync(new(xormAuthor), new(xormBook))
	}, Rollback: func(db *xorm.Engine) error { return db.DropTables(new(xormBook), new(xormAuthor)) }}}
	check(t, migrate.New(db, migrate.DefaultOptions, migrations).Migrate())
	bio := "poet"
	lorde := xormAuthor{ID: uuid.NewString(), Name: "Lorde", Bio: &bio, Photo: []byte{0, 255}, Pay: "123456789012.00000001", Tags: xormTags{"a", `b",{}`}, Extra: map[string]any{"k": []any{1.0, nil}}, Born: born}
	_, err = db.Insert(&lorde)
	check(t, err)
	n, err := db.Insert([]*xormBook{{Title: "Coal", AuthorID: &lorde.ID}, {Title: "Zami", AuthorID: &lorde.ID}})
	check(t, err)
	checkEqual(t, "rows of a batch", n, int64(2))

	d.expire()

	migrations = append(migrations, &migrate.Migration{ID: "2", Migrate: func(db *xorm.Engine) error {
		_, err := db.Exec("ALTER TABLE xorm_book ADD year int CHECK (year > 1500)")
		return err
	}, Rollback: func(db *xorm.Engine) error {
		_, err := db.Exec("ALTER TABLE xorm_book DROP year")
		return err
	}})
	check(t, migrate.New(db, migrate.DefaultOptions, migrations).Migrate())
	check(t, db.Sync(new(xormAuthor), new(xormBook)))
	var who string
	_, err = db.SQL("SELECT session_user").Get(&who)
	check(t, err)
	checkEqual(t, "session_user", who, d.Role)
	var got xormAuthor
	found, err := db.Where("name = ? AND extra @> ? AND 'a' = ANY(tags)", "Lorde", `{"k":[1]}`).And("born = ?", born).Get(&got)
	check(t, err)
	checkEqual(t, "found", found, true)
	if !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	got.Born = lorde.Born
	checkEqual(t, "author", got, lorde)
	var shelf []xormShelf
	check(t, db.Table("xorm_book").Join("INNER", "xorm_author", "xorm_author.id = xorm_book.author_id").In("title", "Coal", "Zami").Prepare().Asc("title").Find(&shelf))
	if len(shelf) != 2 || shelf[1].Book.Title != "Zami" || shelf[1].Author.Name != "Lorde" {
		t.Errorf("joined = %v, want 2 books with their author", shelf)
	}

	_, err = db.Insert(&xormAuthor{ID: uuid.NewString(), Name: "Lorde", Pay: "0"})
	checkEqual(t, "a second Lorde", sqlState(err), "23505")
	_, err = db.Nullable("bio").Cols("bio").Where("name = ?", "Lorde").Update(&xormAuthor{})
	check(t, err)
	var now xormAuthor
	_, err = db.Where("name = ?", "Lorde").Get(&now)
	check(t, err)
	checkEqual(t, "a NULL and what was there", []any{now.Bio, now.Photo}, []any{(*string)(nil), lorde.Photo})

	_, err = db.Transaction(func(tx *xorm.Session) (any, error) {
		_, err := tx.Insert(&xormBook{Title: "kept"})
		check(t, err)
		_, err = tx.Exec("SAVEPOINT one")
		check(t, err)
		_, err = tx.Insert(&xormBook{Title: "lost"})
		check(t, err)
		_, err = tx.Exec("INSERT INTO xorm_book (title, year) VALUES (?, ?)", "lost", 1)
		checkEqual(t, "in the savepoint", sqlState(err), "23514")
		_, err = tx.Exec("ROLLBACK TO SAVEPOINT one")
		return nil, err
	})
	check(t, err)
	_, err = db.Transaction(func(tx *xorm.Session) (any, error) {
		_, err := tx.Where("title = ?", "kept").Delete(new(xormBook))
		check(t, err)
		return tx.Insert(&xormAuthor{ID: lorde.ID, Name: "another", Pay: "0"})
	})
	checkEqual(t, "in a transaction", sqlState(err), "23505")
	var titles []string
	check(t, db.Table("xorm_book").In("title", "kept", "lost").Cols("title").Find(&titles))
	checkEqual(t, "books", titles, []string{"kept"})

	down := func(what string, left ...string) {
		t.Helper()
		check(t, migrate.New(db, migrate.DefaultOptions, migrations).RollbackLast())
		var names []string
		check(t, db.SQL("SELECT column_name FROM information_schema.columns WHERE table_name = 'xorm_book' ORDER BY ordinal_position").Find(&names))
		checkEqual(t, what, names, left)
	}
	down("columns without the last migration", "id", "title", "author_id")
	down("columns without any")
}

// TestXormWithout omits RegisterDriver: xorm rejects names of drivers that it does not
// know. It also rejects the scheme aadpostgres://; write postgres://.
func TestXormWithout(t *testing.T) {
	d := newTestDB(t)
	_, err := xorm.NewEngine(unboundDriver, d.DSN)
	checkError(t, err, "unsupported driver name")
	_, err = xorm.NewEngine("aadpostgres", d.URL)
	checkError(t, err, "unsupported protocol")
	db, err := xorm.NewEngine("aadpostgres", strings.TrimPrefix(d.URL, "aad"))
	check(t, err)
	defer db.Close()
	check(t, db.PingContext(t.Context()))
}
