//go:build linux && cluster

// Package cluster holds the driver against poolers and clusters, real ones that
// the tests start: PgBouncer, and PostgreSQL under Patroni. They need root, and
// packages of Debian's that a laptop is spared:
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

// az is the Azure that the poolers stand before.
var az *emulator.Azure

// dir holds the files of the servers that are started, and is theirs.
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
	for _, needs := range [][2]string{{"/usr/lib/postgresql/*/bin/postgres", "postgresql"}, {"/usr/sbin/pgbouncer", "pgbouncer"}, {"/lib/*/security/pam_script.so", "libpam-script"},
		{"/usr/bin/patroni", "patroni"}, {"/usr/bin/etcd", "etcd-server"}} {
		if found, _ := filepath.Glob(needs[0]); found == nil { // the patterns are good
			missing = append(missing, needs[1])
		}
	}
	if missing != nil {
		return 1, fmt.Errorf("cluster: these tests start servers that are not here: apt-get install %s", strings.Join(missing, " "))
	}
	if dir, err = os.MkdirTemp("", "aadpostgres-cluster-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := chown(dir); err != nil {
		return 1, err
	}
	if az, err = emulator.New(context.Background()); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := az.Close(); err != nil || code != 0 {
		return code, err
	}
	return code, goleak.Find()
}

// newIdentity adds a managed identity of the host with a role.
func newIdentity(t testing.TB, name string) emulator.Identity {
	t.Helper()
	az.Setenv(t)
	id := az.Add(emulator.Identity{Name: name + " " + rand.Text()[:6]}) // tests may run more than once
	check(t, az.Grant(t.Context(), id))
	return id
}

// openDB opens a DSN by the driver's name and closes it with the test.
func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("aadpostgres", dsn)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// administerIn runs statements as superuser, past gateway and pooler.
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

// newDir makes a folder for a server's files.
func newDir(t testing.TB) string {
	t.Helper()
	path, err := os.MkdirTemp(dir, "")
	check(t, err)
	check(t, chown(path))
	return path
}

// write writes one of a server's files, for it alone.
func writeFile(t testing.TB, path string, mode os.FileMode, text string) string {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), mode))
	check(t, os.Chmod(path, mode))
	check(t, chown(path))
	return path
}

// caFile is the certificate of the emulator's authority, where servers can read it.
func copyCAFile(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(az.CertFile())
	check(t, err)
	return writeFile(t, filepath.Join(newDir(t), "ca.pem"), 0o600, string(b))
}

// check stops the test at an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// queryIn asks for one value as superuser, past gateway and pooler.
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
