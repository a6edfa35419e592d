//go:build unix

package integration

import (
	"os"
	"os/exec"
	"syscall"
)

// asOwner makes cmd run as who owns dir: PostgreSQL does not run as root.
func asOwner(cmd *exec.Cmd, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	cmd.Dir = "/"
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	return nil
}
