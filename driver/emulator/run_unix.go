//go:build unix

package emulator

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// watch runs its arguments, but for the first two, and stops them when its
// standard input ends. The first two are folders that it removes then, as far as
// its user may. The watching part holds none of our pipes: Wait would wait for it
// after the server. It says so till it is heard: a server that has just begun ignores
// the signal, as a shell's jobs in the background do.
const watch = `data=$1 dir=$2; shift 2; exec 3<&0
trap 'stopped=yes; while kill -QUIT $pid; do sleep 0.05; done 2>/dev/null' TERM
"$@" </dev/null 3<&- & pid=$!
{ cat; kill -TERM $$; } >/dev/null 2>&1 <&3 3<&- &
wait $pid; status=$?
if [ "$stopped" ]; then wait $pid; rm -rf "$data" "$dir" 2>/dev/null; fi
exit $status`

// supervised runs args below a shell, so that neither the server nor its files
// outlive this process, however that ends.
func supervised(args []string, data, dir string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", watch, "sh", data, dir}, args...)...)
}

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

// ours tells that a file is this user's, and that nobody else may write to it.
func ours(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid() && info.Mode()&0o022 == 0
}
