package tools

import (
	"context"
	"testing"
	"time"

	"github.com/beego/beego/v2/client/orm"
)

type BeegoAuthor struct {
	ID    int64  `orm:"column(id);auto"`
	Name  string `orm:"unique"`
	Bio   string `orm:"null"`
	Pay   string `orm:"type(decimal);digits(20);decimals(8)"`
	Born  time.Time
	Books []*BeegoBook `orm:"reverse(many)"`
}

type BeegoBook struct {
	ID     int64 `orm:"column(id);auto"`
	Title  string
	Author *BeegoAuthor `orm:"rel(fk)"`
}

// They are not in a test, for a second call fails, as with -count.
func init() {
	err := orm.RegisterDriver("aadpostgres", orm.DRPostgres)
	if err != nil {
		panic(err)
	}
	orm.RegisterModel(new(BeegoAuthor), new(BeegoBook))
}

func TestBeego(t *testing.T) {
	d := newTestDB(t)
	db := d.open()
	_, err := db.Exec(`CREATE TABLE beego_author (id bigserial PRIMARY KEY, name text UNIQUE, bio text, pay numeric(20,8), born timestamptz);
		CREATE TABLE beego_book (id bigserial PRIMARY KEY, title text, author_id bigint REFERENCES beego_author)`)
	check(t, err)
	// orm.RegisterDataBase("default", "aadpostgres", dsn) opens such a pool by itself.
	check(t, orm.AddAliasWthDB(d.Role, "aadpostgres", db))
	o := orm.NewOrmUsingDB(d.Role)
	lorde := BeegoAuthor{Name: "Lorde", Pay: "123456789012.00000001", Born: born}
	_, err = o.Insert(&lorde)
	check(t, err)
	_, err = o.InsertMulti(2, []*BeegoBook{{Title: "Coal", Author: &lorde}, {Title: "Zami", Author: &lorde}})
	check(t, err)

	d.expire()

	var got BeegoAuthor
	check(t, o.QueryTable("beego_author").Filter("name__icontains", "lord").One(&got))
	n, err := o.LoadRelated(&got, "Books")
	check(t, err)
	checkEqual(t, "books", n, int64(2))
	if !got.Born.Equal(born.Truncate(time.Second)) && !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	checkEqual(t, "pay", got.Pay, lorde.Pay)
	_, err = o.Insert(&BeegoAuthor{Name: "Lorde", Born: born, Pay: "0"})
	checkEqual(t, "a second Lorde", sqlState(err), "23505")

	err = o.DoTx(func(_ context.Context, tx orm.TxOrmer) error {
		_, err := tx.QueryTable("beego_book").Filter("title", "Coal").Delete()
		check(t, err)
		_, err = tx.Insert(&BeegoAuthor{Name: "Lorde", Born: born, Pay: "0"})
		return err
	})
	checkEqual(t, "in a transaction", sqlState(err), "23505")
	var titles orm.ParamsList
	_, err = o.Raw("SELECT title FROM beego_book WHERE author_id = ? ORDER BY title", lorde.ID).ValuesFlat(&titles)
	check(t, err)
	checkEqual(t, "books", titles, orm.ParamsList{"Coal", "Zami"})
	var who string
	check(t, o.Raw("SELECT session_user").QueryRow(&who))
	checkEqual(t, "session_user", who, d.Role)
}

// TestBeegoWithout omits RegisterDriver: beego rejects names of drivers that it does not
// know.
func TestBeegoWithout(t *testing.T) {
	err := orm.RegisterDataBase("unbound", unboundDriver, az.DSN("aad_auth=managed-identity"))
	checkError(t, err, "have not registered")
}
