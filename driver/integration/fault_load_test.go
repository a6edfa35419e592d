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
	t     *verdict
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
		l.watch.caller(l.t, kind, op)
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

// signedIn asks by way of a pool who is.
func (l *load) signedIn(pool int) error {
	who := ""
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := l.pools[pool].QueryRowContext(ctx, "select session_user").Scan(&who)
	if err == nil && who != l.names[pool] {
		err = fmt.Errorf("signed in as %q", who)
	}
	return err
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
	nothingLeft(t)
	r := seeded(t)
	const life = 6 * time.Second
	v := &verdict{TB: t} // on one round after the other
	s, stages := newStages(v, life)
	l := &load{t: v, watch: s.watch, blurs: map[string]bool{}}
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
	all := mishaps(v, s, stages, rand.New(rand.NewPCG(r.Uint64(), 0)))
	var (
		tried, survived int
		slowest, worst  time.Duration
		most            = int64(1) // flights, by what has happened
	)
	began := time.Now()
	for time.Since(began) < *lasting {
		names, run := round(r, all)
		from := time.Now()
		run()
		for _, st := range stages {
			st.heal()
		}
		tried += len(names)
		var recovery sync.WaitGroup
		for i, st := range stages {
			recovery.Go(func() {
				took, overdue, err := st.recover(func() error { return l.signedIn(i) })
				l.mu.Lock()
				defer l.mu.Unlock()
				slowest, worst = max(slowest, took), max(worst, overdue)
				if err != nil || overdue > 2*prompt { // fifty workers want the machine too
					v.Errorf("after %q %s is back after %s, which is %s later than it had to be: %v", names, st.id.Name, took, overdue, err)
				}
			})
		}
		recovery.Wait()
		if !v.failed.Swap(false) {
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
	noSessions(t, s.az)
	lost, surplus := l.lost(s.server.dsn)
	late := s.watch.check(t)
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
	t.Logf("faults tried %d, survived %d; operations %d, failed %d; writes acknowledged %d, lost %d, done without acknowledgement %d; token requests %d in %d tries, of at most %d; back after %s at most, %s of it without need; %s",
		tried, survived, l.operations.Load(), l.failed.Load(), len(l.acknowledged), lost, surplus, asked, flights, 2*most,
		slowest.Round(time.Millisecond), worst.Round(time.Millisecond), late)
	if lost > 0 || len(l.acknowledged) == 0 || tried == 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acknowledged))
	}
}
