//go:build linux && cluster

package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node is a PostgreSQL and its Patroni.
type node struct {
	place
	home       string
	config     string
	port, rest int
	patroni    *program
}

// start starts the node's Patroni, which starts its PostgreSQL.
func (n *node) start(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { n.killPostgres() }) // Patroni may leave it running
	n.patroni = launchIn(t, n.namespace, "patroni", n.config)
}

// kill kills Patroni and PostgreSQL, and returns when the port refuses connections. This is
// a crash of the processes: the host resets the connections. A host without power would be
// silent, and clients would notice only by their timeouts.
func (n *node) kill(t testing.TB) {
	t.Helper()
	n.patroni.end(syscall.SIGKILL)
	check(t, n.killPostgres())
	eventually(t, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", net.JoinHostPort(n.address, strconv.Itoa(n.port)))
		if err == nil {
			conn.Close()
			return fmt.Errorf("%s was killed and still accepts connections", n.name)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		return nil
	})
}

// killPostgres kills all processes of the node's PostgreSQL. It returns an error if there
// is none.
func (n *node) killPostgres() error {
	b, err := os.ReadFile(filepath.Join(n.home, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	if !n.owns(postmaster) {
		return fmt.Errorf("%s has no PostgreSQL: process %d does not exist or is another program", n.name, postmaster)
	}
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil { // so that it starts no further process
		return err
	}
	pids := []int{postmaster}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, file := range stats {
		b, _ := os.ReadFile(file) // fails if the process has ended
		pid, rest, _ := cutStat(string(b))
		if f := strings.Fields(rest); len(f) > 1 && f[1] == first {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	return nil
}

// owns reports whether the process belongs to this node's PostgreSQL. A stale file may name
// another process.
func (n *node) owns(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), n.home)
}

// cutStat splits a line of /proc/PID/stat: "pid (name) state ppid ...".
func cutStat(stat string) (pid int, rest string, err error) {
	before, rest, _ := strings.Cut(stat, " (")
	rest = rest[strings.LastIndex(rest, ")")+1:]
	pid, err = strconv.Atoi(before)
	return pid, rest, err
}

// patroniClient keeps no idle connections, because goleak would find their goroutines.
var patroniClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// checkRole asks Patroni whether the node has a role: health, primary, replica or sync.
func (n *node) checkRole(role string) error {
	r, err := patroniClient.Get(fmt.Sprintf("http://%s:%d/%s", n.address, n.rest, role))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: /%s = %s, want 200", n.name, role, r.Status)
	}
	return nil
}
