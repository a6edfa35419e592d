//go:build linux && cluster

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pam is a PAM service that runs a script for each sign-in.
type pam struct {
	file string // the service's configuration
	dir  string // contains the script
}

// pgbouncerPAM is PgBouncer's service; PgBouncer chooses its name. Only root can write to
// dir. An interrupted run leaves the service behind, and PAM goes on running the script: in
// /tmp anybody could replace it after a cleanup.
var pgbouncerPAM = pam{file: "/etc/pam.d/pgbouncer", dir: "/var/lib/aadpostgres-cluster"}

func (p pam) config() string {
	return fmt.Sprintf("auth required pam_script.so dir=%s\naccount required pam_permit.so\n", p.dir)
}

// install makes PAM run the script until release is called. A lock, which ends with the
// process, allows one run at a time. A service of this test without a lock is therefore
// a leftover, and is replaced.
func (p pam) install(script string) (release func(), err error) {
	lock, err := os.Open(filepath.Dir(p.file)) // not the file: after it was removed and created again, two runs could lock it
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is locked: %w; wait until the other run of these tests ends", lock.Name(), err)
	}
	existing, err := os.ReadFile(p.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && string(existing) != p.config() {
		return nil, fmt.Errorf("%s exists and does not belong to these tests; move it away", p.file)
	}
	if err := p.write(script); err != nil {
		return nil, fmt.Errorf("installing PgBouncer's PAM service: %w; run as root", err)
	}
	return func() {
		os.Remove(p.file)
		os.RemoveAll(p.dir)
		lock.Close()
	}, nil
}

// write replaces the script's directory, so that nobody else owns a part of it, and writes
// the service.
func (p pam) write(script string) error {
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "pam_script_auth"), []byte(script), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p.file, []byte(p.config()), 0o644)
}

// TestPAM checks that install replaces a leftover of an interrupted run, and nothing else.
func TestPAM(t *testing.T) {
	etc := t.TempDir()
	p := pam{file: filepath.Join(etc, "pgbouncer"), dir: filepath.Join(t.TempDir(), "scripts")}
	script := filepath.Join(p.dir, "pam_script_auth")
	checkFile := func(file, want string) {
		t.Helper()
		got, err := os.ReadFile(file)
		check(t, err)
		if string(got) != want {
			t.Errorf("%s = %q, want %q", file, got, want)
		}
	}
	checkRefused := func(want string) {
		t.Helper()
		if _, err := p.install("refused"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("install() = %v, want %q", err, want)
		}
	}

	release, err := p.install("first")
	check(t, err)
	checkFile(p.file, p.config())
	checkFile(script, "first")
	checkRefused("wait until the other run")
	checkFile(script, "first")
	release()
	for _, file := range []string{p.file, p.dir} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%s) = %v after release, want %v", file, err, fs.ErrNotExist)
		}
	}

	for _, withScript := range []bool{false, true} { // leftovers of an interrupted run
		check(t, os.WriteFile(p.file, []byte(p.config()), 0o644))
		if withScript {
			check(t, os.Mkdir(p.dir, 0o755))
			check(t, os.WriteFile(script, []byte("left"), 0o755))
		}
		release, err := p.install("second")
		check(t, err)
		checkFile(script, "second")
		release()
	}

	check(t, os.WriteFile(p.file, []byte("auth required pam_unix.so\n"), 0o644))
	checkRefused("move it away")
	checkFile(p.file, "auth required pam_unix.so\n")
	check(t, os.Remove(p.file)) // the refusal has released its lock
	release, err = p.install("third")
	check(t, err)
	release()
}
