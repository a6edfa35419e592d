package emulator

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A reaper is a process that removes directories once every process that could write to
// them has ended: this one, even if it is killed, and the server's programs. It takes
// the paths from this process only, so that the server's user cannot choose what is
// removed.
type reaper struct {
	cmd      *exec.Cmd
	paths    *os.File // one path a line
	liveness *os.File // a pipe; it ends when the last process that holds it ends
}

// register adds a directory, which need not exist yet.
func (r *reaper) register(dir string) error {
	if r.paths == nil || dir == "" {
		return nil
	}
	if strings.Contains(dir, "\n") {
		return fmt.Errorf("emulator: directory name %q contains a line break; set TMPDIR to a directory without one", dir)
	}
	_, err := fmt.Fprintln(r.paths, dir)
	return err
}

// close waits until the reaper has removed the directories, for at most shutdownTimeout.
func (r *reaper) close() {
	if r.cmd == nil {
		return
	}
	r.paths.Close()
	r.liveness.Close()
	timeout := time.AfterFunc(shutdownTimeout, func() { r.cmd.Process.Kill() })
	defer timeout.Stop()
	r.cmd.Wait()
}
