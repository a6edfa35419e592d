//go:build unix

package integration

import (
	"os"
	"os/exec"
	"syscall"
)

// runAsOwner makes cmd run as the owner of dir: PostgreSQL refuses to run as root.
func runAsOwner(cmd *exec.Cmd, dir string) error {
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
