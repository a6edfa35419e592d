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

// Who migrates at the same time waits for the other, and finds nothing left to do.
func TestAtOnce(t *testing.T) {
	p := newPlace(t)
	source := folder(t, "1_once.up.sql", "CREATE TABLE once (); SELECT pg_sleep(0.3);")
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			m, err := migrate.New(source, p.url())
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
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if !errors.Is(err, migrate.ErrNoChange) {
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("%d of 4 migrated, want 1", done)
	}
}

// The lock is the one that golang-migrate's own drivers take for such a URL.
func TestLock(t *testing.T) {
	p := newPlace(t)
	m := p.open(library(t), p.url())
	m.LockTimeout = 100 * time.Millisecond
	past, err := pgx.ParseConfig(az.PostgresDSN())
	check(t, err)
	u := url.URL{Scheme: "pgx5", User: url.UserPassword(past.User, past.Password), Host: net.JoinHostPort(past.Host, strconv.Itoa(int(past.Port))), Path: p.Name}
	other, err := database.Open(u.String() + "?sslmode=disable")
	check(t, err)
	defer other.Close()
	check(t, other.Lock())
	if err := m.Up(); err != migrate.ErrLockTimeout {
		t.Errorf("while another migrates: %v", err)
	}
	_, err = migrate.New(library(t), p.url("lock_timeout=100ms"))
	wants(t, err, "canceling statement due to lock timeout")
	check(t, other.Unlock())
}

// No session outlives Close, nor an Open that fails after it signed in.
func TestNothingStaysOpen(t *testing.T) {
	p := newPlace(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would end what is forgotten
	super := p.superuser()
	gone := func(when string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			var n int
			check(t, super.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app'").Scan(&n))
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d sessions stay", when, n)
			}
		}
	}
	m := p.open(library(t), p.url())
	check(t, m.Up())
	sourceErr, databaseErr := m.Close()
	check(t, errors.Join(sourceErr, databaseErr))
	gone("closed")
	_, err := super.Exec(t.Context(), "DROP TABLE schema_migrations; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	check(t, err)
	before := az.Startups()
	_, err = migrate.New(library(t), p.url())
	wants(t, err, "permission denied for schema public")
	if len(az.Startups()) == len(before) {
		t.Error("nothing signed in")
	}
	gone("failed")
}
