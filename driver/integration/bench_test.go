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

// newDBs returns a pool of this driver and one of pgx's own driver. Both use the same role
// through the same gateway; pgx has a token as its static password.
func newDBs(tb testing.TB, name string) (ours, pgxs *sql.DB) {
	id, dsn := newIdentity(tb, name)
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		tb.Fatal(err)
	}
	config.User = id.Name
	config.Password = az.Token(id, nil)
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

// openConn opens a connection on which mustQuery's statement is prepared.
func openConn(tb testing.TB, db *sql.DB) *sql.Conn {
	c, err := db.Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	mustQuery(tb, c)
	return c
}

// TestQueryAllocations checks that a query makes no more allocations than with pgx.
func TestQueryAllocations(t *testing.T) {
	oursDB, pgxsDB := newDBs(t, "allocations")
	ours, pgxs := openConn(t, oursDB), openConn(t, pgxsDB)
	var got, want float64
	for range 5 { // with -race a sync.Pool drops values at random
		got, want = allocations(t, ours, pgxs)
		if got <= want {
			t.Logf("allocations of a query = %v, with pgx %v", got, want)
			return
		}
	}
	t.Errorf("allocations of a query = %v, want at most pgx's %v", got, want)
}

// allocations counts the allocations of a query with each: the least of ten rounds in
// turn, for other goroutines of the process add theirs.
func allocations(tb testing.TB, ours, pgxs *sql.Conn) (a, b float64) {
	a, b = math.Inf(1), math.Inf(1)
	for range 10 {
		a = min(a, testing.AllocsPerRun(50, func() { mustQuery(tb, ours) }))
		b = min(b, testing.AllocsPerRun(50, func() { mustQuery(tb, pgxs) }))
	}
	return a, b
}

// BenchmarkQuery compares a query with pgx's.
func BenchmarkQuery(b *testing.B) {
	oursDB, pgxsDB := newDBs(b, "bench query")
	ours, pgxs := openConn(b, oursDB), openConn(b, pgxsDB)
	n, m := allocations(b, ours, pgxs)
	compare(b, "ours/pgx", func() { mustQuery(b, ours) }, func() { mustQuery(b, pgxs) })
	b.ReportMetric(n-m, "more-allocs")
}

// BenchmarkConnect compares a connect with a cached token with pgx's.
func BenchmarkConnect(b *testing.B) {
	oursDB, pgxsDB := newDBs(b, "bench connect")
	oursDB.SetMaxIdleConns(-1)
	pgxsDB.SetMaxIdleConns(-1)
	compare(b, "ours/pgx", func() { timeConnect(b, oursDB) }, func() { timeConnect(b, pgxsDB) })
}

// newHookDB returns a pool with a hook as people write it by hand: before each connect it
// asks azidentity's credential for a token.
func newHookDB(tb testing.TB, id emulator.Identity) *sql.DB {
	cred := newManagedIdentity(tb, id)
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
	return db
}

func newManagedIdentity(tb testing.TB, id emulator.Identity) azcore.TokenCredential {
	cred, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(id.ClientID)})
	if err != nil {
		tb.Fatal(err)
	}
	return cred
}

// newColdDB returns a pool of this driver without a cached token.
func newColdDB(tb testing.TB, id emulator.Identity) *sql.DB {
	c, err := driver.NewConnector(az.DSN(), driver.WithCredential(newManagedIdentity(tb, id)))
	if err != nil {
		tb.Fatal(err)
	}
	db := sql.OpenDB(c)
	tb.Cleanup(func() { db.Close() })
	return db
}

