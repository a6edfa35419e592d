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

var faultDuration = flag.Duration("faults", 15*time.Second, "how long TestFaultsAtRandom injects faults")

// A workload is fifty workers that share the pools of two identities.
type workload struct {
	t       *recordingTB
	monitor *deadlineMonitor
	dbs     []*sql.DB
	roles   []string // of each pool

	operations, failed atomic.Int64
	mu                 sync.Mutex // guards the rest
	acknowledged       []string   // keys that were written
	reported           map[string]bool
	recovery, overdue  time.Duration // the longest
}

// An answer is what each operation returns.
type answer struct{ role, key string }

// worker reads and writes, with and without transactions, until ctx ends. Each operation
// has a deadline of its own.
func (w *workload) worker(ctx context.Context, id int, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%d-%d", id, n)
		timeout := time.Duration(100+r.IntN(1400)) * time.Millisecond
		kind := []string{"write", "transaction", "read"}[r.IntN(3)]
		w.operation(kind, key, id%2, timeout)
		<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}

// operation runs one operation in a pool and checks its answer or its error.
func (w *workload) operation(kind, key string, pool int, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	db := w.dbs[pool]
	var got answer
	var err error
	switch kind {
	case "write":
		err = db.QueryRowContext(ctx, "insert into kept (key) values ($1) returning session_user, key", key).Scan(&got.role, &got.key)
	case "transaction":
		got, err = w.transaction(ctx, db, key)
	case "read":
		err = db.QueryRowContext(ctx, "select session_user, $1::text", key).Scan(&got.role, &got.key)
	}
	w.monitor.observe(ctx, w.t, kind)
	w.operations.Add(1)
	if err != nil {
		w.failed.Add(1)
		w.checkError(err)
		return
	}
	if want := (answer{w.roles[pool], key}); got != want {
		w.t.Errorf("%s = %v, want %v", kind, got, want)
		return
	}
	if kind != "read" {
		w.mu.Lock()
		w.acknowledged = append(w.acknowledged, key)
		w.mu.Unlock()
	}
}

func (w *workload) transaction(ctx context.Context, db *sql.DB, key string) (got answer, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return got, err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "insert into kept (key) values ($1)", key); err != nil {
		return got, err
	}
	if err := tx.QueryRowContext(ctx, "select session_user, key from kept where key = $1", key).Scan(&got.role, &got.key); err != nil {
		return got, err
	}
	return got, tx.Commit()
}

// checkSignIn checks who is signed in through a pool.
func (w *workload) checkSignIn(pool int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	user := ""
	err := w.dbs[pool].QueryRowContext(ctx, "select session_user").Scan(&user)
	if err == nil && user != w.roles[pool] {
		err = fmt.Errorf("session_user = %q, want %q", user, w.roles[pool])
	}
	return err
}

// checkError reports each wrong error once: an unclear one of a connect, one that
// contains a token, and the violation of a key that only a repeated write can cause.
func (w *workload) checkError(err error) {
	problem := operationProblem(err)
	if problem == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reported[err.Error()] {
		return
	}
	w.reported[err.Error()] = true
	w.t.Errorf("%s: %v", problem, err)
}

