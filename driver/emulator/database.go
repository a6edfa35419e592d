package emulator

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Database is the database of one test, so that tests that share an emulator can run in
// parallel. [Azure.Database] creates one.
type Database struct {
	Name  string // derived from the test's name, and unique
	azure *Azure
}

// Database creates an empty database, in which every role has all privileges. It drops the
// database when t ends, and closes the sessions that are still in it. It calls t.Fatal if
// it fails.
func (a *Azure) Database(t testing.TB) *Database {
	t.Helper()
	d := &Database{Name: databaseName(t), azure: a}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.create(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.drop(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Exec runs statements as superuser in the database, for example to create a schema. Every
// role has all privileges on the schemas, tables and sequences that they create. Exec calls
// t.Fatal if a statement fails.
func (d *Database) Exec(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// DSN is [Azure.DSN] for this database.
func (d *Database) DSN(params ...string) string { return d.azure.dsn(d.Name, params) }

// URL is [Azure.URL] for this database.
func (d *Database) URL(params ...string) string { return d.azure.url("127.0.0.1", d.Name, params) }

var nonAlphanumeric = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName returns a unique name that contains the test's.
func databaseName(t testing.TB) string {
	name := nonAlphanumeric.ReplaceAllString(strings.ToLower(t.Name()), "_")
	return name[:min(len(name), 40)] + "_" + strings.ToLower(rand.Text()[:10])
}

// create records the name first, so that on a server of WithPostgres the next emulator
// finds the database if this process is killed.
func (d *Database) create(ctx context.Context) error {
	pool := d.azure.postgres.pool
	name := pgx.Identifier{d.Name}.Sanitize()
	if _, err := pool.Exec(ctx, d.azure.postgres.sql("INSERT INTO pg_emulator.databases VALUES ($1)"), d.Name); err != nil {
		return err
	}
	for _, sql := range []string{"CREATE DATABASE " + name + " TEMPLATE template0", "GRANT ALL ON DATABASE " + name + " TO PUBLIC"} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return d.exec(ctx, `GRANT ALL ON SCHEMA public TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC`)
}

func (d *Database) drop(ctx context.Context) error {
	pool := d.azure.postgres.pool
	_, err := pool.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{d.Name}.Sanitize()+" WITH (FORCE)")
	if err == nil {
		_, err = pool.Exec(ctx, d.azure.postgres.sql("DELETE FROM pg_emulator.databases WHERE name = $1"), d.Name)
	}
	return err
}

func (d *Database) exec(ctx context.Context, sql string) error {
	config := d.azure.postgres.pool.Config().ConnConfig
	config.Database = d.Name
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return cmp.Or(err, conn.Close(ctx))
}

func (a *Azure) dsn(database string, params []string) string {
	server := fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s sslrootcert=%s", a.Port(), quote(database), quote(a.CertFile()))
	return strings.Join(append([]string{server}, params...), " ")
}

func (a *Azure) url(host, database string, params []string) string {
	u := url.URL{Scheme: "postgres", Host: fmt.Sprintf("%s:%d", host, a.Port()), Path: "/" + database}
	query := []string{"sslrootcert=" + queryEscape(a.CertFile())}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		if key == "user" { // some programs read it only here
			u.User = url.User(value)
			continue
		}
		query = append(query, queryEscape(key)+"="+queryEscape(value))
	}
	u.RawQuery = strings.Join(query, "&")
	return u.String()
}

// queryEscape encodes a space as %20, because pgx does not decode a plus sign.
func queryEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
