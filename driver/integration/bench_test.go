package integration

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// pgxDB reaches the same role through the same gateway with pgx's own driver
// and a token as its static password.
func newDBs(tb testing.TB, name string) (ours, pgxs *sql.DB) {
	id, dsn := newIdentity(tb, name)
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		tb.Fatal(err)
	}
	config.User, config.Password = id.Name, az.Token(id, nil)
	pgxs = stdlib.OpenDB(*config)
	tb.Cleanup(func() { pgxs.Close() })
	return openDB(tb, dsn), pgxs
}

func mustQuery(tb testing.TB, conn *sql.Conn) {
	var n int
	if err := conn.QueryRowContext(context.Background(), "select $1::int", 1).Scan(&n); err != nil {
		tb.Fatal(err)
	}
}

func openConn(tb testing.TB, db *sql.DB) *sql.Conn {
	c, err := db.Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	mustQuery(tb, c) // prepares the statement
	return c
}

// A query allocates what it allocates with pgx.
func TestQueryAllocations(t *testing.T) {
	oursDB, pgxsDB := newDBs(t, "allocations")
	ours, pgxs := openConn(t, oursDB), openConn(t, pgxsDB)
	var a, b float64
	for range 5 { // with -race, what pools keep is a matter of chance
		if a, b = allocations(t, ours, pgxs); a <= b {
			t.Logf("allocations of a query: %v, with pgx %v", a, b)
			return
		}
	}
	t.Errorf("a query allocates %v times, with pgx %v times", a, b)
}

// allocations counts those of a query with each: the least of several rounds in
// turn, for the count is the process's and other goroutines add to it.
func allocations(tb testing.TB, ours, pgxs *sql.Conn) (a, b float64) {
	a, b = math.Inf(1), math.Inf(1)
	for range 10 {
		a = min(a, testing.AllocsPerRun(50, func() { mustQuery(tb, ours) }))
		b = min(b, testing.AllocsPerRun(50, func() { mustQuery(tb, pgxs) }))
	}
	return a, b
}

// BenchmarkQuery runs one query with each in turn and reports the ratio.
func BenchmarkQuery(b *testing.B) {
	oursDB, pgxsDB := newDBs(b, "bench query")
	ours, pgxs := openConn(b, oursDB), openConn(b, pgxsDB)
	n, m := allocations(b, ours, pgxs)
	compare(b, "ours/pgx", func() { mustQuery(b, ours) }, func() { mustQuery(b, pgxs) })
	b.ReportMetric(n-m, "more-allocs")
}

// BenchmarkConnect makes one warm connection with each in turn.
func BenchmarkConnect(b *testing.B) {
	oursDB, pgxsDB := newDBs(b, "bench connect")
	connect := func(db *sql.DB) func() {
		db.SetMaxIdleConns(-1)
		return func() {
			timeConnect(b, db)
		}
	}
	compare(b, "ours/pgx", connect(oursDB), connect(pgxsDB))
}

// naive is the hook that people write by hand: it asks azidentity's credential
// before each connect.
func newHookDB(tb testing.TB, id emulator.Identity) (*sql.DB, azcore.TokenCredential) {
	cred := managedIdentity(tb, id)
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		tb.Fatal(err)
	}
	config.User = id.Name
	db := stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) error {
		t, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{emulator.Resource + "/.default"}})
		c.Password = t.Token
		return err
	}))
	tb.Cleanup(func() { db.Close() })
	return db, cred
}

func managedIdentity(tb testing.TB, id emulator.Identity) azcore.TokenCredential {
	cred, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(id.ClientID)})
	if err != nil {
		tb.Fatal(err)
	}
	return cred
}

// cold is a pool of ours that has no token yet.
func newColdDB(tb testing.TB, id emulator.Identity) *sql.DB {
	c, err := driver.NewConnector(az.DSN(), driver.WithCredential(managedIdentity(tb, id)))
	if err != nil {
		tb.Fatal(err)
	}
	db := sql.OpenDB(c)
	tb.Cleanup(func() { db.Close() })
	return db
}

