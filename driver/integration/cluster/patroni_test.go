//go:build linux && cluster

package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node is a PostgreSQL and the Patroni that minds it.
type node struct {
	name       string
	home       string
	config     string
	port, rest int
	patroni    *program
}

// A flock is two nodes, one of which leads. Which one, Patroni decides, by who
// holds a key in etcd.
type flock struct {
	nodes    [2]*node
	password string
}

// newFlock starts etcd and both nodes, and waits until one leads and the other is
// its synchronous standby: nothing is acknowledged that the other does not have.
func newFlock(t testing.TB) *flock {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	check(t, err)
	if len(bins) == 0 {
		t.Fatal("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
	}
	client, peer := freePort(t), freePort(t)
	url := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	etcd := launch(t, "etcd", "--data-dir", filepath.Join(newDir(t), "etcd"), "--name", "one", "--initial-cluster", "one="+url(peer),
		"--listen-peer-urls", url(peer), "--initial-advertise-peer-urls", url(peer), "--listen-client-urls", url(client), "--advertise-client-urls", url(client),
		"--heartbeat-interval", "20", "--election-timeout", "200", "--log-level", "error")
	etcd.answers(t, client)

	f := &flock{password: rand.Text()}
	for i, name := range []string{"north", "south"} {
		n := &node{name: name, home: newDir(t), port: freePort(t), rest: freePort(t)}
		n.config = filepath.Join(n.home, "patroni.yml")
		text, err := json.Marshal(f.settings(n, client, bins[len(bins)-1])) // which is YAML, too
		check(t, err)
		write(t, n.config, 0o600, string(text))
		f.nodes[i] = n
	}
	for _, n := range f.nodes {
		n.start(t)
		eventually(t, time.Minute, func() error { return n.is("health") })
	}
	lead, follow := f.leader(t)
	eventually(t, time.Minute, func() error { return follow.is("sync") })
	t.Logf("%s leads, %s is its synchronous standby", lead.name, follow.name)
	return f
}

type yaml = map[string]any

// ttl is how long Patroni waits for a leader that is not heard of, in seconds.
const ttl = 5

func (f *flock) settings(n *node, etcd int, bin string) yaml {
	local := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	return yaml{
		"scope": "aadpostgres", "name": n.name,
		"restapi": yaml{"listen": local(n.rest), "connect_address": local(n.rest)},
		"etcd3":   yaml{"host": local(etcd)},
		"bootstrap": yaml{
			// The defaults are 30, 10 and 10.
			"dcs": yaml{"ttl": ttl, "loop_wait": 1, "retry_timeout": 2, "synchronous_mode": true,
				"postgresql": yaml{"use_pg_rewind": true, "parameters": yaml{"max_connections": 100, "wal_log_hints": "on"}}},
			"initdb": []any{yaml{"encoding": "UTF8"}, yaml{"locale": "C"}, yaml{"auth": "scram-sha-256"}, "no-sync"},
		},
		"postgresql": yaml{
			"listen": local(n.port), "connect_address": local(n.port), "data_dir": filepath.Join(n.home, "data"), "bin_dir": bin, "pgpass": filepath.Join(n.home, "pgpass"),
			"authentication": yaml{
				"superuser":   yaml{"username": "postgres", "password": f.password},
				"replication": yaml{"username": "replicator", "password": f.password},
			},
			"parameters": yaml{"unix_socket_directories": n.home, "fsync": "off"}, // no machine fails here
			"pg_hba":     []string{"host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"},
		},
	}
}

// start starts the node's Patroni, which starts its PostgreSQL.
func (n *node) start(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { n.kill() }) // what Patroni has left
	n.patroni = launch(t, "patroni", n.config)
}

// crash is kill for a node that runs: both must have been there, and be gone.
func (n *node) crash(t testing.TB) {
	t.Helper()
	if !n.kill() {
		t.Fatalf("%s had no PostgreSQL to kill", n.name)
	}
	eventually(t, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
		if err != nil {
			return nil
		}
		return errors.Join(fmt.Errorf("%s still listens", n.name), conn.Close())
	})
}

// kill ends Patroni and PostgreSQL at once, by kill -9, and tells whether the latter was
// there. Sessions are reset: a machine that dies would be silent.
func (n *node) kill() bool {
	n.patroni.end(syscall.SIGKILL)
	b, err := os.ReadFile(filepath.Join(n.home, "data", "postmaster.pid"))
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(b), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil || !n.owns(postmaster) {
		return false
	}
	pids := []int{postmaster}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range stats {
		b, _ := os.ReadFile(file)          // it may be gone
		pid, rest, _ := cutStat(string(b)) // pid (name) state ppid ...
		if f := strings.Fields(rest); len(f) > 1 && f[1] == first {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return true
}

// owns tells whether the process is of this node's PostgreSQL: a file may name one
// that is long gone.
func (n *node) owns(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), n.home)
}

func cutStat(stat string) (pid int, rest string, err error) {
	before, rest, _ := strings.Cut(stat, " (")
	rest = rest[strings.LastIndex(rest, ")")+1:]
	pid, err = strconv.Atoi(before)
	return pid, rest, err
}

// asks of Patroni keep no connection, which would be one more goroutine.
var asking = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// is asks Patroni what the node is: health, primary, replica or sync.
func (n *node) is(what string) error {
	r, err := asking.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", n.rest, what))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is no %s: %s", n.name, what, r.Status)
	}
	return nil
}

// leader returns the node that leads, once one does, and the other.
func (f *flock) leader(t testing.TB) (lead, follow *node) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		at := slices.IndexFunc(f.nodes[:], func(n *node) bool { return n.is("primary") == nil })
		if at < 0 {
			return fmt.Errorf("nobody leads")
		}
		lead, follow = f.nodes[at], f.nodes[1-at]
		return nil
	})
	return lead, follow
}

// ctl runs patronictl and returns what it prints.
func (f *flock) ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("patronictl", append([]string{"-c", f.nodes[0].config}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("patronictl %v: %v: %s", args, err, out)
	}
	return string(out)
}
