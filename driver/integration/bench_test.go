package integration

import (
	"context"
	"database/sql"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// pgxDB reaches the same role through the same gateway with pgx's own driver
// and a token as its static password.
func pgxDB(tb testing.TB, name string) (ours, pgxs *sql.DB) {
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

func query(tb testing.TB, conn *sql.Conn) {
	var n int
	if err := conn.QueryRowContext(context.Background(), "select $1::int", 1).Scan(&n); err != nil {
		tb.Fatal(err)
	}
}

func connOf(tb testing.TB, db *sql.DB) *sql.Conn {
	c, err := db.Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	query(tb, c) // prepares the statement
	return c
}

// A query allocates what it allocates with pgx.
func TestQueryAllocations(t *testing.T) {
	oursDB, pgxsDB := pgxDB(t, "allocations")
	a, b := allocations(t, connOf(t, oursDB), connOf(t, pgxsDB))
	t.Logf("allocations of a query: %v, with pgx %v", a, b)
	if a > b {
		t.Errorf("a query allocates %v times, with pgx %v times", a, b)
	}
}

// allocations counts those of a query with each: the least of several rounds in
// turn, for the count is the process's and other goroutines add to it.
func allocations(tb testing.TB, ours, pgxs *sql.Conn) (a, b float64) {
	a, b = math.Inf(1), math.Inf(1)
	for range 10 {
		a = min(a, testing.AllocsPerRun(50, func() { query(tb, ours) }))
		b = min(b, testing.AllocsPerRun(50, func() { query(tb, pgxs) }))
	}
	return a, b
}

// BenchmarkQuery runs one query with each in turn and reports the ratio.
func BenchmarkQuery(b *testing.B) {
	oursDB, pgxsDB := pgxDB(b, "bench query")
	ours, pgxs := connOf(b, oursDB), connOf(b, pgxsDB)
	n, m := allocations(b, ours, pgxs)
	inTurn(b, func() { query(b, ours) }, func() { query(b, pgxs) })
	b.ReportMetric(n-m, "more-allocs")
}

// BenchmarkConnect makes one warm connection with each in turn.
func BenchmarkConnect(b *testing.B) {
	oursDB, pgxsDB := pgxDB(b, "bench connect")
	connect := func(db *sql.DB) func() {
		db.SetMaxIdleConns(-1)
		return func() {
			if err := db.Ping(); err != nil {
				b.Fatal(err)
			}
		}
	}
	inTurn(b, connect(oursDB), connect(pgxsDB))
}

func inTurn(b *testing.B, ours, pgxs func()) {
	ours()
	pgxs()
	var a, p time.Duration
	for b.Loop() {
		t0 := time.Now()
		ours()
		t1 := time.Now()
		pgxs()
		a, p = a+t1.Sub(t0), p+time.Since(t1)
	}
	b.ReportMetric(float64(a)/float64(p), "ours/pgx")
}
