package emulator

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A keeper is a process that removes folders as soon as nobody is left to write there:
// neither this process, however that ends, nor one of the server's programs. The names
// come from this process alone: the server's user may not choose what is removed.
type keeper struct {
	cmd   *exec.Cmd
	names *os.File // one a line
	line  *os.File // what is written to it does not matter; who holds it does
}

// keep leaves a folder, which need not be there yet, to it.
func (k *keeper) keep(dir string) error {
	if k.names == nil || dir == "" {
		return nil
	}
	if strings.Contains(dir, "\n") {
		return fmt.Errorf("emulator: %q is no name for a folder; set TMPDIR to one without a line break", dir)
	}
	_, err := fmt.Fprintln(k.names, dir)
	return err
}

// end waits till it has removed them, but not for ever.
func (k *keeper) end() {
	if k.cmd == nil {
		return
	}
	k.names.Close()
	k.line.Close()
	late := time.AfterFunc(patience, func() { k.cmd.Process.Kill() })
	defer late.Stop()
	k.cmd.Wait()
}
