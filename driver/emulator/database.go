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

// A Database is one that a test has to itself, so that tests may run in parallel
// on one emulator.
type Database struct {
	Name  string
	azure *Azure
}

// Database makes an empty database in which every role may make what it likes. It
// is named after t, and dropped with the sessions in it when t ends.
func (a *Azure) Database(t testing.TB) *Database {
	t.Helper()
	d := &Database{Name: nameOf(t), azure: a}
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

// Exec runs statements in the database as superuser, to set up what a test begins
// with: a schema, say. Every role may use the tables and sequences that it makes.
func (d *Database) Exec(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// DSN is as [Azure.DSN], for this database.
func (d *Database) DSN(params ...string) string { return d.azure.dsn(d.Name, params) }

// URL is as [Azure.URL], for this database.
func (d *Database) URL(params ...string) string { return d.azure.url("127.0.0.1", d.Name, params) }

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf is a name by which people know the test, and which no other run has.
func nameOf(t testing.TB) string {
	name := unfit.ReplaceAllString(strings.ToLower(t.Name()), "_")
	return name[:min(len(name), 40)] + "_" + strings.ToLower(rand.Text()[:10])
}

// create notes the name first: on a server that was given, what a killed run
// leaves is found by it.
func (d *Database) create(ctx context.Context) error {
	pool, name := d.azure.postgres.pool, pgx.Identifier{d.Name}.Sanitize()
	if _, err := pool.Exec(ctx, "INSERT INTO pg_emulator.databases VALUES ($1)", d.Name); err != nil {
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
		_, err = pool.Exec(ctx, "DELETE FROM pg_emulator.databases WHERE name = $1", d.Name)
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
	return strings.Join(append([]string{fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s sslrootcert=%s",
		a.Port(), quote(database), quote(a.CertFile()))}, params...), " ")
}

func (a *Azure) url(host, database string, params []string) string {
	u := url.URL{Scheme: "postgres", Host: fmt.Sprintf("%s:%d", host, a.Port()), Path: "/" + database}
	query := []string{"sslrootcert=" + percent(a.CertFile())}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		if key == "user" { // where every program looks for it
			u.User = url.User(value)
			continue
		}
		query = append(query, percent(key)+"="+percent(value))
	}
	u.RawQuery = strings.Join(query, "&")
	return u.String()
}

// percent leaves no plus sign, which pgx takes literally.
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
