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

// A load is eight writers, each of which inserts one key after the other and keeps
// in mind which were acknowledged, and when.
type workload struct {
	db   *sql.DB
	cancel context.CancelFunc
	wg   sync.WaitGroup

	mu           sync.Mutex // guards what follows until the load has ended
	acknowledged []insert   // in the order of at
	inDoubt      []string   // failed, maybe after the server had committed
	errors       map[string]int
}

// An insert is one that was acknowledged.
type insert struct {
	key       string
	began, at time.Time
}

const writers = 8

// newLoad begins to write.
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
	const patience = 3 * time.Second // a server that has just died may not say so
	began := time.Now()
	each, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
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
	select { // as a program does that is to go on
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// more waits until n inserts were acknowledged that are not yet.
func (w *workload) waitForWrites(t testing.TB, n int) {
	t.Helper()
	before := w.count()
	eventually(t, time.Minute, func() error {
		if got := w.count() - before; got < n {
			return fmt.Errorf("%d inserts, want %d", got, n)
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

// first returns when the first insert was acknowledged from that time on. The load
// has ended.
func (w *workload) firstWriteAfter(t testing.TB, from time.Time) time.Time {
	t.Helper()
	i := slices.IndexFunc(w.acknowledged, func(w insert) bool { return !w.at.Before(from) })
	if i < 0 {
		t.Fatal("nothing was written any more")
	}
	return w.acknowledged[i].at
}

// outage is the longest time that nothing was acknowledged in: what the program saw
// of it. The load has ended.
func (w *workload) outage() (longest time.Duration) {
	for i, insert := range w.acknowledged[1:] {
		longest = max(longest, insert.at.Sub(w.acknowledged[i].at))
	}
	return longest
}

// within counts the inserts that began and were acknowledged between two times. The
// load has ended.
func (w *workload) countBetween(from, to time.Time) (n int) {
	for _, insert := range w.acknowledged {
		if insert.began.After(from) && insert.at.Before(to) {
			n++
		}
	}
	return n
}

// missing counts the acknowledged writes that are not there, and those that failed
// and are. The load has ended.
func (w *workload) countLost(t testing.TB, db *sql.DB) (lost, saved int) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "select key from kept")
	check(t, err)
	defer rows.Close()
	there := map[string]bool{}
	for rows.Next() {
		var key string
		check(t, rows.Scan(&key))
		there[key] = true
	}
	check(t, rows.Err())
	for _, insert := range w.acknowledged {
		if !there[insert.key] {
			lost++
		}
	}
	for _, key := range w.inDoubt {
		if there[key] {
			saved++
		}
	}
	return lost, saved
}
