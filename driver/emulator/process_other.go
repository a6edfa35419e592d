//go:build !unix

package emulator

import (
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
)

func superviseCommand(args []string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }

// newReaper starts no process: Close removes the directories instead.
func newReaper() (*reaper, error) { return &reaper{}, nil }

func (*reaper) attach(*exec.Cmd) {}

// stopServer uses pg_ctl, which is installed beside the server, because this system
// has no signals.
func stopServer(cmd *exec.Cmd, _ io.Closer, dataDir string) {
	exec.Command(filepath.Join(filepath.Dir(cmd.Path), "pg_ctl"), "stop", "-D", dataDir, "-m", "immediate", "-W").Run()
}

func killServer(cmd *exec.Cmd) { cmd.Process.Kill() }

func serverUser() (uid, gid int, err error) { return -1, -1, nil }

func dropPrivileges(*exec.Cmd) error { return nil }

func checkAccess(string) error { return nil }

// ownedByUser always returns true: the user's cache directory is assumed to be private.
func ownedByUser(fs.FileInfo) bool { return true }
