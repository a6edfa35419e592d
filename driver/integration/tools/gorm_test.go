package tools

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/aadpostgres/aadpostgres/driver"
)

type gormAuthor struct {
	ID    uuid.UUID `gorm:"type:uuid;primaryKey;default:gen_random_uuid()"`
	Name  string    `gorm:"uniqueIndex"`
	Bio   *string
	Photo []byte
	Pay   string         `gorm:"type:numeric(20,8);default:0"`
	Tags  pq.StringArray `gorm:"type:text[]"`
	Extra map[string]any `gorm:"type:jsonb;serializer:json"`
	Born  time.Time
	By    string     `gorm:"default:(session_user)"`
	Books []gormBook `gorm:"foreignKey:AuthorID"`
}

type gormBook struct {
	ID       uint
	Title    string
	AuthorID uuid.UUID
	Author   *gormAuthor
	Genres   []gormGenre `gorm:"many2many:gorm_book_genres"`
}

type gormGenre struct {
	Name string `gorm:"primaryKey"`
}

// newGormConfig returns a new config each time, for gorm.Open writes to it.
func newGormConfig() *gorm.Config {
	return &gorm.Config{TranslateError: true, Logger: logger.Discard}
}

func gormClose(t *testing.T, db *gorm.DB) {
	pool, err := db.DB()
	check(t, err)
	check(t, pool.Close())
}

