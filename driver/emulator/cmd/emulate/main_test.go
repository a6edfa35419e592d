package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// TestMain makes this binary the command itself if EMULATE_MAIN is set, for tests of its
// signals and its exit status. EMULATE_MAIN is the grace period.
func TestMain(m *testing.M) {
	if d, err := time.ParseDuration(os.Getenv("EMULATE_MAIN")); err == nil {
		os.Unsetenv("EMULATE_MAIN")
		gracePeriod = d
		main()
		os.Exit(0)
	}
	need.Main(m)
}

// tempDir returns a temporary directory that the server's user, who may not be root, can
// enter. It is in memory if possible, because some disks are slow to remove a server's
// files.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "emulate")
	if err != nil {
		dir, err = os.MkdirTemp("", "emulate")
	}
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// emulate returns the command, with its temporary files in dir.
func emulate(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "EMULATE_MAIN=500ms", "TMPDIR="+dir, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// checkNothingLeft waits up to 10 seconds until dir is empty and no process has it in its
// command line.
func checkNothingLeft(t *testing.T, dir string) {
	t.Helper()
	var left []string
	for range 1000 {
		left = leftovers(dir)
		if left == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("left behind: %q, want nothing", left)
}

func leftovers(dir string) (all []string) {
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		all = append(all, fmt.Sprint(files, err))
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // on Linux
	for _, p := range processes {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), dir) {
			all = append(all, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return all
}

func TestDemo(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var out strings.Builder
	if err := demo(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`each as "app"`, "TLS 1.3", "COPY of 1000 rows", "returns 1003", "1 token request, 8 sign-ins, 0 refused"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo printed:\n%s\nwant %q in it", &out, want)
		}
	}
	goleak.VerifyNone(t, before)
}

// A command has the host's environment instead of this process's, and its exit status is
// returned.
func TestCommand(t *testing.T) {
	t.Setenv("AZURE_CLIENT_ID", "of another host")
	t.Setenv("PGREQUIREPEER", "of another server")
	t.Setenv("PGHOST", "another")
	app := config{host: emulator.AppService}
	const want = "localhost app  http postgres://app@"
	got, err := runScript(t, app, `echo "$PGHOST $PGUSER $AZURE_CLIENT_ID $PGREQUIREPEER${IDENTITY_ENDPOINT%%:*} ${DATABASE_URL%%localhost*}"`)
	if err != nil {
		t.Error(err)
	}
	if got != want {
		t.Errorf("environment = %q, want %q", got, want)
	}
	status, err := run(context.Background(), app, io.Discard, []string{need.Shell(t), "-c", "exit 4"})
	if err != nil {
		t.Error(err)
	}
	if status != 4 {
		t.Errorf("exit status = %d, want 4", status)
	}
}

// If the server does not start, emulate exits with status 1 and not with the status of the
// server's program.
func TestFailure(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho out of order; exit 7"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(bin), 0o755); err != nil { // for the server's user
		t.Fatal(err)
	}
	cmd := emulate(tempDir(t), "--", "true")
	cmd.Env = append(cmd.Env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "AADPOSTGRES_EMULATOR_CACHE="+t.TempDir())
	out, err := cmd.CombinedOutput()
	var exitErr *exec.ExitError
	if !errors.As(err, &exitErr) || exitErr.ExitCode() != 1 {
		t.Errorf("emulate returned %v, want exit status 1", err)
	}
	if want := "emulate: emulator: initdb: exit status 7: out of order"; !strings.Contains(string(out), want) {
		t.Errorf("output = %q, want %q in it", out, want)
	}
}

// The text of -h names the value of each flag.
func TestHelp(t *testing.T) {
	out, err := emulate(t.TempDir(), "-h").CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"-on HOST\n", "-user NAME\n", "-admin NAME\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("help = %s\nwant %q in it", out, want)
		}
	}
}

// runScript runs a shell script as emulate's command and returns what it prints.
func runScript(t *testing.T, c config, script string) (string, error) {
	t.Helper()
	var out strings.Builder
	status, err := run(context.Background(), c, &out, []string{need.Shell(t), "-c", script})
	if status != 0 {
		err = errors.Join(fmt.Errorf("exit status %d", status), err)
	}
	return strings.TrimSpace(out.String()), err
}

// newConfig returns what the flags -on and -user set.
func newConfig(t *testing.T, host emulator.Host, users ...string) config {
	t.Helper()
	c := config{host: host}
	for _, user := range users {
		if err := c.addIdentity(emulator.WithIdentity)(user); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Without a command, emulate prints variables in a form that a shell reads, until it is
// stopped.
func TestExports(t *testing.T) {
	need.Program(t, "bash", "psql")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := run(ctx, newConfig(t, emulator.Workstation, "o'brien@contoso.com"), in, nil)
		in.CloseWithError(err)
		done <- err
	}()
	var script strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if strings.HasPrefix(lines.Text(), "  export ") {
			script.WriteString(lines.Text() + "\n")
		}
	}
	script.WriteString("PGPASSWORD=$(" + tokenCommand(t, emulator.Workstation) + `) psql -AtXc "select session_user"`)
	b, err := exec.Command(need.Shell(t), "-c", script.String()).CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	if got, want := strings.TrimSpace(string(b)), "o'brien@contoso.com"; got != want {
		t.Errorf("the script printed %q, want %q\n%s", got, want, &script)
	}
	cancel()
	go io.Copy(io.Discard, out)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Without a command, an identity that the host does not have is an error too.
func TestExportsOfAnotherHost(t *testing.T) {
	var out strings.Builder
	_, err := run(context.Background(), newConfig(t, emulator.AppService, "o'brien@contoso.com's"), &out, nil)
	if want := "app-service has managed identities only"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("run() = %v, want %q in it", err, want)
	}
	if out.Len() > 0 {
		t.Errorf("output = %q, want none", &out)
	}
}

// Contradictory flags are errors that name the remedy.
func TestMisuse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		host  emulator.Host
		users []string
		want  string
	}{
		{"virtual machine", "virtual-machine", nil, "choose one of app-service, kubernetes, pipelines, workstation, on-premises, machine-learning and cloud-shell"},
		{"application with managed identities only", emulator.AppService, []string{"service-principal:deploy"}, "deploy is an application; use -on kubernetes, -on pipelines or -on on-premises"},
		{"user with managed identities only", emulator.AppService, []string{"me@contoso.com"}, "run a user on a workstation"},
		{"user in Kubernetes", emulator.Kubernetes, []string{"me@contoso.com"}, "me@contoso.com is a user and cannot run on kubernetes"},
		{"user on-premises", emulator.OnPremises, []string{"me@contoso.com"}, "me@contoso.com is a user and cannot run on on-premises"},
		{"managed identity on-premises", emulator.OnPremises, []string{"managed-identity:billing"}, "billing is a managed identity, which has no client secret; choose an application, of kind service-principal"},
		{"second identity in Cloud Shell", emulator.CloudShell, []string{"billing"}, "only one identity, app"},
		{"one role twice", emulator.AppService, []string{"twice", "twice"}, `role "twice" already exists`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := runScript(t, newConfig(t, tt.host, tt.users...), "true")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("run() = %v, want %q in it", err, tt.want)
			}
		})
	}
}

// The flags -user and -admin refuse what is not an identity.
func TestInvalidIdentity(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"unknown kind", "robot:x", `unknown kind "robot"`},
		{"no name after the kind", "user:", "no name"},
		{"empty", "", "no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := new(config).addIdentity(emulator.WithIdentity)(tt.value)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("addIdentity(%q) = %v, want %q in it", tt.value, err, tt.want)
			}
		})
	}
}
