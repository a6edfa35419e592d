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
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestMain makes this binary the command itself, where a test wants its signals and
// its exit status.
func TestMain(m *testing.M) {
	if d, err := time.ParseDuration(os.Getenv("EMULATE_MAIN")); err == nil {
		os.Unsetenv("EMULATE_MAIN")
		patience = d
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// folder is a temporary one that the server's user may enter, who is not root: in
// memory where that is, as some disks are slow to remove a server's files.
func folder(t *testing.T) string {
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

// emulate is the command. Its folders are in dir.
func emulate(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "EMULATE_MAIN=500ms", "TMPDIR="+dir, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// left waits for a folder to have no more in it, and no process that names it, and
// returns what there still is after 10 seconds.
func left(dir string) (all []string) {
	for range 1000 {
		all = nil
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
		if all == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

func TestDemo(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var out strings.Builder
	if err := demo(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`each as "app"`, "TLS 1.3", "COPY of 1000 rows", "1003 rows", "1 token request, 8 sign-ins, 0 refused"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, &out)
		}
	}
	goleak.VerifyNone(t, before)
}

// A command runs with the environment set, and its exit status comes back.
func TestCommand(t *testing.T) {
	t.Setenv("AZURE_CLIENT_ID", "of another host")
	t.Setenv("PGREQUIREPEER", "of another server")
	t.Setenv("PGHOST", "another")
	app := place{on: emulator.AppService}
	if got, err := output(t, app, `echo "$PGHOST $PGUSER $AZURE_CLIENT_ID $PGREQUIREPEER${IDENTITY_ENDPOINT%%:*} ${DATABASE_URL%%localhost*}"`); err != nil || got != "localhost app  http postgres://app@" {
		t.Errorf("%q, %v", got, err)
	}
	if status, err := run(context.Background(), app, io.Discard, []string{"sh", "-c", "exit 4"}); err != nil || status != 4 {
		t.Errorf("got %d, %v", status, err)
	}
}

// What fails beside the command says so, also where it is itself a program that has
// ended in failure.
func TestFailure(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho out of order; exit 7"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	everybody(t, bin)
	cmd := emulate(folder(t), "--", "true")
	cmd.Env = append(cmd.Env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "AADPOSTGRES_EMULATOR_CACHE="+t.TempDir())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "emulate: emulator: initdb: exit status 7: out of order") {
		t.Errorf("%v: %s", err, out)
	}
}

// everybody may enter this folder of a test's, from now on.
func everybody(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
}

// The text of -h names what a flag takes.
func TestHelp(t *testing.T) {
	out, err := emulate(t.TempDir(), "-h").CombinedOutput()
	for _, want := range []string{"-on HOST\n", "-user NAME\n", "-admin NAME\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, no %q in %s", err, want, out)
		}
	}
}

// output runs a script and returns what it prints.
func output(t *testing.T, p place, script string) (string, error) {
	t.Helper()
	var out strings.Builder
	status, err := run(context.Background(), p, &out, []string{"sh", "-c", script})
	if status != 0 {
		err = errors.Join(fmt.Errorf("exit status %d", status), err)
	}
	return strings.TrimSpace(out.String()), err
}

func flags(t *testing.T, on emulator.Host, names ...string) place {
	t.Helper()
	p := place{on: on}
	for _, name := range names {
		if err := p.add(false)(name); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Without a command it prints what a shell takes, until it is stopped.
func TestExports(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := run(ctx, flags(t, emulator.AppService, "o'brien@contoso.com's"), in, nil)
		in.CloseWithError(err)
		done <- err
	}()
	if b, err := io.ReadAll(out); err == nil || !strings.Contains(err.Error(), "app-service has managed identities only") {
		t.Errorf("%q, %v", b, err)
	}
	<-done
	out, in = io.Pipe()
	go func() {
		_, err := run(ctx, flags(t, emulator.Workstation, "o'brien@contoso.com"), in, nil)
		done <- err
	}()
	var script strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if strings.HasPrefix(lines.Text(), "  export ") {
			script.WriteString(lines.Text() + "\n")
		}
	}
	b, err := exec.Command("sh", "-c", script.String()+`PGPASSWORD=$(`+ways[emulator.Workstation]+`) psql -AtXc "select session_user"`).CombinedOutput()
	if got := strings.TrimSpace(string(b)); err != nil || got != "o'brien@contoso.com" {
		t.Errorf("%q, %v\n%s", got, err, &script)
	}
	cancel()
	go io.Copy(io.Discard, out)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What makes no sense is said, in words that help.
func TestMisuse(t *testing.T) {
	for _, tt := range []struct {
		place
		want string
	}{
		{flags(t, "virtual-machine"), "choose one of app-service, kubernetes, pipelines, workstation, machine-learning and cloud-shell"},
		{flags(t, emulator.AppService, "service-principal:deploy"), "deploy is an application; try -on kubernetes or -on pipelines"},
		{flags(t, emulator.AppService, "me@contoso.com"), "run a user on a workstation"},
		{flags(t, emulator.Kubernetes, "me@contoso.com"), "me@contoso.com is a user and cannot run on kubernetes"},
		{flags(t, emulator.CloudShell, "billing"), "one identity, app"},
		{flags(t, emulator.AppService, "twice", "twice"), `role "twice" already exists`},
	} {
		if _, err := output(t, tt.place, "true"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	for name, want := range map[string]string{"robot:x": `"robot" is none of`, "user:": "no name", "": "no name"} {
		if err := new(place).add(false)(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Whenever it is killed or told to end, and also where it fails by itself, neither
// PostgreSQL nor its files stay.
func TestEndDuringStart(t *testing.T) {
	began := time.Now()
	if out, err := emulate(folder(t), "--", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	length := time.Since(began)
	dir := folder(t)
	const times = 20
	for i := range times {
		for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
			cmd := emulate(dir, "--", "true")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			at := length * time.Duration(i) / times
			time.Sleep(at)
			cmd.Process.Signal(signal)
			hung := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
			cmd.Wait()
			if !hung.Stop() {
				t.Errorf("%v after %v: it does not end", signal, at)
			}
			if all := left(dir); all != nil {
				t.Fatalf("%v after %v: %q", signal, at, all)
			}
		}
	}
	cmd := emulate(dir, "--", "true")
	cmd.Env = append(cmd.Env, "PGSERVICE=nope")
	hung := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	if out, err := cmd.CombinedOutput(); err == nil || !hung.Stop() || !strings.Contains(string(out), "the environment: ") {
		t.Errorf("%v: %s", err, out)
	}
	if all := left(dir); all != nil {
		t.Errorf("%q", all)
	}
}

// Neither PostgreSQL nor its files outlive a program that is killed.
func TestServerEndsWithItsProgram(t *testing.T) {
	ctx := context.Background()
	if os.Getenv("EMULATE_CHILD") != "" {
		az, err := emulator.New(ctx)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(filepath.Dir(az.CertFile()) + "|" + az.PostgresDSN())
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithItsProgram$")
	cmd.Env = append(os.Environ(), "EMULATE_CHILD=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	defer end()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	dir, dsn, ok := strings.Cut(strings.TrimSpace(line), "|")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Fatal(err)
	}
	end()
	for range 200 {
		conn, refused := pgx.Connect(ctx, dsn)
		if refused == nil {
			conn.Close(ctx)
		}
		_, err1 := os.Stat(data)
		_, err2 := os.Stat(dir)
		if refused != nil && os.IsNotExist(err1) && os.IsNotExist(err2) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("10 seconds after its program was killed, PostgreSQL still answers or has left its files")
}
