package need

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// TestMissing is run by TestSkipIsReported, in a process that has no program in PATH.
func TestMissing(t *testing.T) {
	if os.Getenv("NEED_CHILD") == "" {
		t.Skip("it is run by TestSkipIsReported")
	}
	for _, programs := range [][]string{{"psql", "curl"}, {"psql"}, {"curl"}, {}} {
		t.Run(strings.Join(programs, " "), func(t *testing.T) { Program(t, programs...) })
	}
	t.Run("a right", func(t *testing.T) { Skip(t, "network namespaces", errors.New("not permitted")) })
}

// A test without its program is skipped by name and counted in the last line, or fails if
// the machine should have all programs.
func TestSkipIsReported(t *testing.T) {
	rows := []struct {
		name     string
		strict   string
		status   int
		want     []string
		wantLast string
	}{
		{
			name:     "skip",
			want:     []string{"not run, missing: psql, curl: ", "--- SKIP: TestMissing/psql_curl ", "--- PASS: TestMissing/#00 "},
			wantLast: "not run, missing: curl (2 tests), network namespaces (1 test), psql (2 tests)",
		},
		{
			name:     "strict",
			strict:   "1",
			status:   1,
			want:     []string{"missing: psql, curl: ", "; install what is missing, or unset " + Strict + " ", "--- FAIL: TestMissing/a_right "},
			wantLast: "FAIL",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestMissing$")
			cmd.Env = append(os.Environ(), "NEED_CHILD=1", "PATH="+t.TempDir(), Strict+"="+row.strict)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != row.status {
				t.Errorf("exit status = %d, want %d", got, row.status)
			}
			for _, want := range row.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("output = %s, want %q in it", out, want)
				}
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "coverage: ") }) // with -cover
			if got := lines[len(lines)-1]; got != row.wantLast {
				t.Errorf("last line = %q, want %q", got, row.wantLast)
			}
		})
	}
}
