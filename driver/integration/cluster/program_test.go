//go:build linux && cluster

package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A program is a server under way. All of them refuse to run as root, or should.
type program struct {
	pid    int
	log    string        // the file of what it says
	exited chan struct{} // closed when it has been reaped
}

// servant is whom servers run as where this process is root, or nil.
var serverUser = sync.OnceValues(func() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid) // numbers here
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
})

// give makes a file the servants'.
func chown(path string) error {
	c, err := serverUser()
	if err != nil || c == nil {
		return err
	}
	return os.Chown(path, int(c.Uid), int(c.Gid))
}

// launch starts a program, which ends with the test, or with this process however
// that ends.
func launch(t testing.TB, name string, args ...string) *program {
	t.Helper()
	file, err := os.CreateTemp(dir, name+"-*.log") // no pipe: it would be waited for until a program's own children end
	check(t, err)
	defer file.Close()
	p := &program{log: file.Name(), exited: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = file, file, dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
	as, err := serverUser()
	check(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread, so it must stay
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is told by its log
		}
		close(p.exited)
	}()
	check(t, <-started)
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s: %s", name, p.logTail())
		}
	})
	return p
}

// end sends a signal and waits until the program is gone.
func (p *program) end(s syscall.Signal) {
	select {
	case <-p.exited: // its number may be another's by now
		return
	default:
	}
	syscall.Kill(p.pid, s) // it may have gone since
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.exited
	}
}

// answers waits until something listens on the port.
func (p *program) waitForPort(t testing.TB, port int) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		select {
		case <-p.exited:
			t.Fatalf("it ended at once: %s", p.logTail())
		default:
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// eventually asks again and again, until there is no error.
func eventually(t testing.TB, most time.Duration, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", most, err)
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// said returns the last words of a program.
func (p *program) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}
