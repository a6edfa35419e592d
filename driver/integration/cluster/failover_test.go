//go:build linux && cluster

package cluster

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A pool whose server fails, and is replaced by another, goes on by itself: with the
// token that it has, and without anything lost that was acknowledged.
func TestFailover(t *testing.T) {
	f := newFlock(t)
	superuser := func(nodes ...*node) string {
		hosts, ports := "127.0.0.1", fmt.Sprint(nodes[0].port)
		for _, n := range nodes[1:] {
			hosts, ports = hosts+",127.0.0.1", ports+fmt.Sprintf(",%d", n.port)
		}
		return fmt.Sprintf("host=%s port=%s user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256 connect_timeout=2", hosts, ports, f.password)
	}
	azure, err := emulator.New(t.Context(), emulator.WithPostgres(superuser(f.nodes[:]...)+" target_session_attrs=read-write"))
	check(t, err)
	defer func() { check(t, azure.Close()) }() // while both nodes run
	azure.Setenv(t)
	var ports [2]int
	for i, n := range f.nodes {
		ports[i], err = azure.Serve(t.Context(), superuser(n))
		check(t, err)
	}
	id := azure.Add(emulator.Identity{Name: "writer"})
	check(t, azure.Grant(t.Context(), id))
	admin, err := pgx.Connect(t.Context(), azure.PostgresDSN())
	check(t, err)
	_, err = admin.Exec(t.Context(), "CREATE TABLE kept (key text PRIMARY KEY); GRANT ALL ON kept TO PUBLIC", pgx.QueryExecModeSimpleProtocol)
	check(t, err)
	check(t, admin.Close(t.Context()))

	dsn := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres sslrootcert=%s connect_timeout=5 aad_auth=managed-identity aad_client_id=%s target_session_attrs=",
		ports[0], ports[1], azure.CertFile(), id.ClientID)
	db := openDB(t, dsn+"read-write")
	db.SetMaxOpenConns(writers)
	db.SetMaxIdleConns(writers)

	lead, follow := f.leader(t)
	l := newLoad(t, db, "failover")
	l.more(t, 500)
	killed := time.Now()
	lead.crash(t)
	promoted := promotion(t, superuser(follow))
	written := l.since(t, promoted)
	t.Logf("failover: with a ttl of %d s Patroni promoted %s %s after %s was killed; a write that began then was acknowledged %s after the promotion; the longest time without an acknowledgement %s",
		ttl, follow.name, promoted.Sub(killed).Round(time.Millisecond), lead.name, written.Sub(promoted).Round(time.Millisecond), l.longest())
	if written.Sub(promoted) > soon {
		t.Errorf("the pool needed %s after the promotion", written.Sub(promoted))
	}
	l.more(t, 1_000)
	l.end()
	if len(l.inDoubt) == 0 {
		t.Error("nothing failed: what was killed was not the primary")
	}
	primary := openSuperuser(t, superuser(follow))
	l.kept(t, primary)
	t.Log(f.ctl(t, "list"))

	lead.start(t)
	eventually(t, time.Minute, func() error { return lead.is("sync") })
	t.Log(f.ctl(t, "list"))
	standby := openDB(t, dsn+"standby") // it has the writes, and shows them soon
	eventually(t, 10*time.Second, func() error {
		if lost, _ := l.missing(t, standby); lost > 0 {
			return fmt.Errorf("%d writes are not on the standby", lost)
		}
		return nil
	})

	lead, follow = follow, lead
	l = newLoad(t, db, "switchover")
	l.more(t, 500)
	ordered := time.Now()
	f.ctl(t, "switchover", "--candidate", follow.name, "--force")
	promoted = promotion(t, superuser(follow))
	written = l.since(t, promoted)
	t.Logf("switchover: %s leads %s after that was asked for; a write that began then was acknowledged %s later; the longest time without an acknowledgement %s",
		follow.name, promoted.Sub(ordered).Round(time.Millisecond), written.Sub(promoted).Round(time.Millisecond), l.longest())
	if written.Sub(promoted) > soon {
		t.Errorf("the pool needed %s after the switchover", written.Sub(promoted))
	}
	l.more(t, 1_000)
	l.end()
	l.kept(t, openSuperuser(t, superuser(follow)))

	requests := 0
	for _, r := range azure.Requests() {
		if r.Form.Get("client_id") == id.ClientID {
			requests++
		}
	}
	t.Logf("%d token requests for %d sign-ins", requests, azure.Counts().SignIns)
	if requests != 1 {
		t.Errorf("%d token requests", requests)
	}
}

// soon is how long a pool may need once there is a primary again.
const soon = 5 * time.Second

// promotion waits until the server is no standby any more, and returns when that was.
func promotion(t testing.TB, dsn string) time.Time {
	t.Helper()
	db := openSuperuser(t, dsn)
	eventually(t, time.Minute, func() error {
		var standby bool
		if err := db.QueryRow("select pg_is_in_recovery()").Scan(&standby); err != nil || standby {
			return fmt.Errorf("a standby: %t, %v", standby, err)
		}
		return nil
	})
	return time.Now()
}

// openSuperuser leads to one server, past gateway and pool.
func openSuperuser(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// kept reports what was acknowledged and is not there.
func (l *load) kept(t testing.TB, db *sql.DB) {
	t.Helper()
	lost, saved := l.missing(t, db)
	t.Logf("%d writes acknowledged, %d of them lost; %d failed, %d of them are there all the same; errors: %v",
		len(l.began), lost, len(l.inDoubt), saved, slices.Sorted(maps.Keys(l.errors)))
	if lost > 0 {
		t.Errorf("%d acknowledged writes are lost", lost)
	}
}

// missing counts the acknowledged writes that are not there, and those that failed
// and are.
func (l *load) missing(t testing.TB, db *sql.DB) (lost, saved int) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "select key from kept")
	check(t, err)
	defer rows.Close()
	there := map[string]bool{}
	for rows.Next() {
		var key string
		check(t, rows.Scan(&key))
		there[key] = true
	}
	check(t, rows.Err())
	for key := range l.began {
		if !there[key] {
			lost++
		}
	}
	for _, key := range l.inDoubt {
		if there[key] {
			saved++
		}
	}
	return lost, saved
}
