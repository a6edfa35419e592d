package migrate

import (
	"errors"
	"net"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
)

// Of four that migrate at once, one applies the migration. The others wait for it and
// have nothing to do.
func TestConcurrentUp(t *testing.T) {
	db := newTestDB(t)
	source := newSource(t, "1_once.up.sql", "CREATE TABLE once (); SELECT pg_sleep(0.3);")
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			m, err := migrate.New(source, db.url())
			if err != nil {
				errs[i] = err
				return
			}
			errs[i] = m.Up()
			_, err = m.Close()
			errs[i] = errors.Join(errs[i], err)
		})
	}
	wg.Wait()
	applied := 0
	for _, err := range errs {
		if err == nil {
			applied++
		} else if !errors.Is(err, migrate.ErrNoChange) {
			t.Errorf("Up() = %v, want nil or %v", err, migrate.ErrNoChange)
		}
	}
	if applied != 1 {
		t.Errorf("got %d of 4 that migrated, want 1", applied)
	}
}

// The lock is the one that golang-migrate's own drivers take for the same path.
func TestLock(t *testing.T) {
	db := newTestDB(t)
	m := db.open(librarySource(t), db.url())
	m.LockTimeout = 100 * time.Millisecond
	config, err := pgx.ParseConfig(az.PostgresDSN())
	check(t, err)
	u := url.URL{
		Scheme:   "pgx5",
		User:     url.UserPassword(config.User, config.Password),
		Host:     net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))),
		Path:     db.Name,
		RawQuery: "sslmode=disable",
	}
	other, err := database.Open(u.String())
	check(t, err)
	t.Cleanup(func() { other.Close() })

	check(t, other.Lock())
	err = m.Up()
	if !errors.Is(err, migrate.ErrLockTimeout) {
		t.Errorf("Up() while another holds the lock = %v, want %v", err, migrate.ErrLockTimeout)
	}
	_, err = migrate.New(librarySource(t), db.url("lock_timeout=100ms"))
	wantError(t, err, "canceling statement due to lock timeout")
	check(t, other.Unlock())
}

// No connection stays open after Close, nor after an Open that fails once it has
// signed in.
func TestConnectionsAreClosed(t *testing.T) {
	db := newTestDB(t)
	// A collected connection is closed, so the collector would hide a leak.
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	super := db.superuser()
	wantNoConnections := func(after string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			var n int
			err := super.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app'").Scan(&n)
			check(t, err)
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("connections after %s: got %d, want 0", after, n)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}

	m := db.open(librarySource(t), db.url())
	check(t, m.Up())
	sourceErr, databaseErr := m.Close()
	check(t, errors.Join(sourceErr, databaseErr))
	wantNoConnections("Close")

	_, err := super.Exec(t.Context(), "DROP TABLE schema_migrations; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	check(t, err)
	before := len(az.Startups())
	_, err = migrate.New(librarySource(t), db.url())
	wantError(t, err, "permission denied for schema public")
	after := len(az.Startups())
	if after == before {
		t.Errorf("got no new sign-in after %d, want one before the failure", before)
	}
	wantNoConnections("an Open that fails")
}
