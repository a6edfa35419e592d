//go:build unix

package emulator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// watch runs its arguments, and stops them when its standard input ends. It says so
// till it is heard: a server that has just begun ignores the signal, as a shell's jobs
// in the background do. The watching part holds none of our pipes: Wait would wait for
// it after the server.
const watch = `exec 4<&0
trap 'while kill -QUIT $pid; do sleep 0.05; done 2>/dev/null' TERM
"$@" </dev/null 4<&- & pid=$!
{ cat; kill -TERM $$; } >/dev/null 2>&1 <&4 4<&- &
wait $pid`

// supervised runs args below a shell, so that the server does not outlive this
// process, however that ends.
func supervised(args []string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", watch, "sh"}, args...)...)
}

// sweep reads names of folders, and removes them when descriptor 3 ends as well.
const sweep = `trap '' HUP INT TERM
while IFS= read -r dir; do set -- "$@" "$dir"; done
while read line <&3; do :; done
rm -rf "$@"`

// newKeeper starts one. It runs as this user: the server's may not remove all of them.
func newKeeper() (*keeper, error) {
	stdin, names, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	end, line, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, names.Close())
	}
	defer end.Close()
	cmd := exec.Command("/bin/sh", "-c", sweep)
	cmd.Stdin, cmd.ExtraFiles = stdin, []*os.File{end}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, names.Close(), line.Close())
	}
	return &keeper{cmd, names, line}, nil
}

// holds makes cmd, and all that it starts, hold the line.
func (k *keeper) holds(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{k.line} }

// end ends what supervised has begun, and kill does so where that is of no use: the
// shell and the server, whose own processes see that it is gone.
func end(_ *exec.Cmd, alive io.Closer, _ string) { alive.Close() }

func kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// serverUser is whom the server runs as where this process is root, as which
// PostgreSQL refuses to run; else it is -1.
func serverUser() (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return -1, -1, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return uid, gid, errors.Join(err1, err2)
	}
	return -1, -1, errors.New("emulator: PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// unprivileged makes cmd run as that user.
func unprivileged(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is ours to handle
	cmd.Dir = "/"
	uid, gid, err := serverUser()
	if uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return err
}

// reachable tries whether the server's user, where that is not this one, may enter a folder.
func reachable(dir string) error {
	uid, _, err := serverUser()
	if uid < 0 {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", `cd "$1"`, "sh", dir)
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("emulator: PostgreSQL's user, %d, cannot enter %q; set TMPDIR to a folder that is open to all: %w", uid, dir, err)
	}
	return nil
}

// ours tells that a file is this user's, and that nobody else may write to it.
func ours(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid() && info.Mode()&0o022 == 0
}
