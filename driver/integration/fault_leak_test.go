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

// checkLeaks checks at the end of the test that no goroutine and no open file is left
// that was not there at the call. Call it before anything registers a cleanup.
func checkLeaks(t testing.TB) {
	b := leakBaseline{goleak.IgnoreCurrent(), openFiles()}
	t.Cleanup(func() { b.check(t) })
}

// checkNoSessions waits until nobody but the emulator itself is signed in.
func checkNoSessions(t testing.TB, az *emulator.Azure) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	n := 0
	ok := eventually(20*time.Second, func() bool {
		err = conn.QueryRow(context.Background(), "select count(*) from pg_stat_activity where backend_type = 'client backend' and usename <> current_user").Scan(&n)
		return err != nil || n == 0
	})
	if err != nil {
		t.Errorf("counting sessions: %v", err)
	}
	if !ok {
		t.Errorf("open sessions = %d, want 0", n)
	}
}

// A leakBaseline is what existed before a test.
type leakBaseline struct {
	goroutines goleak.Option
	files      int
}

// openFiles counts file descriptors. It returns 0 where the system does not list them.
func openFiles() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(files)
}

// check waits until no more exists than before. The time limit allows for pgx, which
// closes a broken connection in the background within 15 seconds.
func (b leakBaseline) check(t testing.TB) {
	t.Helper()
	var err error
	files := 0
	ok := eventually(20*time.Second, func() bool {
		runtime.GC() // closes files that are unreachable
		err = goleak.Find(b.goroutines)
		files = openFiles()
		return err == nil && files <= b.files
	})
	if !ok {
		t.Errorf("open files = %d, want at most %d; goroutines: %v", files, b.files, err)
	}
}

// eventually polls done until it returns true, and returns false after timeout.
func eventually(timeout time.Duration, done func() bool) bool {
	for end := time.Now().Add(timeout); ; <-time.After(20 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
