//go:build linux && cluster

package cluster

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A load is eight writers, each of which inserts one key after the other and keeps
// in mind which were acknowledged.
type load struct {
	db   *sql.DB
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu           sync.Mutex
	began        map[string]time.Time // of the acknowledged
	inDoubt      []string             // failed, maybe after the server had committed
	errors       map[string]int
	last         time.Time      // of an acknowledgement
	outage       time.Duration  // the longest between two
	acknowledged chan time.Time // when an insert began that has just been
}

const writers = 8

// newLoad begins to write.
func newLoad(t testing.TB, db *sql.DB, name string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{db: db, stop: cancel, began: map[string]time.Time{}, errors: map[string]int{}, acknowledged: make(chan time.Time)}
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
		l.began[key] = began
		now := time.Now()
		if !l.last.IsZero() {
			l.outage = max(l.outage, now.Sub(l.last))
		}
		l.last = now
	} else {
		l.inDoubt = append(l.inDoubt, key)
		l.errors[codeOf(err)]++
	}
	l.mu.Unlock()
	if err == nil {
		select {
		case l.acknowledged <- began:
		default:
		}
		return
	}
	select { // as a program does that is to go on
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// since waits for an insert that began after that time and was acknowledged, and
// returns when that was.
func (l *load) since(t testing.TB, when time.Time) time.Time {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case began := <-l.acknowledged:
			if began.After(when) {
				return time.Now()
			}
		case <-patience:
			t.Fatal("nothing was written within a minute")
		}
	}
}

// more waits until n more inserts were acknowledged.
func (l *load) more(t testing.TB, n int) {
	t.Helper()
	l.mu.Lock()
	n += len(l.began)
	l.mu.Unlock()
	eventually(t, time.Minute, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.began) < n {
			return fmt.Errorf("%d inserts", len(l.began))
		}
		return nil
	})
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// longest is the outage as the program sees it.
func (l *load) longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outage.Round(time.Millisecond)
}
