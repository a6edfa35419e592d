//go:build unix

package emulator

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// supervised runs args below a shell that stops them when its standard input
// ends: so the server does not outlive this process, however that ends. The
// watching part holds none of our pipes: Wait would wait for it after the server.
func supervised(args []string) *exec.Cmd {
	const script = `"$@" </dev/null & pid=$!; { cat; kill -QUIT $pid; } >/dev/null 2>&1 <&3 & wait $pid`
	return exec.Command("/bin/sh", append([]string{"-c", "exec 3<&0; " + script, "sh"}, args...)...)
}

// unprivileged makes cmd run as an unprivileged user where this process is root,
// and gives that user the files.
func unprivileged(cmd *exec.Cmd, files ...string) error {
	attr := &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is ours to handle
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, f := range files {
			if err := os.Chown(f, uid, gid); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("emulator: PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}
