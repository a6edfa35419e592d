//go:build unix

package emulator

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// ignoreSignals behaves as a server that handles SIGQUIT only some time after its start.
func ignoreSignals() {
	signal.Ignore(syscall.SIGQUIT)
	fmt.Println("started")
	time.Sleep(200 * time.Millisecond)
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGQUIT)
	<-quit
}

// A server that is stopped before it handles signals ends as soon as it does.
func TestStopDuringStart(t *testing.T) {
	if os.Getenv("EMULATOR_CHILD") != "" {
		ignoreSignals()
		os.Exit(0)
	}
	t.Setenv("EMULATOR_CHILD", "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	cmd := superviseCommand([]string{os.Args[0], "-test.run=^TestStopDuringStart$"})
	if err := dropPrivileges(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr.Credential = nil // the server's user may not read the test binary
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(10*time.Second, func() { killServer(cmd) })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Errorf("first line = %q, %v, want %q", line, err, "started\n")
	}
	stopServer(cmd, stdin, "")
	cmd.Wait()
	if !timeout.Stop() {
		t.Error("the server did not end within 10 s")
	}
}

// Directories remain while a process holds the liveness pipe, and are removed afterwards.
// What such a process writes to the pipe has no effect.
func TestReaper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	outside := t.TempDir()
	r, err := newReaper()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", dir} {
		if err := r.register(path); err != nil {
			t.Errorf("register(%q) = %v", path, err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(need.Shell(t), "-c", `echo "$1" >&3; exec cat`, "sh", outside)
	r.attach(holder)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	r.paths.Close() // as the end of this process would
	r.liveness.Close()
	time.Sleep(100 * time.Millisecond)
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("Stat() = %v, want that the directory remains while it is in use", err)
	}
	stdin.Close()
	r.close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("Stat() = %v, want that the directory was removed", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("Stat() = %v, want that a directory which was not registered remains", err)
	}
	holder.Wait()
}

func TestReaperLineBreak(t *testing.T) {
	r, err := newReaper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.register("a\nb"); err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("register() = %v, want the remedy in it", err)
	}
}

// The emulator uses TMPDIR for the server's data if the server's user can enter it, and
// another directory otherwise.
func TestPrivateTemporaryDirectory(t *testing.T) {
	dir := t.TempDir()
	setCache(t, t.TempDir(), 0o700)
	t.Setenv("TMPDIR", dir)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	checkStart(t)
	uid, _, err := serverUser()
	if err != nil {
		t.Fatal(err)
	}
	if uid < 0 {
		t.Skip("the server runs as this user, who can enter every directory of the test")
	}
	err = checkAccess(dir)
	if want := "set TMPDIR to a directory that every user can enter"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("checkAccess() = %v, want %q in it", err, want)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	data, err := newDataDir()
	if err != nil {
		t.Fatal(err)
	}
	if got := filepath.Dir(data); got != dir {
		t.Errorf("newDataDir() is in %q, want %q", got, dir)
	}
}
