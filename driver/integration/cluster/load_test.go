//go:build linux && cluster

package cluster

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// A workload is eight writers. Each inserts one key after the other and records which
// were acknowledged, and when.
type workload struct {
	db     *sql.DB
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu           sync.Mutex // guards the rest until stop
	acknowledged []insert   // in the order of at
	inDoubt      []string   // failed; the server may have committed them
	errors       map[string]int
}

// An insert was acknowledged at that time.
type insert struct {
	key       string
	began, at time.Time
}

const writers = 8

// newWorkload starts the writers.
func newWorkload(t testing.TB, db *sql.DB, name string) *workload {
	ctx, cancel := context.WithCancel(t.Context())
	w := &workload{db: db, cancel: cancel, errors: map[string]int{}}
	for writer := range writers {
		w.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				w.write(ctx, fmt.Sprintf("%s %d-%d", name, writer, i))
			}
		})
	}
	return w
}

func (w *workload) write(ctx context.Context, key string) {
	const timeout = 3 * time.Second // a server that was killed may not close its connections
	began := time.Now()
	each, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	_, err := w.db.ExecContext(each, "insert into kept (key) values ($1)", key)
	w.mu.Lock()
	if err == nil {
		w.acknowledged = append(w.acknowledged, insert{key, began, time.Now()})
	} else {
		w.inDoubt = append(w.inDoubt, key)
		w.errors[errorCode(err)]++
	}
	w.mu.Unlock()
	if err == nil {
		return
	}
	select { // wait before the next try
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// waitForWrites waits until n more inserts are acknowledged.
func (w *workload) waitForWrites(t testing.TB, n int) {
	t.Helper()
	before := w.count()
	eventually(t, time.Minute, func() error {
		if got := w.count() - before; got < n {
			return fmt.Errorf("inserts = %d, want %d", got, n)
		}
		return nil
	})
}

func (w *workload) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

func (w *workload) stop() {
	w.cancel()
	w.wg.Wait()
}

// firstWriteAfter returns when the first insert since then was acknowledged. The workload
// must have stopped.
func (w *workload) firstWriteAfter(t testing.TB, from time.Time) time.Time {
	t.Helper()
	i := slices.IndexFunc(w.acknowledged, func(w insert) bool { return !w.at.Before(from) })
	if i < 0 {
		t.Fatalf("no insert was acknowledged after %s", from)
	}
	return w.acknowledged[i].at
}

// outage returns the longest time between two acknowledgements. The workload must have
// stopped.
func (w *workload) outage() (longest time.Duration) {
	for i, insert := range w.acknowledged[1:] {
		longest = max(longest, insert.at.Sub(w.acknowledged[i].at))
	}
	return longest
}

// countBetween counts the inserts that began and were acknowledged between two times. The
// workload must have stopped.
func (w *workload) countBetween(from, to time.Time) (n int) {
	for _, insert := range w.acknowledged {
		if insert.began.After(from) && insert.at.Before(to) {
			n++
		}
	}
	return n
}

// countLost counts the acknowledged writes that db lacks, and the failed ones that it has.
// The workload must have stopped.
func (w *workload) countLost(t testing.TB, db *sql.DB) (lost, saved int) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "select key from kept")
	check(t, err)
	defer rows.Close()
	stored := map[string]bool{}
	for rows.Next() {
		var key string
		check(t, rows.Scan(&key))
		stored[key] = true
	}
	check(t, rows.Err())
	for _, insert := range w.acknowledged {
		if !stored[insert.key] {
			lost++
		}
	}
	for _, key := range w.inDoubt {
		if stored[key] {
			saved++
		}
	}
	return lost, saved
}
