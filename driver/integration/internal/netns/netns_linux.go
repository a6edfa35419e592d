// Package netns makes sockets and processes in network namespaces, for tests that take a
// link down. It needs root and the command ip.
package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// IP runs the command ip.
func IP(t testing.TB, args string) {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// New makes a namespace until the test ends, and returns its name. The name begins with
// prefix.
func New(t testing.TB, prefix string) string {
	t.Helper()
	if os.Getuid() != 0 {
		need.Skip(t, "network namespaces", errors.New("they need root"))
	}
	need.Program(t, "ip")
	name := fmt.Sprintf("aadpostgres-%s-%d", prefix, os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		if bytes.Contains(out, []byte("not permitted")) || bytes.Contains(out, []byte("denied")) { // root in a container
			need.Skip(t, "network namespaces", err)
		}
		t.Fatalf("ip netns add %s: %v", name, err)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	IP(t, "-n "+name+" link set lo up")
	return name
}

// Enter moves the calling thread, which must be locked and never be unlocked, into a
// namespace. It does nothing if the name is "".
func Enter(name string) error {
	if name == "" {
		return nil
	}
	ns, err := os.Open("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}

// Do runs f with the sockets that it makes in a namespace.
func Do[T any](name string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		var r result
		defer func() { done <- r }()
		runtime.LockOSThread() // the thread ends with this goroutine
		r.err = Enter(name)
		if r.err == nil {
			r.value, r.err = f()
		}
	}()
	r := <-done
	return r.value, r.err
}

// Relay listens at address in a namespace until the test ends, and relays each connection
// to an address in this process's own namespace.
func Relay(t testing.TB, name, address, to string) {
	t.Helper()
	l, err := Do(name, func() (net.Listener, error) { return net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go relay(conn, to)
		}
	}()
}

func relay(conn net.Conn, to string) {
	defer conn.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		io.Copy(server, conn)
	}()
	io.Copy(conn, server)
}