// BenchmarkColdConnect makes first connects beside the naive hook's: a token
// takes 100 ms, and the server is so far away. least is what no driver can go
// below: the longer of token and TCP with TLS (three round trips), and the
// sign-in's own two.
func BenchmarkColdConnect(b *testing.B) {
	for _, rtt := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		b.Run(rtt.String(), func(b *testing.B) {
			id, _ := newIdentity(b, "bench cold")
			const token = 100 * time.Millisecond
			az.Faults.TokenLife(4 * time.Minute) // which MSAL does not keep
			az.Faults.TokenDelay(token)
			az.Faults.RoundTrip(rtt)
			defer az.Faults.TokenLife(0)
			defer az.Faults.TokenDelay(0)
			defer az.Faults.RoundTrip(0)
			hook, _ := newHookDB(b, id)
			hook.SetMaxIdleConns(-1)
			var ours, hooks []time.Duration
			for b.Loop() {
				db := newColdDB(b, id)
				ours = append(ours, timeConnect(b, db))
				hooks = append(hooks, timeConnect(b, hook))
				db.Close()
			}
			a, n := median(ours), median(hooks)
			b.ReportMetric(float64(a)/float64(n), "ours/hook")
			b.ReportMetric(float64(a.Microseconds())/1000, "ms-ours")
			b.ReportMetric(float64(n.Microseconds())/1000, "ms-hook")
			b.ReportMetric(float64(a)/float64(max(token, 3*rtt)+2*rtt), "ours/least")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkExpiry connects in turn with a token of an hour and with tokens that
// live for six seconds, so that one is renewed every three.
func BenchmarkExpiry(b *testing.B) {
	_, long := newIdentity(b, "bench long")
	_, short := newIdentity(b, "bench short")
	pools := [2]*sql.DB{openDB(b, short), openDB(b, long)}
	for _, db := range pools {
		db.SetMaxIdleConns(-1)
	}
	timeConnect(b, pools[1])
	az.Faults.TokenLife(6 * time.Second)
	defer az.Faults.TokenLife(0)
	timeConnect(b, pools[0])
	var took [2][]time.Duration
	for i := 0; b.Loop(); i++ {
		for _, who := range [2]int{i % 2, 1 - i%2} {
			took[who] = append(took[who], timeConnect(b, pools[who]))
		}
	}
	median(took[0]) // sorts
	median(took[1])
	p99 := func(d []time.Duration) float64 { return float64(d[len(d)*99/100]) }
	b.ReportMetric(p99(took[0])/p99(took[1]), "p99-short/long")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStorm opens 256 connections from cold with each.
func BenchmarkStorm(b *testing.B) {
	id, _ := newIdentity(b, "bench storm")
	az.Faults.TokenLife(4 * time.Minute)
	defer az.Faults.TokenLife(0)
	az.Faults.TokenDelay(100 * time.Millisecond)
	defer az.Faults.TokenDelay(0)
	var ours, hooks int64
	for b.Loop() {
		before := az.Counts().Requests
		db := newColdDB(b, id)
		openConns(b, db, 256)
		db.Close()
		between := az.Counts().Requests
		hook, _ := newHookDB(b, id)
		openConns(b, hook, 256)
		hook.Close()
		ours, hooks = ours+between-before, hooks+az.Counts().Requests-between
	}
	b.ReportMetric(float64(ours)/float64(b.N), "requests-ours")
	b.ReportMetric(float64(hooks)/float64(b.N), "requests-hook")
	b.ReportMetric(0, "ns/op")
}

func timeConnect(tb testing.TB, db *sql.DB) time.Duration {
	began := time.Now()
	conn, err := db.Conn(context.Background()) // Ping would add a round trip
	if err != nil {
		tb.Fatal(err)
	}
	took := time.Since(began)
	conn.Close()
	return took
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// inTurn runs both, each first every other time, and compares their medians.
func compare(b *testing.B, ratio string, one, other func()) {
	one()
	other()
	var of [2][]time.Duration
	run := [2]func(){one, other}
	for i := 0; b.Loop(); i++ {
		for _, who := range [2]int{i % 2, 1 - i%2} {
			t0 := time.Now()
			run[who]()
			of[who] = append(of[who], time.Since(t0))
		}
	}
	b.ReportMetric(float64(median(of[0]))/float64(median(of[1])), ratio)
}
