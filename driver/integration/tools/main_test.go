// Package tools holds the driver against the tools that Go programs reach
// PostgreSQL with, each at its newest version.
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

// az is the one emulator of this binary, whose host all tests run on. Its tokens
// live as long as tokenLife, so that each test outlives one.
var az *emulator.Azure

const tokenLife = 5 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("8") // they mostly wait for a token to expire
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if az, err = emulator.New(context.Background()); err != nil {
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
	// gorm's cache of prepared statements says of its own goroutine that nothing ends it.
	return code, goleak.Find(goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// A place is where one tool works: a database and an identity to itself, each
// signed in to by the DSN and the URL.
type testDB struct {
	DSN, URL string
	Role     string // the identity's, and session_user

	t        *testing.T
	id       emulator.Identity
	database string
}

func newTestDB(t *testing.T) *testDB {
	t.Helper()
	t.Parallel()
	name := strings.ToLower(t.Name() + "_" + rand.Text()[:6]) // tests may run more than once
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

// open opens the place by the driver's name and closes it with the test.
func (d *testDB) open() *sql.DB {
	d.t.Helper()
	db, err := sql.Open("aadpostgres", d.DSN)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { db.Close() })
	return db
}

// requests are those for the identity's token, so far.
func (d *testDB) tokenRequests() (n int) {
	for _, r := range az.Requests() {
		if r.Form.Get("client_id") == d.id.ClientID {
			n++
		}
	}
	return n
}

// connections are those that named the role, so far, let in or not.
func (d *testDB) connections() (n int) {
	for _, s := range az.Startups() {
		if s["user"] == d.Role {
			n++
		}
	}
	return n
}

// expire is half-time: it sees that every session is the role's, ends them all, as
// a server's restart does, and waits until the token at hand has expired. The test
// must go on after it, and is seen to have asked for a token and connected.
func (d *testDB) expire() {
	d.t.Helper()
	requests, connections := d.tokenRequests(), d.connections()
	if requests == 0 || connections == 0 {
		d.t.Fatalf("nothing connected before half-time: %d token requests, %d connections", requests, connections)
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
		d.t.Errorf("%d sessions that Entra did not sign in", others)
	}
	if _, err := conn.Exec(d.t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", d.Role); err != nil {
		d.t.Fatal(err)
	}
	time.Sleep(tokenLife)
	d.t.Cleanup(func() {
		if d.tokenRequests() == requests || d.connections() == connections {
			d.t.Errorf("after half-time nothing asked for a token and connected: %d token requests, %d connections before", requests, connections)
		}
	})
}

// notes have one column of each kind that tools see differently.
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

// unbound is the same driver by a name that no tool has been told of: what sqlx
// and xorm are told counts for the whole process.
const unboundDriver = "aadpostgres-unbound"

func init() { driver.Register(unboundDriver) }

// check stops the test at an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants reports an error that does not say what it should.
func checkError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

// born is a time in a zone that is neither UTC nor this machine's, to the
// microsecond, which is PostgreSQL's unit.
var born = time.Date(1934, 2, 18, 1, 2, 3, 456789000, time.FixedZone("Kathmandu", 5*3600+45*60))

// same reports two values that differ.
func checkEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// state is the SQLSTATE of the server's error that err wraps.
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
