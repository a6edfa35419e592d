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

// A pam is a service of PAM's that runs a script for each sign-in.
type pam struct {
	file string // where PAM looks for it; its folder is never removed
	dir  string // of the script
}

// pooled is what PgBouncer asks of PAM: file's name is PgBouncer's own. The script is
// where only root can make a folder, for a run that is interrupted leaves the service
// behind, and PAM would go on to run what it finds: in /tmp, whatever anybody puts
// there once the folder has been cleaned away.
var pgbouncerPAM = pam{file: "/etc/pam.d/pgbouncer", dir: "/var/lib/aadpostgres-cluster"}

func (p pam) config() string {
	return fmt.Sprintf("auth required pam_script.so dir=%s\naccount required pam_permit.so\n", p.dir)
}

// serve has PAM run the script, until release is called. One run does so at a time:
// the lock ends with the process, however that ends, so a service of this test's that
// nobody holds is a leftover, and is replaced.
func (p pam) install(script string) (release func(), err error) {
	lock, err := os.Open(filepath.Dir(p.file)) // the file itself comes and goes, so two could hold it
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
	switch there, err := os.ReadFile(p.file); {
	case err == nil && string(there) != p.config():
		return nil, fmt.Errorf("%s is there and not of this run's making; move it away, unless other tests use it now", p.file)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, err := range []error{os.RemoveAll(p.dir), os.Mkdir(p.dir, 0o755), // all of it must be root's
		os.WriteFile(filepath.Join(p.dir, "pam_script_auth"), []byte(script), 0o755), os.WriteFile(p.file, []byte(p.config()), 0o644)} {
		if err != nil {
			return nil, fmt.Errorf("PgBouncer's PAM service is made by root only: %w", err)
		}
	}
	return func() {
		os.Remove(p.file)
		os.RemoveAll(p.dir)
		lock.Close()
	}, nil
}

// Of what is there beforehand a leftover is replaced, and nothing else.
func TestPAM(t *testing.T) {
	etc := t.TempDir()
	p := pam{file: filepath.Join(etc, "pgbouncer"), dir: filepath.Join(t.TempDir(), "scripts")}
	script := filepath.Join(p.dir, "pam_script_auth")
	has := func(file, want string) {
		t.Helper()
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
	}
	refused := func(why string) {
		t.Helper()
		if _, err := p.install("refused"); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}

	release, err := p.install("first")
	check(t, err)
	has(p.file, p.config())
	has(script, "first")
	refused("wait until the other run")
	has(script, "first")
	release()
	for _, file := range []string{p.file, p.dir} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after release: %v", file, err)
		}
	}

	for _, folder := range []bool{false, true} { // a run was interrupted
		check(t, os.WriteFile(p.file, []byte(p.config()), 0o644))
		if folder {
			check(t, os.Mkdir(p.dir, 0o755))
			check(t, os.WriteFile(script, []byte("left"), 0o755))
		}
		release, err := p.install("second")
		check(t, err)
		has(script, "second")
		release()
	}

	check(t, os.WriteFile(p.file, []byte("auth required pam_unix.so\n"), 0o644))
	refused("move it away")
	has(p.file, "auth required pam_unix.so\n")
	check(t, os.Remove(p.file)) // a refusal keeps no lock
	release, err = p.install("third")
	check(t, err)
	release()
}
