package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aadpostgres/aadpostgres/driver"
)

// Every way in signs the same identity in: by name, by connector, by a name of
// one's own, by pgx and its pool, from a URL, a service file, the environment.
func TestWaysIn(t *testing.T) {
	id, dsn := newIdentity(t, "ways in")
	ctx := context.Background()
	ask := func(t *testing.T, row interface{ Scan(...any) error }) {
		t.Helper()
		var who string
		if err := row.Scan(&who); err != nil || who != id.Name {
			t.Errorf("signed in as %q, %v", who, err)
		}
	}
	const query = "select session_user"
	connector := func(t *testing.T) *driver.Connector {
		t.Helper()
		c, err := driver.NewConnector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	t.Run("sql.Open", func(t *testing.T) { ask(t, openDB(t, dsn).QueryRow(query)) })
	t.Run("sql.OpenDB", func(t *testing.T) {
		db := sql.OpenDB(connector(t))
		defer db.Close()
		ask(t, db.QueryRow(query))
	})
	t.Run("Register", func(t *testing.T) {
		name, changed := "mine "+rand.Text(), false
		driver.Register(name, driver.WithConnConfig(func(*pgx.ConnConfig) { changed = true }))
		db, err := sql.Open(name, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if ask(t, db.QueryRow(query)); !changed {
			t.Error("the option was not heard")
		}
	})
	t.Run("pgx", func(t *testing.T) {
		c := connector(t)
		config := c.Config()
		if err := c.BeforeConnect(ctx, config); err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		ask(t, conn.QueryRow(ctx, query))
	})
	t.Run("pgxpool", func(t *testing.T) {
		c := connector(t)
		config, err := pgxpool.ParseConfig("")
		if err != nil {
			t.Fatal(err)
		}
		config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		ask(t, pool.QueryRow(ctx, query))
	})
	t.Run("URL", func(t *testing.T) {
		u := fmt.Sprintf("aadpostgres://127.0.0.1:%d/postgres?sslrootcert=%s&aad_auth=ActiveDirectoryMSI&aad_client_id=%s", az.Port(), url.QueryEscape(az.CertFile()), id.ClientID)
		ask(t, openDB(t, u).QueryRow(query))
		named := strings.Replace(u, "aadpostgres://", "postgres://"+strings.ReplaceAll(url.QueryEscape(id.Name), "+", "%20")+"@", 1)
		ask(t, openDB(t, named).QueryRow(query))
	})
	t.Run("service file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "services")
		text := fmt.Sprintf("[app]\nhost=127.0.0.1\nport=%d\ndbname=postgres\nuser=%s\nsslrootcert=%s\naad_auth=managed-identity\naad_client_id=%s\n", az.Port(), id.Name, az.CertFile(), id.ClientID)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PGSERVICEFILE", file)
		ask(t, openDB(t, "service=app").QueryRow(query))
		t.Setenv("PGSERVICE", "app")
		ask(t, openDB(t, "").QueryRow(query))
	})
	t.Run("environment", func(t *testing.T) {
		for name, v := range map[string]string{"PGHOST": "127.0.0.1", "PGPORT": fmt.Sprint(az.Port()), "PGDATABASE": "postgres", "PGUSER": id.Name, "PGSSLROOTCERT": az.CertFile()} {
			t.Setenv(name, v)
		}
		ask(t, openDB(t, "aad_auth=managed-identity aad_client_id="+id.ClientID).QueryRow(query))
	})
}

// The user comes from the DSN, else the service, else PGUSER, else the token.
func TestWhichUser(t *testing.T) {
	id, dsn := newIdentity(t, "which user")
	others := map[string]string{}
	for _, from := range []string{"dsn", "service", "env"} {
		other, _ := newIdentity(t, "user of "+from)
		others[from] = other.Name
	}
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[s]\nuser="+others["service"]+"\n[empty]\napplication_name=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", file)
	for _, tt := range []struct{ params, env, want string }{
		{"", "", id.Name},
		{" user=''", "", id.Name},
		{"", others["env"], others["env"]},
		{" service=s", others["env"], others["service"]},
		{" service=empty", others["env"], others["env"]},
		{" service=s user='" + others["dsn"] + "'", others["env"], others["dsn"]},
	} {
		t.Setenv("PGUSER", tt.env)
		openDB(t, dsn+tt.params).Ping() // a refusal where it is another's role
		startups := az.Startups()
		if sent := startups[len(startups)-1]["user"]; sent != tt.want {
			t.Errorf("%q, PGUSER=%q: sent %q, want %q", tt.params, tt.env, sent, tt.want)
		}
	}
}
