// Package need skips tests that need what this machine lacks, such as a program, and tells
// at the end of a package's tests what was not run. With Strict set the tests fail instead,
// so that a machine that should have everything does not skip in silence.
package need

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Strict names the environment variable that makes a test fail that would be skipped. Any
// value but "" does.
const Strict = "AADPOSTGRES_TEST_STRICT"

// skipped counts the tests that were skipped, by what they need.
var skipped = struct {
	sync.Mutex
	by map[string]int
}{by: map[string]int{}}

// Program skips a test if one of the programs is not in PATH. It names all that are missing.
func Program(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		skip(t, exec.ErrNotFound, missing...)
	}
}

// Shell returns a POSIX shell: /bin/sh, or sh in PATH where that is no file, as on Windows.
// It skips the test if there is none.
func Shell(t testing.TB) string {
	t.Helper()
	const shell = "/bin/sh"
	if _, err := os.Stat(shell); err == nil {
		return shell
	}
	Program(t, "sh")
	return "sh"
}

// Skip skips a test because this machine lacks what, such as a right, as err says.
func Skip(t testing.TB, what string, err error) {
	t.Helper()
	skip(t, err, what)
}

func skip(t testing.TB, err error, missing ...string) {
	t.Helper()
	all := strings.Join(missing, ", ")
	if os.Getenv(Strict) != "" {
		t.Fatalf("missing: %s: %v; install what is missing, or unset %s to skip the test", all, err, Strict)
	}
	skipped.Lock()
	for _, what := range missing {
		skipped.by[what]++
	}
	skipped.Unlock()
	t.Skipf("not run, missing: %s: %v", all, err)
}

// Main is a TestMain. It runs the tests of a package and exits.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run runs the tests of a package and returns their exit status, for a TestMain that cleans
// up. It prints one line if tests were skipped. go test shows that line with -v.
func Run(m *testing.M) int {
	status := m.Run()
	report(os.Stdout)
	return status
}

// report prints what was not run, if anything.
func report(w io.Writer) {
	skipped.Lock()
	defer skipped.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(skipped.by)) {
		tests := "tests"
		if skipped.by[what] == 1 {
			tests = "test"
		}
		parts = append(parts, fmt.Sprintf("%s (%d %s)", what, skipped.by[what], tests))
	}
	if parts != nil {
		fmt.Fprintln(w, "not run, missing: "+strings.Join(parts, ", "))
	}
}
