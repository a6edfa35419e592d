package examples

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/beego/beego/v2/client/orm"
	"github.com/go-gorp/gorp/v3"
	"github.com/gocraft/dbr/v2"
	"github.com/gocraft/dbr/v2/dialect"
	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	_ "github.com/aadpostgres/aadpostgres/driver/migrate"
)

func TestMain(m *testing.M) {
	az, err := emulator.New(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("DATABASE_URL", strings.Replace(az.URL("aad_auth=managed-identity"), "postgres:", "aadpostgres:", 1))
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range env {
		name, v, _ := strings.Cut(kv, "=")
		os.Setenv(name, v)
	}
	code := m.Run()
	if err := az.Close(); err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

// database/sql: the driver's name, and no password.
func Example_sqlOpen() {
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var who string
	if err := db.QueryRow("select session_user").Scan(&who); err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in as", who)
	// Output: signed in as app
}

// gorm: the pool in its Config. With the driver's name there, AutoMigrate fails after it has
// changed a table.
func Example_gorm() {
	type Fruit struct {
		ID   uint
		Name string
		Ripe time.Time
	}
	sqlDB, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer sqlDB.Close()
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: sqlDB}))
	if err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Fruit{}); err != nil {
		log.Fatal(err)
	}
	ripe := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	if err := db.Create([]Fruit{{Name: "apple", Ripe: ripe}, {Name: "pear", Ripe: ripe.AddDate(0, 1, 0)}}).Error; err != nil {
		log.Fatal(err)
	}
	var found Fruit
	if err := db.Where("ripe > ?", ripe).First(&found).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.ID, found.Name)
	// Output: 2 pear
}

// sqlx: register the driver's placeholders once.
func Example_sqlx() {
	sqlx.BindDriver("aadpostgres", sqlx.DOLLAR)
	db, err := sqlx.Connect("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.MustExec("create table town (name text, people int)")
	town := struct {
		Name   string
		People int
	}{"Delft", 110_000}
	if _, err := db.NamedExec("insert into town (name, people) values (:name, :people)", town); err != nil {
		log.Fatal(err)
	}
	if err := db.Get(&town, "select * from town where people > $1", 100_000); err != nil {
		log.Fatal(err)
	}
	fmt.Println(town.Name)
	// Output: Delft
}

// beego: register the driver's name as one of PostgreSQL.
func Example_beego() {
	err := orm.RegisterDriver("aadpostgres", orm.DRPostgres)
	if err != nil {
		log.Fatal(err)
	}
	err = orm.RegisterDataBase("default", "aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	var who string
	err = orm.NewOrm().Raw("select session_user where ? = 1", 1).QueryRow(&who)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who)
	// Output: app
}

// dbr: pass the pool, with the dialect of PostgreSQL. dbr.Open does not know the driver's
// name.
func Example_dbr() {
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	conn := dbr.Connection{DB: db, Dialect: dialect.PostgreSQL, EventReceiver: &dbr.NullEventReceiver{}}
	var who string
	err = conn.NewSession(nil).SelectBySql("select session_user where ? = 1", 1).LoadOne(&who)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who)
	// Output: app
}

// gorp: pass the pool, with the dialect of PostgreSQL.
func Example_gorp() {
	type Star struct {
		ID   int64  `db:"id,primarykey,autoincrement"`
		Name string `db:"name"`
	}
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	m := gorp.DbMap{Db: db, Dialect: gorp.PostgresDialect{}}
	m.AddTableWithName(Star{}, "star")
	err = m.CreateTables()
	if err != nil {
		log.Fatal(err)
	}
	vega := Star{Name: "Vega"}
	err = m.Insert(&vega)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(vega.ID, vega.Name)
	// Output: 1 Vega
}

// goose: pass the pool, with the dialect of PostgreSQL.
func Example_goose() {
	fsys := fstest.MapFS{ // in a program, an embed.FS
		"00001_river.sql": {Data: []byte("-- +goose Up\ncreate table river (name text);\n-- +goose Down\ndrop table river;\n")},
		"00002_rhine.sql": {Data: []byte("-- +goose Up\ninsert into river values ('Rhine');\n-- +goose Down\ndelete from river;\n")},
	}
	ctx := context.Background()
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	migrations, err := goose.NewProvider(goose.DialectPostgres, db, fsys)
	if err != nil {
		log.Fatal(err)
	}
	done, err := migrations.Up(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, one := range done {
		fmt.Println(one.Source.Path)
	}
	// Output:
	// 00001_river.sql
	// 00002_rhine.sql
}

// golang-migrate: a blank import of driver/migrate, and a URL that begins with
// aadpostgres://.
func Example_golangMigrate() {
	fsys := fstest.MapFS{ // in a program, a directory or an embed.FS
		"1_lake.up.sql":        {Data: []byte("create table lake (name text)")},
		"1_lake.down.sql":      {Data: []byte("drop table lake")},
		"2_constance.up.sql":   {Data: []byte("insert into lake values ('Constance')")},
		"2_constance.down.sql": {Data: []byte("delete from lake")},
	}
	source, err := iofs.New(fsys, ".")
	if err != nil {
		log.Fatal(err)
	}
	m, err := migrate.NewWithSourceInstance("iofs", source, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Up(); err != nil {
		log.Fatal(err)
	}
	version, dirty, err := m.Version()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(version, dirty)
	// Output: 2 false
}

// pgxpool: the config and the hook that signs in, both from one connector.
func Example_pgxpool() {
	ctx := context.Background()
	c, err := driver.NewConnector(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	config, err := pgxpool.ParseConfig("pool_max_conns=10 pool_max_conn_lifetime=30m")
	if err != nil {
		log.Fatal(err)
	}
	config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	batch := &pgx.Batch{}
	batch.Queue("select session_user::text").QueryRow(func(row pgx.Row) error {
		var who string
		err := row.Scan(&who)
		fmt.Println("signed in as", who)
		return err
	})
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		log.Fatal(err)
	}
	// Output: signed in as app
}

// audited is a custom credential that embeds another one.
type audited struct {
	azcore.TokenCredential
	calls atomic.Int64
}

func (a *audited) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	a.calls.Add(1)
	return a.TokenCredential.GetToken(ctx, opts)
}

// A custom credential: any type with GetToken. GetToken is called once, however many
// connections sign in.
func Example_credential() {
	identity, err := azidentity.NewManagedIdentityCredential(nil)
	if err != nil {
		log.Fatal(err)
	}
	cred := &audited{TokenCredential: identity}
	c, err := driver.NewConnector(os.Getenv("DATABASE_URL"), driver.WithCredential(cred)) // instead of aad_auth
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxIdleConns(-1) // so that each Ping opens a connection
	for range 3 {
		if err := db.Ping(); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(c.Stats().SignIns, "sign-ins,", cred.calls.Load(), "token")
	// Output: 3 sign-ins, 1 token
}

// Register: another driver name with settings that a DSN cannot express, for tools that
// take a name. Here the server's notices are printed.
func Example_register() {
	driver.Register("aadpostgres-noticed", driver.WithConnConfig(func(config *pgx.ConnConfig) {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { fmt.Println(n.Severity, n.Message) }
	}))
	db, err := sql.Open("aadpostgres-noticed", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("drop table if exists nowhere"); err != nil {
		log.Fatal(err)
	}
	// Output: NOTICE table "nowhere" does not exist, skipping
}
