//go:build !unix

package emulator

import (
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
)

func supervised(args []string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }

// newKeeper starts nothing: folders go when the emulator is closed.
func newKeeper() (*keeper, error) { return &keeper{}, nil }

func (*keeper) holds(*exec.Cmd) {}

// end asks as pg_ctl does, which lies beside the server: this has no signals to send.
func end(cmd *exec.Cmd, _ io.Closer, data string) {
	exec.Command(filepath.Join(filepath.Dir(cmd.Path), "pg_ctl"), "stop", "-D", data, "-m", "immediate", "-W").Run()
}

func kill(cmd *exec.Cmd) { cmd.Process.Kill() }

func serverUser() (uid, gid int, err error) { return -1, -1, nil }

func unprivileged(*exec.Cmd) error { return nil }

func reachable(string) error { return nil }

// ours trusts the user's cache folder to be nobody else's.
func ours(fs.FileInfo) bool { return true }
