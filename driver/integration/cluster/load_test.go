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
type load struct {
	db   *sql.DB
	stop context.CancelFunc
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
func newLoad(t testing.TB, db *sql.DB, name string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{db: db, stop: cancel, errors: map[string]int{}}
	for w := range writers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.write(ctx, fmt.Sprintf("%s %d-%d", name, w, i))
			}
		})
	}
	return l
}

func (l *load) write(ctx context.Context, key string) {
	const patience = 3 * time.Second // a server that has just died may not say so
	began := time.Now()
	each, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := l.db.ExecContext(each, "insert into kept (key) values ($1)", key)
	l.mu.Lock()
	if err == nil {
		l.acknowledged = append(l.acknowledged, insert{key, began, time.Now()})
	} else {
		l.inDoubt = append(l.inDoubt, key)
		l.errors[codeOf(err)]++
	}
	l.mu.Unlock()
	if err == nil {
		return
	}
	select { // as a program does that is to go on
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// more waits until n inserts were acknowledged that are not yet.
func (l *load) more(t testing.TB, n int) {
	t.Helper()
	before := l.count()
	eventually(t, time.Minute, func() error {
		if got := l.count() - before; got < n {
			return fmt.Errorf("%d inserts, want %d", got, n)
		}
		return nil
	})
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// first returns when the first insert was acknowledged from that time on. The load
// has ended.
func (l *load) first(t testing.TB, from time.Time) time.Time {
	t.Helper()
	i := slices.IndexFunc(l.acknowledged, func(w insert) bool { return !w.at.Before(from) })
	if i < 0 {
		t.Fatal("nothing was written any more")
	}
	return l.acknowledged[i].at
}

// outage is the longest time that nothing was acknowledged in: what the program saw
// of it. The load has ended.
func (l *load) outage() (longest time.Duration) {
	for i, w := range l.acknowledged[1:] {
		longest = max(longest, w.at.Sub(l.acknowledged[i].at))
	}
	return longest
}

// within counts the inserts that began and were acknowledged between two times. The
// load has ended.
func (l *load) within(from, to time.Time) (n int) {
	for _, w := range l.acknowledged {
		if w.began.After(from) && w.at.Before(to) {
			n++
		}
	}
	return n
}

// missing counts the acknowledged writes that are not there, and those that failed
// and are. The load has ended.
func (l *load) missing(t testing.TB, db *sql.DB) (lost, saved int) {
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
	for _, w := range l.acknowledged {
		if !there[w.key] {
			lost++
		}
	}
	for _, key := range l.inDoubt {
		if there[key] {
			saved++
		}
	}
	return lost, saved
}