func operationProblem(err error) string {
	if _, ok := errors.AsType[*driver.Error](err); ok {
		return errorProblem(err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
		return "was written twice"
	}
	if strings.Contains(fmt.Sprintf("%+v", err), "eyJ") {
		return "contains a token"
	}
	return ""
}

// countLost counts the acknowledged writes that the server lacks, and the unacknowledged
// ones that it has. The workers must have ended.
func (w *workload) countLost(dsn string) (lost, surplus int) {
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(context.Background(), "select key from kept") // CollectRows returns the error
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	stored := map[string]bool{}
	for _, key := range keys {
		stored[key] = true
	}
	for _, key := range w.acknowledged {
		if !stored[key] {
			lost++
		}
	}
	return lost, len(keys) - (len(w.acknowledged) - lost)
}

// newWorkload opens the clients' pools and creates the table that is written.
func newWorkload(t *recordingTB, e *env, clients []*client) *workload {
	w := &workload{t: t, monitor: e.monitor, reported: map[string]bool{}}
	e.server.exec("create table kept (key text primary key)")
	e.server.exec("grant all on kept to public")
	for _, c := range clients {
		// The emulator turns it off. Here a crash must not lose what the server has acknowledged.
		e.server.exec("alter role " + pgx.Identifier{c.id.Name}.Sanitize() + " set synchronous_commit = on")
		db := sql.OpenDB(c.connector)
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(20)
		db.SetMaxIdleConns(10)
		db.SetConnMaxLifetime(time.Second)
		w.dbs = append(w.dbs, db)
		w.roles = append(w.roles, c.id.Name)
	}
	return w
}

// recover waits until all clients connect again after the named faults were stopped.
func (w *workload) recover(clients []*client, names []string) {
	for _, c := range clients {
		c.markHealthy()
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			took, overdue, err := c.recover(func() error { return w.checkSignIn(i) })
			w.mu.Lock()
			defer w.mu.Unlock()
			w.recovery = max(w.recovery, took)
			w.overdue = max(w.overdue, overdue)
			if err != nil {
				w.t.Errorf("%s after %q: no recovery within %s: %v", c.id.Name, names, took, err)
			}
			if limit := 2 * recoveryTolerance; overdue > limit { // twice, for fifty workers use the machine too
				w.t.Errorf("%s after %q: recovery took %s, %s more than the backoff, want at most %s more", c.id.Name, names, took, overdue, limit)
			}
		})
	}
	wg.Wait()
}

// TestFaultsAtRandom injects random faults of every kind, up to three at once, under
// load. No acknowledged write is lost, nobody is signed in as another identity, and no
// caller waits past its deadline. Tokens are requested no more often than the backoff
// allows. After each round both identities connect again within one step of the backoff.
// Nothing leaks.
func TestFaultsAtRandom(t *testing.T) {
	checkLeaks(t)
	r := newRand(t)
	const life = 6 * time.Second
	rec := &recordingTB{TB: t}
	e, clients := newClients(rec, life)
	w := newWorkload(rec, e, clients)
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for i := range 50 {
		source := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		workers.Go(func() { w.worker(ctx, i, source) })
	}
	all := allFaults(rec, e, clients, rand.New(rand.NewPCG(r.Uint64(), 0)))
	tried, survived := 0, 0
	maxRequests := int64(1) // that the backoff allows
	began := time.Now()
	for time.Since(began) < *faultDuration {
		names, run := newRound(r, all)
		roundBegan := time.Now()
		run()
		w.recover(clients, names)
		tried += len(names)
		if !rec.failed.Swap(false) {
			survived += len(names)
		}
		maxRequests += maxFailures(time.Since(roundBegan)+tokenTimeout) + 1
	}
	duration := time.Since(began)
	stop()
	workers.Wait()
	for _, db := range w.dbs {
		db.Close()
	}
	checkNoSessions(t, e.az)
	lost, surplus := w.countLost(e.server.dsn)
	late := e.monitor.report(t)
	maxRequests += int64(duration/(life/2)) + 1 // a token is refreshed after half its life
	requests, httpRequests := int64(0), int64(0)
	for _, c := range clients {
		got, gotHTTP := c.connector.Stats().TokenRequests, c.authority.requests.Load()
		requests += got
		httpRequests += gotHTTP
		if got > maxRequests {
			t.Errorf("%s: token requests = %d, want at most %d", c.id.Name, got, maxRequests)
		}
		// azcore tries the first of a series of failures four times, and each try may request the
		// authority's endpoints too.
		if limit := 2*got + 4*int64(tried+1); gotHTTP > limit {
			t.Errorf("%s: HTTP requests = %d for %d token requests, want at most %d", c.id.Name, gotHTTP, got, limit)
		}
	}
	t.Logf("faults tried %d, survived %d; operations %d, failed %d; writes acknowledged %d, lost %d, done without acknowledgement %d; token requests %d of at most %d, HTTP requests %d; recovery took at most %s, at most %s more than the backoff; %s",
		tried, survived, w.operations.Load(), w.failed.Load(), len(w.acknowledged), lost, surplus, requests, 2*maxRequests, httpRequests,
		w.recovery.Round(time.Millisecond), w.overdue.Round(time.Millisecond), late)
	if lost > 0 {
		t.Errorf("lost writes = %d of %d, want 0", lost, len(w.acknowledged))
	}
	if len(w.acknowledged) == 0 {
		t.Error("acknowledged writes = 0, want some")
	}
	if tried == 0 {
		t.Error("faults tried = 0, want some")
	}
}
