//go:build linux && cluster

package cluster

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestFailover checks that a pool goes on by itself after its server has failed and another
// has replaced it. It uses the cached token, and no acknowledged write is lost.
func TestFailover(t *testing.T) {
	c := newCluster(t)
	cloud, err := emulator.New(t.Context(), emulator.WithPostgres(c.superuserDSN(c.nodes[:]...)+" target_session_attrs=read-write"))
	check(t, err)
	defer func() { check(t, cloud.Close()) }() // before the nodes stop
	cloud.Setenv(t)
	var ports [2]int
	for i, n := range c.nodes {
		ports[i], err = cloud.Serve(t.Context(), c.superuserDSN(n))
		check(t, err)
	}
	id := cloud.Add(emulator.Identity{Name: "writer"})
	check(t, cloud.Grant(t.Context(), id))
	admin, err := pgx.Connect(t.Context(), cloud.PostgresDSN())
	check(t, err)
	_, err = admin.Exec(t.Context(), "CREATE TABLE kept (key text PRIMARY KEY); GRANT ALL ON kept TO PUBLIC", pgx.QueryExecModeSimpleProtocol)
	check(t, err)
	check(t, admin.Close(t.Context()))

	dsn := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres sslrootcert=%s connect_timeout=5 aad_auth=managed-identity aad_client_id=%s target_session_attrs=",
		ports[0], ports[1], cloud.CertFile(), id.ClientID)
	db := openDB(t, dsn+"read-write")
	db.SetMaxOpenConns(writers)
	db.SetMaxIdleConns(writers)

	leader, standby := c.leader(t)
	w := c.checkFailover(t, db, "failover", standby, func() { leader.kill(t) })
	t.Log(c.patronictl(t, "list"))

	leader.start(t)
	eventually(t, time.Minute, func() error { return leader.checkRole("sync") })
	t.Log(c.patronictl(t, "list"))
	standbyDB := openDB(t, dsn+"standby") // it replays the writes with some delay
	eventually(t, 10*time.Second, func() error {
		if lost, _ := w.countLost(t, standbyDB); lost > 0 {
			return fmt.Errorf("writes missing on the standby = %d, want 0", lost)
		}
		return nil
	})

	c.checkFailover(t, db, "switchover", leader, func() { c.patronictl(t, "switchover", "--candidate", leader.name, "--force") })

	requests := 0
	for _, r := range cloud.Requests() {
		if r.Form.Get("client_id") == id.ClientID {
			requests++
		}
	}
	t.Logf("%d token requests for %d sign-ins", requests, cloud.Counts().SignIns)
	if requests != 1 {
		t.Errorf("token requests = %d, want 1", requests)
	}
}

// checkFailover writes while provoke makes next the primary. It compares what the program
// saw with next's own PostgreSQL.
func (c *cluster) checkFailover(t testing.TB, db *sql.DB, name string, next *node, provoke func()) *workload {
	t.Helper()
	const recovery = 5 * time.Second // the writers retry every 20 ms
	w := newWorkload(t, db, name)
	defer w.stop()
	w.waitForWrites(t, 500)
	provoked := time.Now()
	var done time.Time
	promoted := c.waitForPromotion(t, next, func() {
		provoke()
		done = time.Now()
	})
	w.waitForWrites(t, 1_000)
	w.stop()

	first := w.firstWriteAfter(t, promoted)
	lost, saved := w.countLost(t, c.openNode(t, next)) // the pool might reach another node
	t.Logf("%s: outage %s; %s from its cause to the promotion of %s, %s from there to the first write; writes acknowledged %d, lost %d; failed %d, stored nevertheless %d; ttl %s; errors: %v",
		name, w.outage().Round(time.Millisecond), promoted.Sub(provoked).Round(time.Millisecond), next.name, first.Sub(promoted).Round(time.Millisecond),
		len(w.acknowledged), lost, len(w.inDoubt), saved, ttl, slices.Sorted(maps.Keys(w.errors)))
	if lost > 0 {
		t.Errorf("%s: lost writes = %d, want 0", name, lost)
	}
	if len(w.inDoubt) == 0 {
		t.Errorf("%s: failed writes = 0, want some: the old primary went on", name)
	}
	if n := w.countBetween(done, promoted); n > 0 {
		t.Errorf("%s: writes acknowledged between the old primary's end and the promotion = %d, want 0", name, n)
	}
	if late := first.Sub(promoted); late > recovery {
		t.Errorf("%s: first write %s after the promotion, want at most %s", name, late, recovery)
	}
	return w
}
