//go:build linux && cluster && vanish

package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/integration/internal/netns"
)

// The addresses are for documentation, inside namespaces that the test makes.
const (
	hubAddress   = "198.51.100.1"
	northAddress = "198.51.100.2"
	southAddress = "198.51.100.3"
)

// isolated runs the rest of the test in a process with a network that nobody else sees,
// and reports whether this is that process.
func isolated(t *testing.T) bool {
	t.Helper()
	const variable = "AADPOSTGRES_TEST_ISOLATED"
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	check(t, err)
	return false
}

// A primary whose link is cut sends nothing, not even that it is gone. Statements without a
// deadline end nevertheless, the pool goes on at the standby that was promoted, and no
// acknowledged write is lost.
func TestLinkOfThePrimaryIsCut(t *testing.T) {
	if !isolated(t) {
		return
	}
	netns.IP(t, "link add hub type bridge")
	netns.IP(t, "address add "+hubAddress+"/24 dev hub")
	netns.IP(t, "link set hub up")
	places := [2]place{{name: "north", address: northAddress}, {name: "south", address: southAddress}}
	for i := range places {
		at := &places[i]
		at.namespace = netns.New(t, at.name)
		netns.IP(t, "link add "+at.name+" type veth peer name eth0 netns "+at.namespace)
		netns.IP(t, "link set "+at.name+" master hub up")
		netns.IP(t, "-n "+at.namespace+" address add "+at.address+"/24 dev eth0")
		netns.IP(t, "-n "+at.namespace+" link set eth0 up")
	}

	c := newClusterAt(t, hubAddress, places)
	cloud, err := emulator.New(t.Context(), emulator.WithPostgres(c.superuserDSN(c.nodes[:]...)+" target_session_attrs=read-write"))
	check(t, err)
	defer cloud.Close() // it may report the node that is gone
	cloud.Setenv(t)
	addresses := map[string]string{} // of the nodes, by the gateway's port
	var ports [2]int
	for i, n := range c.nodes {
		ports[i], err = cloud.Serve(t.Context(), c.superuserDSN(n))
		check(t, err)
		netns.Relay(t, n.namespace, n.address+":6000", net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])))
		addresses[strconv.Itoa(ports[i])] = n.address + ":6000"
	}
	id := cloud.Add(emulator.Identity{Name: "writer"})
	check(t, cloud.Grant(t.Context(), id))
	leader, standby := c.leader(t)
	_, err = c.openNode(t, leader).ExecContext(t.Context(), "CREATE TABLE kept (key text PRIMARY KEY); GRANT ALL ON kept TO PUBLIC", pgx.QueryExecModeSimpleProtocol)
	check(t, err)

	connector, err := driver.NewConnector(
		fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres sslrootcert=%s connect_timeout=5 aad_auth=managed-identity aad_client_id=%s target_session_attrs=read-write",
			ports[0], ports[1], cloud.CertFile(), id.ClientID),
		driver.WithConnConfig(func(config *pgx.ConnConfig) {
			config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, network, addresses[port])
			}
		}),
	)
	check(t, err)
	db := sql.OpenDB(connector)
	defer db.Close()
	w := newPatientWorkload(t, db)
	defer w.stop()
	w.waitForWrites(t, 500)
	var cut time.Time
	promoted := c.waitForPromotion(t, standby, func() {
		cut = time.Now()
		netns.IP(t, "link set "+leader.name+" down")
	})
	defer netns.IP(t, "link set "+leader.name+" up") // Patroni stops quickly only while it reaches etcd
	w.waitFor(t)
	w.waitForWrites(t, 500)
	w.stop()

	lost, saved := w.countLost(t, c.openNode(t, standby))
	t.Logf("%s promoted %s after the cut; statements without a deadline ended %s after it at the latest; writes acknowledged %d, lost %d; failed %d, stored nevertheless %d; ttl %s",
		standby.name, promoted.Sub(cut).Round(time.Millisecond), time.Duration(w.longest.Load()).Round(time.Millisecond), len(w.acknowledged), lost, len(w.inDoubt), saved, ttl)
	if lost > 0 {
		t.Errorf("lost writes = %d, want 0", lost)
	}
	const limit = 75 * time.Second // with pgx's own TCP options it is a quarter of an hour
	if got := time.Duration(w.longest.Load()); got > limit {
		t.Errorf("a statement ended after %s, want at most %s", got, limit)
	}
}

// A patientWorkload is a workload whose statements have no deadline.
type patientWorkload struct {
	workload
	failedOnce sync.WaitGroup
	longest    atomic.Int64 // of a statement, in nanoseconds
}

func newPatientWorkload(t testing.TB, db *sql.DB) *patientWorkload {
	ctx, cancel := context.WithCancel(t.Context())
	w := &patientWorkload{workload: workload{db: db, cancel: cancel, errors: map[string]int{}}}
	for writer := range writers {
		w.failedOnce.Add(1)
		failed := sync.OnceFunc(w.failedOnce.Done)
		w.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if !w.writePatiently(fmt.Sprintf("patient %d-%d", writer, i)) {
					failed()
				}
			}
		})
	}
	return w
}

// writePatiently reports whether the write was acknowledged.
func (w *patientWorkload) writePatiently(key string) bool {
	began := time.Now()
	_, err := w.db.ExecContext(context.Background(), "insert into kept (key) values ($1)", key)
	took := int64(time.Since(began))
	for longest := w.longest.Load(); took > longest && !w.longest.CompareAndSwap(longest, took); longest = w.longest.Load() {
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.acknowledged = append(w.acknowledged, insert{key, began, time.Now()})
		return true
	}
	w.inDoubt = append(w.inDoubt, key)
	w.errors[errorCode(err)]++
	return false
}

// waitFor waits until each writer has seen a failure.
func (w *patientWorkload) waitFor(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		w.failedOnce.Wait()
		close(done)
	}()
	eventually(t, 100*time.Second, func() error {
		select {
		case <-done:
			return nil
		default:
			return errors.New("a writer waits for the server that is gone")
		}
	})
}
