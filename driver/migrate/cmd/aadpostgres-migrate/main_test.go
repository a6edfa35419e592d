package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var (
	az      *emulator.Azure
	program string   // the command, built
	azEnv   []string // of a host whose managed identity is app
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "aadpostgres-migrate-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program = filepath.Join(dir, "aadpostgres-migrate")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	if err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	az, err = emulator.New(context.Background())
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	azEnv, err = az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// A result is what a run of the command ends with.
type result struct {
	status         int
	stdout, stderr string
}

// migrateCommand runs the command as a user does, with databaseURL in DATABASE_URL.
func migrateCommand(t *testing.T, databaseURL string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), "DATABASE_URL="+databaseURL), azEnv...)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// newURL returns the URL of a database of the test's own.
func newURL(t *testing.T) string {
	t.Helper()
	u := az.Database(t).URL("aad_auth=managed-identity", "application_name=a b+c")
	return "aadpostgres" + strings.TrimPrefix(u, "postgres") + "&x-migrations-table=ledger"
}

// newFolder returns a folder with three migrations, the last of which fails.
func newFolder(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "some migrations")
	err := os.Mkdir(folder, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []struct{ name, sql string }{
		{"1_a.up.sql", "CREATE TABLE a AS SELECT current_setting('application_name') AS name;"},
		{"1_a.down.sql", "DROP TABLE a;"},
		{"2_b.up.sql", "CREATE TABLE b (); SELECT pg_sleep(0.3);"},
		{"2_b.down.sql", "DROP TABLE b;"},
		{"3_c.up.sql", "CREATE TABLE c (n int DEFAULT no_such());"},
		{"3_c.down.sql", "DROP TABLE c;"},
	} {
		err := os.WriteFile(filepath.Join(folder, file.name), []byte(file.sql), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestCommand(t *testing.T) {
	folder := newFolder(t)
	t.Cleanup(func() {
		counts := az.Counts()
		if counts.Refused != 0 {
			t.Errorf("refused sign-ins: got %d, want 0", counts.Refused)
		}
		if counts.SignIns == 0 {
			t.Error("sign-ins: got 0, want some")
		}
	})
	for _, row := range []struct {
		name   string
		before []string // commands that run first
		args   string
		stdout string // wanted substrings
		stderr string
		status int
	}{
		{name: "up N", before: []string{"goto 1"}, args: "up 1", stderr: "aadpostgres-migrate: 2/u b"},
		{name: "up N applies N", before: []string{"up 1"}, args: "version", stdout: "1\n"},
		{name: "up that fails", before: []string{"goto 2"}, args: "up", status: 1,
			stderr: "aadpostgres-migrate: migration failed: function no_such() does not exist"},
		{name: "up of a dirty database", before: []string{"goto 2", "up"}, args: "up", status: 1,
			stderr: "aadpostgres-migrate: Dirty database version 3. Fix and force version."},
		{name: "down N", before: []string{"goto 2"}, args: "down 1", stderr: "aadpostgres-migrate: 2/d b"},
		{name: "down N reverts N", before: []string{"goto 2", "down 1"}, args: "version", stdout: "1\n"},
		{name: "down -all", before: []string{"goto 2"}, args: "down -all", stderr: "aadpostgres-migrate: 1/d a"},
		{name: "goto", args: "goto 2", stderr: "aadpostgres-migrate: 2/u b"},
		{name: "goto the same version", before: []string{"goto 2"}, args: "goto 2", stderr: "aadpostgres-migrate: no change"},
		{name: "goto a missing version", before: []string{"goto 2"}, args: "goto 7", status: 1,
			stderr: "aadpostgres-migrate: no migration found for version 7"},
		{name: "force", before: []string{"goto 2", "up"}, args: "force 2"},
		{name: "force ends dirty", before: []string{"goto 2", "up", "force 2"}, args: "goto 2", stderr: "aadpostgres-migrate: no change"},
		{name: "version", before: []string{"goto 2"}, args: "version", stdout: "2\n"},
		{name: "version of a dirty database", before: []string{"goto 2", "up"}, args: "version", stdout: "3 (dirty)\n"},
		{name: "version of an empty database", args: "version", status: 1, stderr: "aadpostgres-migrate: no migration"},
		{name: "version after down -all", before: []string{"goto 2", "down -all"}, args: "version", status: 1,
			stderr: "aadpostgres-migrate: no migration"},
		{name: "verbose", args: "-verbose up 1", stderr: "Finished 1/u a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			flags := []string{"-database", newURL(t), "-path", folder}
			for _, args := range row.before {
				got := migrateCommand(t, "", append(flags, strings.Fields(args)...)...)
				t.Logf("%s: %+v", args, got)
			}
			got := migrateCommand(t, "", append(flags, strings.Fields(row.args)...)...)
			if got.status != row.status {
				t.Errorf("status: got %d, want %d", got.status, row.status)
			}
			if !strings.Contains(got.stdout, row.stdout) {
				t.Errorf("stdout: got %q, want %q", got.stdout, row.stdout)
			}
			if !strings.Contains(got.stderr, row.stderr) {
				t.Errorf("stderr: got %q, want %q", got.stderr, row.stderr)
			}
			if strings.Contains(got.stderr, "panic") {
				t.Errorf("stderr: got %q, want no panic", got.stderr)
			}
		})
	}
}

// Of two that run at once, one migrates. The other waits for it and has nothing to do.
func TestConcurrentCommands(t *testing.T) {
	folder := newFolder(t)
	u := newURL(t)
	results := make([]result, 2)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = migrateCommand(t, u, "-path", folder, "goto", "2") })
	}
	wg.Wait()
	logged := ""
	for _, got := range results {
		if got.status != 0 {
			t.Errorf("status: got %d, want 0: %s", got.status, got.stderr)
		}
		logged += got.stderr
	}
	for _, line := range []string{"2/u b", "no change"} {
		n := strings.Count(logged, line)
		if n != 1 {
			t.Errorf("%q is logged %d times, want once: %s", line, n, logged)
		}
	}
}

