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

// supervisorScript runs its arguments and stops them when its standard input ends. It
// repeats the signal, because a server that has just started ignores SIGQUIT, as a
// shell's background jobs do. The part that reads standard input holds none of our
// output pipes, because Wait would wait for it after the server has ended.
const supervisorScript = `exec 4<&0
trap 'while kill -QUIT $pid; do sleep 0.05; done 2>/dev/null' TERM
"$@" </dev/null 4<&- & pid=$!
{ cat; kill -TERM $$; } >/dev/null 2>&1 <&4 4<&- &
wait $pid`

// superviseCommand returns a command that runs args below a shell, so that the server
// ends with this process, even if this process is killed.
func superviseCommand(args []string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", supervisorScript, "sh"}, args...)...)
}

// reaperScript reads directory names and removes the directories when descriptor 3 ends
// as well.
const reaperScript = `trap '' HUP INT TERM
while IFS= read -r dir; do set -- "$@" "$dir"; done
while read line <&3; do :; done
rm -rf "$@"`

// newReaper starts a reaper. It runs as this user, because the server's user may not
// remove all of the directories.
func newReaper() (*reaper, error) {
	stdin, paths, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	end, liveness, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, paths.Close())
	}
	defer end.Close()
	cmd := exec.Command("/bin/sh", "-c", reaperScript)
	cmd.Stdin = stdin
	cmd.ExtraFiles = []*os.File{end}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, paths.Close(), liveness.Close())
	}
	return &reaper{cmd, paths, liveness}, nil
}

// attach makes cmd, and every process that it starts, hold the liveness pipe.
func (r *reaper) attach(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{r.liveness} }

// stopServer stops what superviseCommand has started by closing its standard input.
func stopServer(_ *exec.Cmd, stdin io.Closer, _ string) { stdin.Close() }

// killServer kills the shell and the server. The server's own processes notice that it
// is gone and end.
func killServer(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// serverUser returns the user that the server runs as if this process runs as root,
// because PostgreSQL refuses to run as root. Otherwise both ids are -1.
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
	return -1, -1, errors.New("emulator: PostgreSQL does not run as root, and there is no user postgres or nobody; create user postgres or run as another user")
}

// dropPrivileges makes cmd run as serverUser.
func dropPrivileges(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal sends Ctrl-C to its process group; this process handles it
	cmd.Dir = "/"
	uid, gid, err := serverUser()
	if uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return err
}

// checkAccess checks that serverUser can enter a directory.
func checkAccess(dir string) error {
	uid, _, err := serverUser()
	if uid < 0 {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", `cd "$1"`, "sh", dir)
	if err := dropPrivileges(cmd); err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("emulator: PostgreSQL's user, %d, cannot enter %q; set TMPDIR to a directory that every user can enter: %w", uid, dir, err)
	}
	return nil
}

// ownedByUser reports whether a file belongs to this user and only this user can write
// to it.
func ownedByUser(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid() && info.Mode()&0o022 == 0
}
