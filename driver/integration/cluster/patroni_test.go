//go:build linux && cluster

package cluster

import (
	"context"
	"crypto/rand"
	"database/sql"
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
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
type cluster struct {
	nodes    [2]*node
	password string
}

// newFlock starts etcd and both nodes, and waits until one leads and the other is
// its synchronous standby: nothing is acknowledged that the other does not have.
func newCluster(t testing.TB) *cluster {
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
	etcd.waitForPort(t, client)

	c := &cluster{password: rand.Text()}
	for i, name := range []string{"north", "south"} {
		n := &node{name: name, home: newDir(t), port: freePort(t), rest: freePort(t)}
		n.config = filepath.Join(n.home, "patroni.yml")
		text, err := json.Marshal(c.nodeConfig(n, client, bins[len(bins)-1])) // which is YAML, too
		check(t, err)
		writeFile(t, n.config, 0o600, string(text))
		c.nodes[i] = n
	}
	for _, n := range c.nodes {
		n.start(t)
		eventually(t, time.Minute, func() error { return n.checkRole("health") })
	}
	leader, standby := c.leader(t)
	eventually(t, time.Minute, func() error { return standby.checkRole("sync") })
	t.Logf("%s leads, %s is its synchronous standby", leader.name, standby.name)
	return c
}

// ttl is how long Patroni waits for a leader that is not heard of.
const ttl = 5 * time.Second

type yaml = map[string]any

func (c *cluster) nodeConfig(n *node, etcd int, bin string) yaml {
	local := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	return yaml{
		"scope": "aadpostgres", "name": n.name,
		"restapi": yaml{"listen": local(n.rest), "connect_address": local(n.rest)},
		"etcd3":   yaml{"host": local(etcd)},
		"bootstrap": yaml{
			// Patroni's defaults are 30, 10 and 10.
			"dcs": yaml{"ttl": ttl / time.Second, "loop_wait": 1, "retry_timeout": 2, "synchronous_mode": true,
				"postgresql": yaml{"use_pg_rewind": true, "parameters": yaml{"max_connections": 100, "wal_log_hints": "on"}}},
			"initdb": []any{yaml{"encoding": "UTF8"}, yaml{"locale": "C"}, yaml{"auth": "scram-sha-256"}, "no-sync"},
		},
		"postgresql": yaml{
			"listen": local(n.port), "connect_address": local(n.port), "data_dir": filepath.Join(n.home, "data"), "bin_dir": bin, "pgpass": filepath.Join(n.home, "pgpass"),
			"authentication": yaml{
				"superuser":   yaml{"username": "postgres", "password": c.password},
				"replication": yaml{"username": "replicator", "password": c.password},
			},
			"parameters": yaml{"unix_socket_directories": n.home, "fsync": "off"}, // no machine fails here
			"pg_hba":     []string{"host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"},
		},
	}
}

// start starts the node's Patroni, which starts its PostgreSQL.
func (n *node) start(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { n.killPostgres() }) // where Patroni has left it
	n.patroni = launch(t, "patroni", n.config)
}

// kill ends Patroni and PostgreSQL at once, and returns when nobody answers at the
// port. It is a crash: the host lives on and resets the sockets. A machine that has
// lost its power is silent instead, and clients learn of it by their timeouts only.
func (n *node) kill(t testing.TB) {
	t.Helper()
	n.patroni.end(syscall.SIGKILL)
	check(t, n.killPostgres())
	eventually(t, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
		if err == nil {
			conn.Close()
			return fmt.Errorf("%s answers at its port, though killed", n.name)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		return nil
	})
}

// killPostgres kills the node's PostgreSQL, all of it, or says why there is none.
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
		return fmt.Errorf("%s has no PostgreSQL: process %d is gone, or another's", n.name, postmaster)
	}
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil { // a session that it begins now would be missed
		return err
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
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	return nil
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
var patroniClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// is asks Patroni what the node is: health, primary, replica or sync.
func (n *node) checkRole(what string) error {
	r, err := patroniClient.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", n.rest, what))
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
func (c *cluster) leader(t testing.TB) (leader, standby *node) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		at := slices.IndexFunc(c.nodes[:], func(n *node) bool { return n.checkRole("primary") == nil })
		if at < 0 {
			return fmt.Errorf("nobody leads")
		}
		leader, standby = c.nodes[at], c.nodes[1-at]
		return nil
	})
	return leader, standby
}

// superuser is a DSN that leads past the emulator, to the first of the nodes that suits.
func (c *cluster) superuserDSN(nodes ...*node) string {
	hosts, ports := "127.0.0.1", fmt.Sprint(nodes[0].port)
	for _, n := range nodes[1:] {
		hosts, ports = hosts+",127.0.0.1", ports+fmt.Sprintf(",%d", n.port)
	}
	return fmt.Sprintf("host=%s port=%s user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256 connect_timeout=2", hosts, ports, c.password)
}

// at opens the node's own PostgreSQL, whatever its part is, as superuser.
func (c *cluster) openNode(t testing.TB, n *node) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(c.superuserDSN(n))
	check(t, err)
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { db.Close() })
	return db
}

// promotion provokes one and returns when the node was promoted: the last time that
// it was still in recovery when asked, so nothing can have been written at it before.
// Patroni's /primary will not do, it tells of the key in etcd, which comes first.
func (c *cluster) waitForPromotion(t testing.TB, n *node, provoke func()) time.Time {
	t.Helper()
	const most = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	db := c.openNode(t, n)
	promoted := make(chan time.Time, 1)
	go func() {
		defer close(promoted)
		var last time.Time
		for ctx.Err() == nil {
			asked, standby := time.Now(), true
			err := db.QueryRowContext(ctx, "select pg_is_in_recovery()").Scan(&standby)
			if err == nil && !standby {
				promoted <- last
				return
			}
			if err == nil {
				last = asked
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	provoke()
	when := <-promoted
	if when.IsZero() {
		t.Fatalf("%s was not seen to be promoted within %s", n.name, most)
	}
	return when
}

// ctl runs patronictl and returns what it prints.
func (c *cluster) patronictl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("patronictl", append([]string{"-c", c.nodes[0].config}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("patronictl %v: %v: %s", args, err, out)
	}
	return string(out)
}