func TestGorm(t *testing.T) {
	d := newTestDB(t)
	sqlDB, err := sql.Open("aadpostgres", d.DSN)
	check(t, err)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: sqlDB}), newGormConfig())
	check(t, err)
	defer gormClose(t, db)
	db = db.WithContext(t.Context())
	check(t, db.AutoMigrate(&gormAuthor{}, &gormBook{}))
	bio := "poet"
	lorde := gormAuthor{Name: "Lorde", Bio: &bio, Photo: []byte{0, 255}, Pay: "123456789012.00000001", Tags: pq.StringArray{"a", `b",{}`}, Extra: map[string]any{"k": []any{1.0, nil}}, Born: born,
		Books: []gormBook{{Title: "Coal"}, {Title: "Zami", Genres: []gormGenre{{"memoir"}, {"poetry"}}}}}
	check(t, db.Create(&lorde).Error)

	d.expire()

	type gormBook struct { // the next version
		ID    uint
		Title string
		Year  *int `gorm:"index;check:year > 1500"`
	}
	check(t, db.Table("gorm_books").AutoMigrate(&gormBook{}))
	if m := db.Migrator(); !m.HasColumn("gorm_books", "year") || !m.HasConstraint("gorm_books", "fk_gorm_authors_books") {
		t.Error("column year or the foreign key is missing, want both")
	}
	var got gormAuthor
	find := db.Preload("Books.Genres").Preload("Books.Author").Where("tags @> ? AND extra @> ?", pq.StringArray{"a"}, `{"k":[1]}`)
	check(t, find.Where("name = @name", map[string]any{"name": "Lorde"}).First(&got).Error)
	if len(got.Books) != 2 || len(got.Books[1].Genres) != 2 || got.Books[0].Author.Name != "Lorde" {
		t.Errorf("associations = %v, want 2 books with author and genres", got.Books)
	}
	if !got.Born.Equal(born) {
		t.Errorf("born = %v, want %v", got.Born, born)
	}
	checkEqual(t, "session_user", got.By, d.Role)
	zami := lorde.Books[1]
	got.Born, got.Books, lorde.Books = lorde.Born, nil, nil
	checkEqual(t, "author", got, lorde)

	err = db.Create(&gormAuthor{Name: "Lorde"}).Error
	if !errors.Is(err, gorm.ErrDuplicatedKey) || sqlState(err) != "23505" {
		t.Errorf("a second Lorde: error = %v, want %v", err, gorm.ErrDuplicatedKey)
	}
	if err := db.Table("gorm_books").Create(map[string]any{"title": "1", "year": 1}).Error; !errors.Is(err, gorm.ErrCheckConstraintViolated) {
		t.Errorf("year 1: error = %v, want %v", err, gorm.ErrCheckConstraintViolated)
	}
	if err := db.Table("gorm_books").Create(map[string]any{"title": "2", "author_id": uuid.New()}).Error; !errors.Is(err, gorm.ErrForeignKeyViolated) {
		t.Errorf("a book without its author: error = %v, want %v", err, gorm.ErrForeignKeyViolated)
	}
	if err := db.First(&gormAuthor{}, "name = ?", "nobody").Error; !errors.Is(err, gorm.ErrRecordNotFound) {
		t.Errorf("nobody: error = %v, want %v", err, gorm.ErrRecordNotFound)
	}
	upsert := clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.AssignmentColumns([]string{"bio"})}
	many := []gormAuthor{{Name: "Lorde"}, {Name: "Morrison"}, {Name: "Walker"}}
	check(t, db.Clauses(upsert).CreateInBatches(&many, 2).Error)
	var now []gormAuthor
	check(t, db.Order("name").Find(&now).Error)
	checkEqual(t, "authors", []any{len(now), now[0].Bio, now[0].Photo, now[1].Tags}, []any{3, (*string)(nil), lorde.Photo, pq.StringArray(nil)})

	genres := func(want ...string) {
		t.Helper()
		var got []string
		check(t, db.Table("gorm_book_genres").Where("gorm_book_id = ?", zami.ID).Order("gorm_genre_name").Pluck("gorm_genre_name", &got).Error)
		checkEqual(t, "genres of a book", got, want)
		checkEqual(t, "their count", db.Model(&zami).Association("Genres").Count(), int64(len(want)))
	}
	genres("memoir", "poetry")
	check(t, db.Model(&zami).Association("Genres").Append(&gormGenre{"myth"}))
	genres("memoir", "myth", "poetry")
	check(t, db.Model(&zami).Association("Genres").Delete(&gormGenre{"memoir"}))
	genres("myth", "poetry")
	check(t, db.Model(&zami).Association("Genres").Replace(&gormGenre{"poetry"}, &gormGenre{"essay"}))
	genres("essay", "poetry")

	add := func(db *gorm.DB, name string) error { return db.Create(&gormGenre{name}).Error }
	err = db.Transaction(func(tx *gorm.DB) error {
		check(t, add(tx, "kept"))
		err := tx.Transaction(func(inner *gorm.DB) error { // a savepoint
			check(t, add(inner, "lost"))
			return add(inner, "kept")
		})
		if !errors.Is(err, gorm.ErrDuplicatedKey) {
			t.Errorf("in the savepoint: error = %v, want %v", err, gorm.ErrDuplicatedKey)
		}
		return nil
	})
	check(t, err)
	err = db.Transaction(func(tx *gorm.DB) error {
		check(t, add(tx, "lost"))
		return add(tx, "poetry")
	})
	if !errors.Is(err, gorm.ErrDuplicatedKey) {
		t.Errorf("in a transaction: error = %v, want %v", err, gorm.ErrDuplicatedKey)
	}
	tx := db.Begin()
	check(t, add(tx, "saved"))
	check(t, tx.SavePoint("one").Error)
	check(t, add(tx, "lost"))
	check(t, tx.RollbackTo("one").Error)
	check(t, tx.Commit().Error)
	pool, err := db.DB()
	check(t, err)
	conn, err := pool.Conn(t.Context())
	check(t, err)
	defer conn.Close()
	check(t, conn.Raw(func(raw any) error {
		_, err := raw.(*stdlib.Conn).Conn().CopyFrom(t.Context(), pgx.Identifier{"gorm_genres"}, []string{"name"}, pgx.CopyFromRows([][]any{{"copied"}}))
		return err
	}))
	var names []string
	check(t, db.Model(&gormGenre{}).Where("name IN ?", []string{"copied", "kept", "lost", "saved"}).Order("name").Pluck("name", &names).Error)
	checkEqual(t, "genres", names, []string{"copied", "kept", "saved"})

	m := db.Migrator()
	check(t, m.DropColumn("gorm_books", "year"))
	check(t, m.DropTable("gorm_book_genres", &gormGenre{}))
	if m.HasColumn("gorm_books", "year") || m.HasTable(&gormGenre{}) || !m.HasTable(&gormAuthor{}) {
		t.Error("want column year and table gorm_genres dropped, and table gorm_authors kept")
	}
}

// TestGormPrepared has gorm prepare each statement.
func TestGormPrepared(t *testing.T) {
	d := newTestDB(t)
	config := newGormConfig()
	config.PrepareStmt = true
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: d.open()}), config)
	check(t, err)
	check(t, db.AutoMigrate(&gormGenre{}))
	check(t, db.Create(&gormGenre{"early"}).Error)
	d.expire()
	check(t, db.Create(&gormGenre{"late"}).Error)
	var names []string
	check(t, db.Model(&gormGenre{}).Order("name").Pluck("name", &names).Error)
	checkEqual(t, "genres", names, []string{"early", "late"})
}

// TestGormVersions migrates three versions of one struct in one process. gorm reads the
// columns of a table in the simple protocol only if its config has no DriverName or "pgx".
// With another name pgx reads them with a statement that it has cached, and PostgreSQL
// rejects that after the table has changed.
func TestGormVersions(t *testing.T) {
	d := newTestDB(t)
	for _, row := range []struct {
		name   string
		table  string
		config postgres.Config
		want   string // SQLSTATE
	}{
		{"Conn", "a", postgres.Config{Conn: sqlOpen(t, d.DSN)}, ""},
		{"DriverName", "b", postgres.Config{DriverName: "aadpostgres", DSN: d.DSN}, "0A000"},
		{"simple protocol", "c", postgres.Config{DriverName: "aadpostgres", DSN: d.DSN + " default_query_exec_mode=simple_protocol"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			db, err := gorm.Open(postgres.New(row.config), newGormConfig())
			check(t, err)
			defer gormClose(t, db)
			err = migrateGormVersions(db.Table(row.table))
			checkEqual(t, "SQLSTATE", sqlState(err), row.want)
			if row.want == "" {
				check(t, err)
			}
		})
	}
}

