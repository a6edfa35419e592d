//go:build linux && cluster

package cluster

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A cluster is two nodes. One of them is the leader: the one that holds a key in etcd.
type cluster struct {
	nodes    [2]*node
	password string
	address  string // of this process, as the nodes see it
}

// A place is where a node runs.
type place struct {
	name      string
	address   string
	namespace string // of the network; "" for this process's
}

var onThisHost = [2]place{{name: "north", address: "127.0.0.1"}, {name: "south", address: "127.0.0.1"}}

// newCluster starts etcd and both nodes, and waits until one is the leader and the other
// its synchronous standby. From then on the standby has every acknowledged write.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterAt(t, "127.0.0.1", onThisHost)
}

// newClusterAt is newCluster with the address of this process and the places of the nodes.
func newClusterAt(t testing.TB, address string, places [2]place) *cluster {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	check(t, err)
	if len(bins) == 0 {
		t.Fatal("no PostgreSQL in /usr/lib/postgresql; run apt-get install postgresql")
	}
	client, peer := freePort(t), freePort(t)
	url := func(port int) string { return fmt.Sprintf("http://%s:%d", address, port) }
	etcd := launch(t, "etcd", "--data-dir", filepath.Join(newDir(t), "etcd"), "--name", "one", "--initial-cluster", "one="+url(peer),
		"--listen-peer-urls", url(peer), "--initial-advertise-peer-urls", url(peer), "--listen-client-urls", url(client), "--advertise-client-urls", url(client),
		"--heartbeat-interval", "20", "--election-timeout", "200", "--log-level", "error")
	etcd.waitForPort(t, address, client)

	c := &cluster{password: rand.Text(), address: address}
	for i, at := range places {
		n := &node{place: at, home: newDir(t), port: freePort(t), rest: freePort(t)}
		n.config = filepath.Join(n.home, "patroni.yml")
		text, err := json.Marshal(c.nodeConfig(n, client, bins[len(bins)-1])) // JSON is YAML
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
	t.Logf("leader %s, synchronous standby %s", leader.name, standby.name)
	return c
}

// ttl is how long Patroni waits for a silent leader.
const ttl = 5 * time.Second

type yaml = map[string]any

func (c *cluster) nodeConfig(n *node, etcd int, bin string) yaml {
	local := func(port int) string { return fmt.Sprintf("%s:%d", n.address, port) }
	return yaml{
		"scope": "aadpostgres", "name": n.name,
		"restapi": yaml{"listen": local(n.rest), "connect_address": local(n.rest)},
		"etcd3":   yaml{"host": fmt.Sprintf("%s:%d", c.address, etcd)},
		"bootstrap": yaml{
			// Short times: Patroni's defaults are 30, 10 and 10 seconds.
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
			"parameters": yaml{"unix_socket_directories": n.home, "fsync": "off"}, // the machine itself does not fail
			"pg_hba":     []string{"host all all all scram-sha-256", "host replication all all scram-sha-256"},
		},
	}
}

// leader waits until there is a leader, and returns it and the standby.
func (c *cluster) leader(t testing.TB) (leader, standby *node) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		at := slices.IndexFunc(c.nodes[:], func(n *node) bool { return n.checkRole("primary") == nil })
		if at < 0 {
			return errors.New("no node is the leader")
		}
		leader, standby = c.nodes[at], c.nodes[1-at]
		return nil
	})
	return leader, standby
}

// superuserDSN returns a DSN of the nodes themselves, not through the emulator.
func (c *cluster) superuserDSN(nodes ...*node) string {
	hosts, ports := nodes[0].address, fmt.Sprint(nodes[0].port)
	for _, n := range nodes[1:] {
		hosts += "," + n.address
		ports += fmt.Sprintf(",%d", n.port)
	}
	return fmt.Sprintf("host=%s port=%s user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256 connect_timeout=2", hosts, ports, c.password)
}

// openNode opens the node's PostgreSQL as superuser, whether it is the leader or not.
func (c *cluster) openNode(t testing.TB, n *node) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(c.superuserDSN(n))
	check(t, err)
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { db.Close() })
	return db
}

// waitForPromotion calls provoke and returns when the node was promoted: the last time at
// which it was still in recovery, so nothing can have been written to it before. Patroni's
// /primary is no substitute: it reports the key in etcd, which comes before the promotion.
func (c *cluster) waitForPromotion(t testing.TB, n *node, provoke func()) time.Time {
	t.Helper()
	const timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
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
	at := <-promoted
	if at.IsZero() {
		t.Fatalf("%s was not promoted within %s", n.name, timeout)
	}
	return at
}

// patronictl runs patronictl and returns its output.
func (c *cluster) patronictl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("patronictl", append([]string{"-c", c.nodes[0].config}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("patronictl %v: %v: %s", args, err, out)
	}
	return string(out)
}
