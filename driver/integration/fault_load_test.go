package integration

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver"
)

var lasting = flag.Duration("faults", 15*time.Second, "how long faults come at random")

// A load is what fifty workers do by way of the pools of two identities.
type load struct {
	t     *testing.T
	watch *watch
	pools []*sql.DB
	names []string // of their identities

	operations, failed atomic.Int64
	mu                 sync.Mutex
	acknowledged       []string
	blurs              map[string]bool
}

// work is one worker's: reads and writes, alone and in transactions, each with a
// deadline of its own, until ctx ends.
func (l *load) work(ctx context.Context, worker int, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%d-%d", worker, n)
		patience := time.Duration(100+r.IntN(1400)) * time.Millisecond
		op, cancel := context.WithTimeout(context.Background(), patience)
		db, name := l.pools[worker%2], l.names[worker%2]
		var (
			who, echo string
			err       error
		)
		kind := []string{"write", "transaction", "read"}[r.IntN(3)]
		switch kind {
		case "write":
			err = db.QueryRowContext(op, "insert into kept (key) values ($1) returning session_user, key", key).Scan(&who, &echo)
		case "transaction":
			err = l.transaction(op, db, key, &who, &echo)
		case "read":
			err = db.QueryRowContext(op, "select session_user, $1::text", key).Scan(&who, &echo)
		}
		l.watch.caller(kind, op)
		cancel()
		l.operations.Add(1)
		switch {
		case err != nil:
			l.failed.Add(1)
			l.judge(err)
		case who != name || echo != key:
			l.t.Errorf("%s %s of %s was answered %s, %s", kind, key, name, who, echo)
		case kind != "read":
			l.mu.Lock()
			l.acknowledged = append(l.acknowledged, key)
			l.mu.Unlock()
		}
		<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}

func (l *load) transaction(ctx context.Context, db *sql.DB, key string, who, echo *string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "insert into kept (key) values ($1)", key); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, "select session_user, key from kept where key = $1", key).Scan(who, echo); err != nil {
		return err
	}
	return tx.Commit()
}

// judge looks at an operation's error: a connect's must be a clear line, and no write
// may have been done twice.
func (l *load) judge(err error) {
	var (
		pg   *pgconn.PgError
		e    *driver.Error
		what string
	)
	switch {
	case errors.As(err, &e):
		what = unclear(err)
	case errors.As(err, &pg) && pg.Code == "23505":
		what = "written twice"
	case strings.Contains(fmt.Sprintf("%+v", err), "eyJ"):
		what = "a token in it"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if what != "" && !l.blurs[err.Error()] {
		l.blurs[err.Error()] = true
		l.t.Errorf("%s: %v", what, err)
	}
}

// lost counts the writes that were acknowledged and are not there, and those that were
// not and are.
func (l *load) lost(dsn string) (lost, surplus int) {
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(context.Background(), "select key from kept")
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, key := range keys {
		there[key] = true
	}
	for _, key := range l.acknowledged {
		if !there[key] {
			lost++
		}
	}
	return lost, len(keys) - (len(l.acknowledged) - lost)
}

// Faults of every kind at random, up to three at once, under load: no acknowledged
// write is lost, nobody is signed in as another, nobody waits past his deadline, tokens are asked
// for no more often than the backoff allows, and after each round both
// identities connect again within one step of it. In the end nothing is left.
func TestFaultsAtRandom(t *testing.T) {
	b := now()
	t.Run("load", func(t *testing.T) { testAtRandom(t, seeded(t)) })
	b.check(t)
}

func testAtRandom(t *testing.T, r *rand.Rand) {
	const life = 6 * time.Second
	s, stages := newStages(t, life)
	l := &load{t: t, watch: s.watch, blurs: map[string]bool{}}
	s.server.exec("create table kept (key text primary key)")
	s.server.exec("grant all on kept to public")
	for _, st := range stages {
		// A crash of the server must not lose what it has acknowledged.
		s.server.exec("alter role " + pgx.Identifier{st.id.Name}.Sanitize() + " set synchronous_commit = on")
		db := sql.OpenDB(st.c)
		defer db.Close()
		db.SetMaxOpenConns(20)
		db.SetMaxIdleConns(10)
		db.SetConnMaxLifetime(time.Second)
		l.pools, l.names = append(l.pools, db), append(l.names, st.id.Name)
	}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for i := range 50 {
		chance := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		workers.Go(func() { l.work(ctx, i, chance) })
	}
	all := mishaps(t, s, stages, rand.New(rand.NewPCG(r.Uint64(), 0)))
	var (
		tried, survived int
		slowest         time.Duration
		most            = int64(1) // flights, by what has happened
	)
	began := time.Now()
	for time.Since(began) < *lasting {
		names, run := round(r, all)
		from := time.Now()
		run()
		tried += len(names)
		ok := true
		for i, st := range stages {
			bound := max(st.diary.step(), 4*time.Second) + tokenTimeout
			took, err := st.recover(2 * bound)
			if err == nil {
				err = l.pools[i].PingContext(t.Context())
			}
			if slowest = max(slowest, took); err != nil || took > bound {
				ok = false
				t.Errorf("after %q %s is back after %s, at most %s: %v", names, st.id.Name, took, bound, err)
			}
		}
		if ok {
			survived += len(names)
		}
		most += failuresIn(time.Since(from)+tokenTimeout) + 1
	}
	lasted := time.Since(began)
	stop()
	workers.Wait()
	for _, db := range l.pools {
		db.Close()
	}
	if !within(20*time.Second, func() bool { return s.sessions(stages) == 0 }) {
		t.Errorf("%d sessions are left on the server", s.sessions(stages))
	}
	lost, surplus := l.lost(s.server.dsn)
	latest, machine := s.watch.check(t)
	// A token that came is good for half its life; what fails has its backoff.
	most += int64(lasted/(life/2)) + 1
	asked, flights := int64(0), int64(0)
	for _, st := range stages {
		n := st.c.Stats().TokenRequests
		asked, flights = asked+st.front.asked.Load(), flights+n
		// azcore tries the first of a series of failures four times, each of which may be a request for
		// the authority's addresses too.
		if n > most || st.front.asked.Load() > 2*n+4*int64(tried+1) {
			t.Errorf("%s: %d token requests in %d tries, at most %d in %d", st.id.Name, st.front.asked.Load(), n, 2*n+4*int64(tried+1), most)
		}
	}
	t.Logf("faults tried %d, survived %d; operations %d, failed %d; writes acknowledged %d, lost %d, done without acknowledgement %d; token requests %d in %d tries, of at most %d; back after %s at most; latest return past a deadline %s, plain pgx's %s",
		tried, survived, l.operations.Load(), l.failed.Load(), len(l.acknowledged), lost, surplus, asked, flights, 2*most,
		slowest.Round(time.Millisecond), latest.Round(time.Millisecond), machine.Round(time.Millisecond))
	if lost > 0 || len(l.acknowledged) == 0 || tried == 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acknowledged))
	}
}

// sessions counts the sessions of the stages on the server.
func (s *street) sessions(stages []*stage) (n int) {
	conn, err := pgx.Connect(context.Background(), s.server.dsn)
	if err != nil {
		s.server.t.Error(err)
		return -1
	}
	defer conn.Close(context.Background())
	names := make([]string, len(stages))
	for i, st := range stages {
		names[i] = st.id.Name
	}
	if err := conn.QueryRow(context.Background(), "select count(*) from pg_stat_activity where usename = any($1)", names).Scan(&n); err != nil {
		s.server.t.Error(err)
	}
	return n
}