// migrateGormVersions migrates three versions of the table of db.
func migrateGormVersions(db *gorm.DB) error {
	type first struct{ ID uint }
	type second struct {
		ID   uint
		Name string `gorm:"size:40"`
	}
	type third struct {
		ID   uint
		Name string `gorm:"size:80;index"`
		Born *time.Time
	}
	for _, version := range []any{&first{}, &second{}, &third{}} {
		err := db.AutoMigrate(version)
		if err != nil {
			return err
		}
	}
	return db.Create(&third{Name: "Lorde"}).Error
}

// TestGormWithout omits the pool: gorm's driver opens pgx, which has no password and
// sends aad_ keys to the server as parameters.
func TestGormWithout(t *testing.T) {
	d := newTestDB(t)
	dsn := d.DSN + " user=" + d.Role
	_, err := gorm.Open(postgres.Open(dsn), newGormConfig())
	checkError(t, err, "28P01")
	t.Log(err)
	c, err := driver.NewConnector(dsn)
	check(t, err)
	login, err := c.Credentials(t.Context())
	check(t, err)
	_, err = gorm.Open(postgres.Open(dsn+" sslmode=verify-full password="+login.Password.Value()), newGormConfig())
	checkError(t, err, `unrecognized configuration parameter "aad_`)
	t.Log(err)
}

// TestGormConfig shows that two settings of gorm's own driver have no effect on a pool that
// is given to it. The DSN has the one, and AfterConnect of pgx the other.
func TestGormConfig(t *testing.T) {
	d := newTestDB(t)
	const berlin = " TimeZone=Europe/Berlin"
	const at = "2026-07-01 12:00:00"
	inZone := func(dsn string) *sql.DB {
		c, err := driver.NewConnector(dsn)
		check(t, err)
		t.Cleanup(func() { c.Close() })
		zone, err := time.LoadLocation("Europe/Berlin")
		check(t, err)
		return stdlib.OpenDB(*c.Config(), stdlib.OptionBeforeConnect(c.BeforeConnect), stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
			conn.TypeMap().RegisterType(&pgtype.Type{Name: "timestamp", OID: pgtype.TimestampOID, Codec: &pgtype.TimestampCodec{ScanLocation: zone}})
			return nil
		}))
	}
	for _, row := range []struct {
		name     string
		config   postgres.Config
		prepared int    // statements
		zone     string // of the session
		location string // of a timestamp
	}{
		{"Conn", postgres.Config{Conn: sqlOpen(t, d.DSN+berlin)}, 1, "Europe/Berlin", "UTC"},
		{"DriverName", postgres.Config{DriverName: "aadpostgres", DSN: d.DSN + berlin}, 1, "Europe/Berlin", "UTC"},
		{"AfterConnect", postgres.Config{Conn: inZone(d.DSN + berlin)}, 1, "Europe/Berlin", "Europe/Berlin"},
		{"gorm's own driver", postgres.Config{DSN: az.PostgresDSN() + berlin}, 1, "Europe/Berlin", "Europe/Berlin"},
		{"PreferSimpleProtocol", postgres.Config{Conn: sqlOpen(t, d.DSN+berlin), PreferSimpleProtocol: true}, 1, "Europe/Berlin", "UTC"},
		{"default_query_exec_mode", postgres.Config{Conn: sqlOpen(t, d.DSN+berlin+" default_query_exec_mode=simple_protocol")}, 0, "Europe/Berlin", "UTC"},
	} {
		t.Run(row.name, func(t *testing.T) {
			db, err := gorm.Open(postgres.New(row.config), &gorm.Config{Logger: logger.Discard})
			check(t, err)
			defer gormClose(t, db)
			var prepared int
			var zone string
			var got time.Time
			statement := db.Raw("SELECT current_setting('timezone'), (SELECT count(*) FROM pg_prepared_statements), '"+at+"'::timestamp WHERE 1 = ?", 1).Row()
			check(t, statement.Scan(&zone, &prepared, &got))
			checkEqual(t, "prepared statements", prepared, row.prepared)
			checkEqual(t, "zone of the session", zone, row.zone)
			checkEqual(t, "location", got.Location().String(), row.location)
			checkEqual(t, "time", got.Format(time.DateTime), at)
		})
	}
}

// sqlOpen opens a pool that gorm closes.
func sqlOpen(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("aadpostgres", dsn)
	check(t, err)
	return db
}