func TestDatabaseURLVariable(t *testing.T) {
	u := newURL(t)
	folder := newFolder(t)
	applied := migrateCommand(t, u, "-path", folder, "up", "1")
	if applied.status != 0 {
		t.Fatalf("up 1: got %+v, want status 0", applied)
	}
	got := migrateCommand(t, u, "-path", folder, "version")
	want := result{stdout: "1\n"}
	if got != want {
		t.Errorf("version: got %+v, want %+v", got, want)
	}
}

// What cannot be printed is a failure.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	t.Cleanup(func() { full.Close() })
	folder := newFolder(t)
	u := newURL(t)
	migrateCommand(t, u, "-path", folder, "goto", "1")
	for _, row := range []struct {
		name string
		args []string
	}{
		{"help", []string{"-h"}},
		{"version", []string{"-path", folder, "version"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var stderr bytes.Buffer
			cmd := exec.Command(program, row.args...)
			cmd.Env = append(append(os.Environ(), "DATABASE_URL="+u), azEnv...)
			cmd.Stdout = full
			cmd.Stderr = &stderr
			err := cmd.Run()
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != 1 {
				t.Errorf("exit status: got %d, want 1", got)
			}
			if !strings.Contains(stderr.String(), "no space left on device") {
				t.Errorf("stderr: got %q, want no space left on device", &stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	got := migrateCommand(t, "aadpostgres://app:hunter2@h/d", "-h")
	if got.status != 0 {
		t.Errorf("status: got %d, want 0", got.status)
	}
	if !strings.HasPrefix(got.stdout, "usage: aadpostgres-migrate [-database URL]") {
		t.Errorf("stdout: got %q, want the synopsis first", got.stdout)
	}
	if strings.Contains(got.stdout, "hunter2") {
		t.Errorf("stdout: got %q, want no DATABASE_URL", got.stdout)
	}
	if got.stderr != "" {
		t.Errorf("stderr: got %q, want nothing", got.stderr)
	}
}

// A wrong command line is one line on stderr, which repeats no argument: it may be a URL
// with a password.
func TestInvalidCommandLine(t *testing.T) {
	const downWants = "down needs one argument, the number of migrations or -all"
	for _, row := range []struct {
		name string
		args []string
		want string // before the hint
	}{
		{"no command", nil, "no command is given"},
		{"unknown command", []string{"sideways"}, "this command is not known"},
		{"URL in the command's place", []string{"aadpostgres://app:hunter2@h/d"}, "this command is not known"},
		{"up with a negative number", []string{"up", "-1"}, "up accepts one argument, the number of migrations"},
		{"up with two numbers", []string{"up", "1", "2"}, "up accepts one argument, the number of migrations"},
		{"up with a word", []string{"up", "hunter2"}, "up accepts one argument, the number of migrations"},
		{"down without a number", []string{"down"}, downWants},
		{"down with a negative number", []string{"down", "-1"}, downWants},
		{"goto without a version", []string{"goto"}, "goto needs one argument, a version"},
		{"goto with a negative version", []string{"goto", "-1"}, "goto needs one argument, a version"},
		{"force without a version", []string{"force"}, "force needs one argument, a version"},
		{"version with an argument", []string{"version", "1"}, "version has no arguments"},
		{"unknown flag", []string{"-databse", "hunter2"}, "flag provided but not defined: -databse"},
		{"flag without its value", []string{"-path"}, "flag needs an argument: -path"},
		{"URL in a flag's place", []string{"-aadpostgres://app:hunter2@h/d"}, "a flag is not known, or its value is invalid"},
		{"URL in the value of a flag", []string{"-verbose=aadpostgres://app:hunter2@h/d"}, "a flag is not known, or its value is invalid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := migrateCommand(t, "aadpostgres://app.invalid/d", row.args...)
			want := result{status: 2, stderr: "aadpostgres-migrate: " + row.want + "; see aadpostgres-migrate -h\n"}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// An invalid URL is one line on stderr, without the secrets in it.
func TestInvalidURL(t *testing.T) {
	const notOurs = "aadpostgres-migrate: the database URL is missing or does not begin with aadpostgres://; set -database or DATABASE_URL\n"
	folder := newFolder(t)
	valid := newURL(t)
	for _, row := range []struct{ name, url, want string }{
		{"missing", "", notOurs},
		{"keywords", "password=hunter2 host=h options=-c:x", notOurs},
		{"scheme of another driver", "postgres://app:hunter2@h/d", notOurs},
		{"password without the mode", "aadpostgres://app:hunter2@h/d", "aadpostgres-migrate: failed to open database: aadpostgres: dsn: a password"},
		{"invalid option", valid + "&x-multi-statement=yes", "aadpostgres-migrate: failed to open database: aadpostgres: dsn: x-multi-statement is"},
		{"misspelled mode", strings.Replace(valid, "managed-identity", "mangaed-identity", 1), "did you mean managed-identity?"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := migrateCommand(t, "", "-database", row.url, "-path", folder, "up")
			if got.status != 1 {
				t.Errorf("status: got %d, want 1", got.status)
			}
			if !strings.Contains(got.stderr, row.want) {
				t.Errorf("stderr: got %q, want %q", got.stderr, row.want)
			}
			if strings.Contains(got.stderr, "hunter2") {
				t.Errorf("stderr: got %q, want no password", got.stderr)
			}
			lines := strings.Count(got.stderr, "\n")
			if lines != 1 {
				t.Errorf("stderr: got %d lines, want 1: %q", lines, got.stderr)
			}
		})
	}
}
