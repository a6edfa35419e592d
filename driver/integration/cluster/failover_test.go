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
	az, err := emulator.New(t.Context(), emulator.WithPostgres(superuser(f.nodes[:]...)+" target_session_attrs=read-write"))
	check(t, err)
	defer func() { check(t, az.Close()) }() // while both nodes run
	az.Setenv(t)
	var ports [2]int
	for i, n := range f.nodes {
		ports[i], err = az.Serve(t.Context(), superuser(n))
		check(t, err)
	}
	id := az.Add(emulator.Identity{Name: "writer"})
	check(t, az.Grant(t.Context(), id))
	admin, err := pgx.Connect(t.Context(), az.PostgresDSN())
	check(t, err)
	_, err = admin.Exec(t.Context(), "CREATE TABLE kept (key text PRIMARY KEY); GRANT ALL ON kept TO PUBLIC", pgx.QueryExecModeSimpleProtocol)
	check(t, err)
	check(t, admin.Close(t.Context()))

	dsn := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres sslrootcert=%s connect_timeout=5 aad_auth=managed-identity aad_client_id=%s target_session_attrs=",
		ports[0], ports[1], az.CertFile(), id.ClientID)
	db := openDB(t, dsn+"read-write")
	db.SetMaxOpenConns(writers)
	db.SetMaxIdleConns(writers)

	lead, follow := f.leader(t)
	l := newLoad(t, db, "failover")
	l.atLeast(t, 500)
	killed := time.Now()
	lead.kill()
	eventually(t, time.Minute, func() error { return follow.is("primary") })
	promoted := time.Now()
	written := l.since(t, killed)
	t.Logf("failover: Patroni promoted %s %s after %s was killed; the first write %s after the kill, %s after the promotion",
		follow.name, promoted.Sub(killed).Round(time.Millisecond), lead.name, written.Sub(killed).Round(time.Millisecond), written.Sub(promoted).Round(time.Millisecond))
	l.atLeast(t, 1_000)
	l.end()
	l.kept(t, db)
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
	l.atLeast(t, 500)
	ordered := time.Now()
	f.ctl(t, "switchover", "--candidate", follow.name, "--force")
	eventually(t, time.Minute, func() error { return follow.is("primary") })
	promoted = time.Now()
	written = l.since(t, promoted)
	t.Logf("switchover: asked, %s leads after %s; a write that began then was acknowledged %s later",
		follow.name, promoted.Sub(ordered).Round(time.Millisecond), written.Sub(promoted).Round(time.Millisecond))
	l.atLeast(t, 1_000)
	l.end()
	l.kept(t, db)

	requests := 0
	for _, r := range az.Requests() {
		if r.Form.Get("client_id") == id.ClientID {
			requests++
		}
	}
	t.Logf("%d token requests for %d sign-ins", requests, az.Counts().SignIns)
	if requests != 1 {
		t.Errorf("%d token requests", requests)
	}
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
