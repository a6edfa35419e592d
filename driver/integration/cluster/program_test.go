//go:build linux && cluster

package cluster

import (
	"context"
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

	"github.com/aadpostgres/aadpostgres/driver/integration/internal/netns"
)

// A program is a server process. Those of these tests refuse to run as root.
type program struct {
	pid    int
	log    string        // the file with its output
	exited chan struct{} // closed after Wait
}

// serverUser returns the user that servers run as if this process is root, else nil.
var serverUser = sync.OnceValues(func() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
})

// chown makes serverUser the owner of a file.
func chown(path string) error {
	c, err := serverUser()
	if err != nil || c == nil {
		return err
	}
	return os.Chown(path, int(c.Uid), int(c.Gid))
}

// launch starts a program. It ends with the test or, if this process is killed, with it.
func launch(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return launchIn(t, "", name, args...)
}

// launchIn is launch in a network namespace, or in this process's if it is "".
func launchIn(t testing.TB, namespace, name string, args ...string) *program {
	t.Helper()
	file, err := os.CreateTemp(dir, name+"-*.log") // not a pipe: Wait would wait until the program's children close it
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
		runtime.LockOSThread() // Pdeathsig is sent when the thread ends
		if namespace == "" {
			defer runtime.UnlockOSThread()
		}
		err := netns.Enter(namespace)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			cmd.Wait() // the log has the error
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

// end sends a signal and waits until the program has ended.
func (p *program) end(s syscall.Signal) {
	select {
	case <-p.exited: // its process id may have been reused
		return
	default:
	}
	syscall.Kill(p.pid, s) // fails if the program has just ended
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.exited
	}
}

// waitForPort waits until the program accepts connections on the port.
func (p *program) waitForPort(t testing.TB, address string, port int) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		select {
		case <-p.exited:
			t.Fatalf("the program has ended: %s", p.logTail())
		default:
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// eventually polls until poll returns no error, and stops the test after timeout.
func eventually(t testing.TB, timeout time.Duration, poll func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := poll()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s: %v", timeout, err)
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

// logTail returns the last 8 KiB of the program's output.
func (p *program) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}
