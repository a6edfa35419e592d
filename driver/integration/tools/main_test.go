// Package tools tests the driver with the tools that Go programs use for PostgreSQL, each
// at its newest version.
package tools

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// az is the emulator that the tests share. Its tokens live for tokenLife, so each test
// runs longer than one.
var az *emulator.Azure

const tokenLife = 5 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == parallel.DefValue {
		parallel.Value.Set("8") // tests mostly wait for a token to expire
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	az, err = emulator.New(context.Background())
	if err != nil {
		return 1, err
	}
	az.Faults.TokenLife(tokenLife)
	host, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		return 1, err
	}
	for _, kv := range host {
		name, v, _ := strings.Cut(kv, "=")
		os.Setenv(name, v)
	}
	code = m.Run()
	if err := az.Close(); err != nil || code != 0 {
		return code, err
	}
	// gorm's cache of prepared statements has a goroutine that never ends.
	return code, goleak.Find(goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// A testDB is a database and an identity for one test. The DSN and the URL sign the
// identity in to the database.
type testDB struct {
	DSN, URL string
	Role     string // the identity's role, and so session_user

	t        *testing.T
	id       emulator.Identity
	database string
}

func newTestDB(t *testing.T) *testDB {
	t.Helper()
	t.Parallel()
	name := strings.ToLower(t.Name() + "_" + rand.Text()[:6]) // unique, also with -count
	d := &testDB{Role: name, t: t, id: az.Add(emulator.Identity{Name: name})}
	if err := az.Grant(t.Context(), d.id); err != nil {
		t.Fatal(err)
	}
	database := az.Database(t)
	d.database = database.Name
	t.Cleanup(func() { t.Logf("%d connections with %d token requests", d.connections(), d.tokenRequests()) })
	params := []string{"aad_auth=managed-identity", "aad_client_id=" + d.id.ClientID}
	d.DSN, d.URL = database.DSN(params...), strings.Replace(database.URL(params...), "postgres://", "aadpostgres://", 1)
	return d
}

// open opens the database by the driver's name, until the test ends.
func (d *testDB) open() *sql.DB {
	d.t.Helper()
	db, err := sql.Open("aadpostgres", d.DSN)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { db.Close() })
	return db
}

// tokenRequests counts the requests for the identity's token so far.
func (d *testDB) tokenRequests() (n int) {
	for _, r := range az.Requests() {
		if r.Form.Get("client_id") == d.id.ClientID {
			n++
		}
	}
	return n
}

// connections counts the connections so far that named the role, with and without success.
func (d *testDB) connections() (n int) {
	for _, s := range az.Startups() {
		if s["user"] == d.Role {
			n++
		}
	}
	return n
}

// expire terminates all sessions, as a server's restart does, and waits until the cached
// token has expired. It checks that all sessions are the role's. At the end of the test it
// checks that the test has requested a token and connected since.
func (d *testDB) expire() {
	d.t.Helper()
	requests, connections := d.tokenRequests(), d.connections()
	if requests == 0 || connections == 0 {
		d.t.Fatalf("before expire: token requests = %d, connections = %d, want some of each", requests, connections)
	}
	conn, err := pgx.Connect(d.t.Context(), az.PostgresDSN())
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var others int
	if err := conn.QueryRow(d.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename <> $2", d.database, d.Role).Scan(&others); err != nil {
		d.t.Fatal(err)
	}
	if others > 0 {
		d.t.Errorf("sessions of other roles = %d, want 0", others)
	}
	if _, err := conn.Exec(d.t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", d.Role); err != nil {
		d.t.Fatal(err)
	}
	time.Sleep(tokenLife)
	d.t.Cleanup(func() {
		if d.tokenRequests() == requests {
			d.t.Error("token requests after expire = 0, want some")
		}
		if d.connections() == connections {
			d.t.Error("connections after expire = 0, want some")
		}
	})
}

// notes creates a table with one column of each type that tools treat differently.
const notes = `CREATE TABLE notes (
	id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	body  text NOT NULL UNIQUE,
	tags  text[],
	extra jsonb,
	photo bytea,
	price numeric(20,8),
	said  timestamptz,
	by    text NOT NULL DEFAULT session_user
)`

// unboundDriver is the same driver under a name that is registered with no tool:
// registrations with sqlx and xorm last for the whole process.
const unboundDriver = "aadpostgres-unbound"

func init() { driver.Register(unboundDriver) }

// check stops the test if err is not nil.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkError reports an error that does not contain want.
func checkError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

// born is a time with microseconds, which is PostgreSQL's precision, in a zone that is
// neither UTC nor local.
var born = time.Date(1934, 2, 18, 1, 2, 3, 456789000, time.FixedZone("Kathmandu", 5*3600+45*60))

// checkEqual reports two values that are not deeply equal.
func checkEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// sqlState returns the SQLSTATE of the server's error that err wraps, or "".
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
