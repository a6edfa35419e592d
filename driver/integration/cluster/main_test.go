//go:build linux && cluster

// Package cluster tests the driver with a pooler and a cluster that the tests start:
// PgBouncer, and PostgreSQL with Patroni. The tests need root and several Debian packages,
// so they have a build tag:
//
//	go test -tags cluster -v ./driver/integration/cluster
package cluster

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// az is the emulator that the tests share. The poolers connect to it.
var az *emulator.Azure

// dir contains the files of the servers that the tests start. It belongs to serverUser.
var dir string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	var missing []string
	for _, required := range []struct{ file, pkg string }{
		{"/usr/lib/postgresql/*/bin/postgres", "postgresql"},
		{"/usr/sbin/pgbouncer", "pgbouncer"},
		{"/lib/*/security/pam_script.so", "libpam-script"},
		{"/usr/bin/patroni", "patroni"},
		{"/usr/bin/etcd", "etcd-server"},
	} {
		found, err := filepath.Glob(required.file)
		if err != nil {
			return 1, err
		}
		if found == nil {
			missing = append(missing, required.pkg)
		}
	}
	if missing != nil {
		return 1, fmt.Errorf("cluster: programs are missing; run apt-get install %s", strings.Join(missing, " "))
	}
	dir, err = os.MkdirTemp("", "aadpostgres-cluster-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := chown(dir); err != nil {
		return 1, err
	}
	az, err = emulator.New(context.Background())
	if err != nil {
		return 1, err
	}
	code = m.Run()
	if err := az.Close(); err != nil || code != 0 {
		return code, err
	}
	return code, goleak.Find()
}

// newIdentity adds a managed identity with a role.
func newIdentity(t testing.TB, name string) emulator.Identity {
	t.Helper()
	az.Setenv(t)
	id := az.Add(emulator.Identity{Name: name + " " + rand.Text()[:6]}) // unique, also with -count
	check(t, az.Grant(t.Context(), id))
	return id
}

// openDB opens a pool by the driver's name, until the test ends.
func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("aadpostgres", dsn)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// execIn runs statements in a database as superuser, through neither gateway nor pooler.
func execIn(t testing.TB, database, sql string) {
	t.Helper()
	config, err := pgx.ParseConfig(az.PostgresDSN())
	check(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(t.Context(), config)
	check(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	check(t, err)
}

// newDir creates a directory for a server's files.
func newDir(t testing.TB) string {
	t.Helper()
	path, err := os.MkdirTemp(dir, "")
	check(t, err)
	check(t, chown(path))
	return path
}

// writeFile writes a file that belongs to serverUser, and returns its path.
func writeFile(t testing.TB, path string, mode os.FileMode, text string) string {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), mode))
	check(t, os.Chmod(path, mode))
	check(t, chown(path))
	return path
}

// copyCAFile copies the emulator's CA certificate to where servers can read it.
func copyCAFile(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(az.CertFile())
	check(t, err)
	return writeFile(t, filepath.Join(newDir(t), "ca.pem"), 0o600, string(b))
}

// check stops the test if err is not nil.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// queryIn queries one value in a database as superuser, through neither gateway nor pooler.
func queryIn(t testing.TB, database string, to any, query string, args ...any) {
	t.Helper()
	config, err := pgx.ParseConfig(az.PostgresDSN())
	check(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(t.Context(), config)
	check(t, err)
	defer conn.Close(context.Background())
	check(t, conn.QueryRow(t.Context(), query, args...).Scan(to))
}
