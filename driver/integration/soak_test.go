package integration

import (
	"cmp"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var soakDuration = flag.Duration("soak", 5*time.Second, "how long TestSoak measures, within go test's -timeout")

// Nothing grows: connections that live for a moment, tokens that live for
// two, work on all of them, and the heap and the goroutines at the end are what they
// were at the beginning.
func TestSoak(t *testing.T) {
	const workers, life = 8, 2 * time.Second
	az := emulator.Start(t)
	az.Faults.TokenLife(life)
	id := az.Add(emulator.Identity{Name: "soaked " + strings.ToLower(t.Name())})
	if err := az.Grant(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	c, err := driver.NewConnector(az.Database(t).DSN("aad_auth=managed-identity", "aad_client_id="+id.ClientID), driver.WithTransport(az.Client()))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	db.SetConnMaxLifetime(25 * time.Millisecond)
	if _, err := db.Exec("create table soaked (worker int primary key, n bigint not null)"); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var done, failed atomic.Int64
	for w := range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := soakOperation(t.Context(), db, w, id.Name); err != nil {
					if failed.Add(1) < 5 {
						t.Error(err)
					}
				}
				done.Add(1)
			}
		})
	}
	// First what fills up in the emulator, which keeps the latest 1,000 of each.
	for az.Counts().Requests < 1100 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token?resource=x&client_id="+id.ClientID, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Metadata", "true")
		answer, err := az.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	for az.Counts().SignIns < 1100 {
		time.Sleep(50 * time.Millisecond)
	}
	type sample struct {
		heap       uint64
		goroutines int
	}
	const samples = 20
	var all []sample
	first := c.Stats()
	began := time.Now()
	lasts := *soakDuration
	if end, ok := t.Deadline(); ok { // go test's own -timeout: ten minutes, unless said otherwise
		lasts = min(lasts, time.Until(end)-20*time.Second)
	}
	for range samples {
		time.Sleep(lasts / samples)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		all = append(all, sample{m.HeapAlloc, runtime.NumGoroutine()})
	}
	took := time.Since(began)
	last := c.Stats()

	// The least of a fifth: what is in use at the moment comes and goes.
	heap := func(s []sample) uint64 {
		return slices.MinFunc(s, func(a, b sample) int { return cmp.Compare(a.heap, b.heap) }).heap
	}
	routines := func(s []sample) int {
		return slices.MinFunc(s, func(a, b sample) int { return cmp.Compare(a.goroutines, b.goroutines) }).goroutines
	}
	begin, end := all[:samples/5], all[samples-samples/5:]
	t.Logf("%s: %d operations, %d failed; %d sign-ins, %d token requests; heap %d KiB, then %d KiB; goroutines %d, then %d", took.Round(time.Second), done.Load(), failed.Load(),
		last.SignIns-first.SignIns, last.TokenRequests-first.TokenRequests, heap(begin)>>10, heap(end)>>10, routines(begin), routines(end))
	if grown := int64(heap(end)) - int64(heap(begin)); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if grown := routines(end) - routines(begin); grown > 2*workers { // sessions come and go, with some each
		t.Errorf("there are %d goroutines more", grown)
	}
	// A token is asked for anew when half of its life is over, which is told in whole seconds.
	if n, most := last.TokenRequests-first.TokenRequests, int64(took/(life/2-time.Second/2))+2; n > most {
		t.Errorf("%d token requests, want at most %d", n, most)
	}
}

// soakOnce is a little of everything: a transaction, a query, and who it is.
func soakOperation(ctx context.Context, db *sql.DB, worker int, role string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "insert into soaked values ($1, 1) on conflict (worker) do update set n = soaked.n + 1", worker); err != nil {
		return err
	}
	var who string
	if err := tx.QueryRowContext(ctx, "select session_user").Scan(&who); err != nil {
		return err
	}
	if who != role {
		return fmt.Errorf("signed in as %q", who)
	}
	return tx.Commit()
}
