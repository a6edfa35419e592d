package integration

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// nothingLeft begins a test after which there must be no more goroutines and files
// than before, when all that it has started is ended.
func nothingLeft(t testing.TB) {
	b := now()
	t.Cleanup(func() { b.check(t) })
}

// noSessions waits until nobody but the emulator itself is signed in.
func noSessions(t testing.TB, az *emulator.Azure) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	n := 0
	if !within(20*time.Second, func() bool {
		err = conn.QueryRow(context.Background(), "select count(*) from pg_stat_activity where backend_type = 'client backend' and usename <> current_user").Scan(&n)
		return err != nil || n == 0
	}) || err != nil {
		t.Errorf("%d sessions are left on the server: %v", n, err)
	}
}

// A before is what there was before a test: afterwards there must be no more.
type before struct {
	goroutines goleak.Option
	files      int
}

func now() before { return before{goleak.IgnoreCurrent(), openFiles()} }

// openFiles counts file descriptors, where the system lets them be counted.
func openFiles() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(files)
}

// check waits until there is no more than before. pgx ends a broken connection in the
// background, for which it takes fifteen seconds at most.
func (b before) check(t testing.TB) {
	t.Helper()
	var err error
	files := 0
	ok := within(20*time.Second, func() bool {
		runtime.GC() // files that nobody holds any more are closed by it
		err, files = goleak.Find(b.goroutines), openFiles()
		return err == nil && files <= b.files
	})
	if !ok {
		t.Errorf("%d file descriptors, %d before; %v", files, b.files, err)
	}
}

// within asks again and again until done says so.
func within(most time.Duration, done func() bool) bool {
	for end := time.Now().Add(most); ; <-time.After(20 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
