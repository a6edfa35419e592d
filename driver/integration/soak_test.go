package integration

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var soakDuration = flag.Duration("soak", 5*time.Second, "how long TestSoak measures; go test's -timeout limits it")

// TestSoak checks that nothing grows while connections live for 25 ms and tokens for two
// seconds: heap and goroutines are at the end what they were at the beginning.
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
	for worker := range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := soakOperation(t.Context(), db, worker, id.Name)
				if err != nil && failed.Add(1) < 5 {
					t.Error(err)
				}
				done.Add(1)
			}
		})
	}
	fillHistory(t, az, id)
	before := c.Stats()
	began := time.Now()
	samples := takeSamples(t)
	took := time.Since(began)
	after := c.Stats()

	first, last := leastOf(samples[:len(samples)/5]), leastOf(samples[len(samples)*4/5:])
	requests := after.TokenRequests - before.TokenRequests
	t.Logf("%s: %d operations, %d failed; %d sign-ins, %d token requests; heap %d KiB, then %d KiB; goroutines %d, then %d", took.Round(time.Second), done.Load(), failed.Load(),
		after.SignIns-before.SignIns, requests, first.heap>>10, last.heap>>10, first.goroutines, last.goroutines)
	limit := int64(1 << 20)
	if took < 30*time.Second {
		limit *= 2 // a short run still sees what the tests before it have left
	}
	if growth := int64(last.heap) - int64(first.heap); growth > limit {
		t.Errorf("the heap grew by %d bytes, want at most %d", growth, limit)
	}
	if growth := last.goroutines - first.goroutines; growth > 2*workers { // each session that is open has some
		t.Errorf("there are %d more goroutines, want at most %d", growth, 2*workers)
	}
	// A token is refreshed after half of its life, which is in whole seconds.
	if limit := int64(took/(life/2-time.Second/2)) + 2; requests > limit {
		t.Errorf("token requests = %d, want at most %d", requests, limit)
	}
}

// fillHistory makes requests until the emulator's history is full, for the emulator keeps
// the latest 1,000 requests and startup packets.
func fillHistory(t *testing.T, az *emulator.Azure, id emulator.Identity) {
	t.Helper()
	for az.Counts().Requests < 1100 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token?resource=x&client_id="+id.ClientID, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Metadata", "true")
		resp, err := az.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for az.Counts().SignIns < 1100 {
		time.Sleep(50 * time.Millisecond)
	}
}

// A sample is what is in use at one time.
type sample struct {
	heap       uint64
	goroutines int
}

// takeSamples takes twenty samples during soakDuration.
func takeSamples(t *testing.T) []sample {
	const n = 20
	duration := *soakDuration
	if deadline, ok := t.Deadline(); ok {
		duration = min(duration, time.Until(deadline)-20*time.Second)
	}
	samples := make([]sample, 0, n)
	for range n {
		time.Sleep(duration / n)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		samples = append(samples, sample{m.HeapAlloc, runtime.NumGoroutine()})
	}
	return samples
}

// leastOf returns the least heap and the least goroutines: what open connections use comes
// and goes.
func leastOf(samples []sample) sample {
	least := samples[0]
	for _, s := range samples {
		least.heap = min(least.heap, s.heap)
		least.goroutines = min(least.goroutines, s.goroutines)
	}
	return least
}

// soakOperation is a transaction that writes and checks who is signed in.
func soakOperation(ctx context.Context, db *sql.DB, worker int, role string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "insert into soaked values ($1, 1) on conflict (worker) do update set n = soaked.n + 1", worker); err != nil {
		return err
	}
	var got string
	if err := tx.QueryRowContext(ctx, "select session_user").Scan(&got); err != nil {
		return err
	}
	if got != role {
		return fmt.Errorf("session_user = %q, want %q", got, role)
	}
	return tx.Commit()
}