// BenchmarkColdConnect compares a first connect with the hook's, for several round trip
// times of the server. A token takes 100 ms. ours/least is the ratio to the least that any
// driver needs: the longer of the token and TCP with TLS (three round trips), and two
// round trips for the sign-in.
func BenchmarkColdConnect(b *testing.B) {
	for _, rtt := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		b.Run(rtt.String(), func(b *testing.B) {
			id, _ := newIdentity(b, "bench cold")
			const token = 100 * time.Millisecond
			az.Faults.TokenLife(4 * time.Minute) // MSAL caches no token that lives less than five
			az.Faults.TokenDelay(token)
			az.Faults.RoundTrip(rtt)
			defer az.Faults.TokenLife(0)
			defer az.Faults.TokenDelay(0)
			defer az.Faults.RoundTrip(0)
			hook := newHookDB(b, id)
			hook.SetMaxIdleConns(-1)
			var oursTook, hookTook []time.Duration
			for b.Loop() {
				db := newColdDB(b, id)
				oursTook = append(oursTook, timeConnect(b, db))
				hookTook = append(hookTook, timeConnect(b, hook))
				db.Close()
			}
			ours, hooks := median(oursTook), median(hookTook)
			b.ReportMetric(float64(ours)/float64(hooks), "ours/hook")
			b.ReportMetric(float64(ours.Microseconds())/1000, "ms-ours")
			b.ReportMetric(float64(hooks.Microseconds())/1000, "ms-hook")
			b.ReportMetric(float64(ours)/float64(max(token, 3*rtt)+2*rtt), "ours/least")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkExpiry compares connects while tokens live for six seconds, so that one is
// refreshed every three, with connects while one lives for an hour.
func BenchmarkExpiry(b *testing.B) {
	_, longDSN := newIdentity(b, "bench long")
	_, shortDSN := newIdentity(b, "bench short")
	long, short := openDB(b, longDSN), openDB(b, shortDSN)
	long.SetMaxIdleConns(-1)
	short.SetMaxIdleConns(-1)
	timeConnect(b, long) // caches its token
	az.Faults.TokenLife(6 * time.Second)
	defer az.Faults.TokenLife(0)
	shortTook, longTook := alternate(b, func() { timeConnect(b, short) }, func() { timeConnect(b, long) })
	p99 := func(took []time.Duration) float64 {
		slices.Sort(took)
		return float64(took[len(took)*99/100])
	}
	b.ReportMetric(p99(shortTook)/p99(longTook), "p99-short/long")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStorm counts the token requests of 256 first connects at once, with this driver
// and with the hook.
func BenchmarkStorm(b *testing.B) {
	id, _ := newIdentity(b, "bench storm")
	az.Faults.TokenLife(4 * time.Minute)
	defer az.Faults.TokenLife(0)
	az.Faults.TokenDelay(100 * time.Millisecond)
	defer az.Faults.TokenDelay(0)
	requests := func(db *sql.DB) int64 {
		before := az.Counts().Requests
		openConns(b, db, 256)
		db.Close()
		return az.Counts().Requests - before
	}
	var ours, hooks int64
	for b.Loop() {
		ours += requests(newColdDB(b, id))
		hooks += requests(newHookDB(b, id))
	}
	b.ReportMetric(float64(ours)/float64(b.N), "requests-ours")
	b.ReportMetric(float64(hooks)/float64(b.N), "requests-hook")
	b.ReportMetric(0, "ns/op")
}

// timeConnect returns how long a connect takes.
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

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

// alternate runs one and other in each iteration, and changes their order each time.
func alternate(b *testing.B, one, other func()) (oneTook, otherTook []time.Duration) {
	timed := func(run func()) time.Duration {
		began := time.Now()
		run()
		return time.Since(began)
	}
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			oneTook = append(oneTook, timed(one))
			otherTook = append(otherTook, timed(other))
		} else {
			otherTook = append(otherTook, timed(other))
			oneTook = append(oneTook, timed(one))
		}
	}
	return oneTook, otherTook
}

// compare reports the ratio of the medians of one and other, as the metric of that name.
func compare(b *testing.B, metric string, one, other func()) {
	one() // warms up
	other()
	oneTook, otherTook := alternate(b, one, other)
	b.ReportMetric(float64(median(oneTook))/float64(median(otherTook)), metric)
}
