//go:build unix

package emulator

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deaf is a server that hears signals only some time after it has begun.
func ignoreSignals() {
	signal.Ignore(syscall.SIGQUIT)
	fmt.Println("begun")
	time.Sleep(200 * time.Millisecond)
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGQUIT)
	<-quit
}

// A server that is to end before it listens ends when it does.
func TestEndOfDeafServer(t *testing.T) {
	if os.Getenv("EMULATOR_CHILD") != "" {
		ignoreSignals()
		os.Exit(0)
	}
	t.Setenv("EMULATOR_CHILD", "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	cmd := superviseCommand([]string{os.Args[0], "-test.run=^TestEndOfDeafServer$"})
	if err := dropPrivileges(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr.Credential = nil // the test is not everybody's to read
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(10*time.Second, func() { killServer(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("%q, %v", line, err)
	}
	stopServer(cmd, alive, "")
	if cmd.Wait(); !hung.Stop() {
		t.Error("it did not end")
	}
}

// Folders stay for as long as somebody holds the line, and no longer.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/a b"
	k, err := newReaper()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", name} {
		if err := k.register(name); err != nil {
			t.Error(err)
		}
	}
	if err := k.register("a\nb"); err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(name, 0o700); err != nil { // the keeper is there first
		t.Fatal(err)
	}
	outside := t.TempDir()
	holder := exec.Command("sh", "-c", `echo "$1" >&3; exec cat`, "sh", outside)
	k.attach(holder)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	k.paths.Close()
	k.liveness.Close()
	time.Sleep(100 * time.Millisecond)
	if _, err := os.Stat(name); err != nil {
		t.Errorf("it is gone too early: %v", err)
	}
	in.Close()
	k.close()
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("it stays: %v", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("who holds the line has chosen what is removed: %v", err)
	}
	holder.Wait()
}

// A TMPDIR that the server's user may not enter is no place for its data, and does no
// harm.
func TestClosedTemporaryFolder(t *testing.T) {
	closed := t.TempDir()
	setCache(t, t.TempDir(), 0o700)
	t.Setenv("TMPDIR", closed)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	checkStart(t)
	uid, _, err := serverUser()
	if uid < 0 {
		return // it is this user
	}
	if err = errors.Join(err, checkAccess(closed)); err == nil || !strings.Contains(err.Error(), "set TMPDIR to a directory that every user can enter") {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(filepath.Dir(closed), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	if data, err := newDataDir(); err != nil || filepath.Dir(data) != closed {
		t.Errorf("%q, %v; want it in TMPDIR", data, err)
	}
}
