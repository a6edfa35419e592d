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
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
)

// TestOpen signs in by every public way to open a connection, and from every source of
// settings.
func TestOpen(t *testing.T) {
	id, dsn := newIdentity(t, "open")
	ctx := t.Context()
	checkUser := func(t *testing.T, row interface{ Scan(...any) error }) {
		t.Helper()
		var got string
		if err := row.Scan(&got); err != nil {
			t.Error(err)
		}
		if got != id.Name {
			t.Errorf("session_user = %q, want %q", got, id.Name)
		}
	}
	const query = "select session_user"
	newConnector := func(t *testing.T) *driver.Connector {
		t.Helper()
		c, err := driver.NewConnector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	t.Run("sql.Open", func(t *testing.T) { checkUser(t, openDB(t, dsn).QueryRow(query)) })
	t.Run("sql.OpenDB", func(t *testing.T) {
		db := sql.OpenDB(newConnector(t))
		defer db.Close()
		checkUser(t, db.QueryRow(query))
	})
	t.Run("Register", func(t *testing.T) {
		name, called := "mine "+rand.Text(), false
		driver.Register(name, driver.WithConnConfig(func(*pgx.ConnConfig) { called = true }))
		db, err := sql.Open(name, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		checkUser(t, db.QueryRow(query))
		if !called {
			t.Error("the function of WithConnConfig was not called")
		}
	})
	t.Run("pgx", func(t *testing.T) {
		c := newConnector(t)
		config := c.Config()
		if err := c.BeforeConnect(ctx, config); err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		checkUser(t, conn.QueryRow(ctx, query))
	})
	t.Run("stdlib.OpenDB", func(t *testing.T) {
		c := newConnector(t)
		called := false
		db := stdlib.OpenDB(*c.Config(), stdlib.OptionBeforeConnect(c.BeforeConnect), stdlib.OptionAfterConnect(func(context.Context, *pgx.Conn) error {
			called = true
			return nil
		}))
		defer db.Close()
		checkUser(t, db.QueryRow(query))
		if !called {
			t.Error("AfterConnect was not called")
		}
	})
	t.Run("stdlib.OpenDB, BeforeConnect beside the program's", func(t *testing.T) {
		c := newConnector(t)
		db := stdlib.OpenDB(*c.Config(), stdlib.OptionBeforeConnect(func(ctx context.Context, config *pgx.ConnConfig) error {
			return c.BeforeConnect(ctx, config)
		}))
		defer db.Close()
		checkUser(t, db.QueryRow(query))
	})
	t.Run("stdlib.OpenDB, BeforeConnect replaced", func(t *testing.T) {
		db := stdlib.OpenDB(*newConnector(t).Config(), stdlib.OptionBeforeConnect(func(context.Context, *pgx.ConnConfig) error { return nil }))
		defer db.Close()
		checkError(t, db.Ping(), "no token was set for this connection; call BeforeConnect")
	})
	t.Run("pgxpool", func(t *testing.T) {
		c := newConnector(t)
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
		checkUser(t, pool.QueryRow(ctx, query))
	})
	u := fmt.Sprintf("aadpostgres://127.0.0.1:%d/postgres?sslrootcert=%s&aad_auth=ActiveDirectoryMSI&aad_client_id=%s", az.Port(), url.QueryEscape(az.CertFile()), id.ClientID)
	t.Run("URL", func(t *testing.T) { checkUser(t, openDB(t, u).QueryRow(query)) })
	t.Run("URL with user", func(t *testing.T) {
		withUser := strings.Replace(u, "aadpostgres://", "postgres://"+url.User(id.Name).String()+"@", 1)
		checkUser(t, openDB(t, withUser).QueryRow(query))
	})
	t.Run("service file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "services")
		text := fmt.Sprintf("[app]\nhost=127.0.0.1\nport=%d\ndbname=postgres\nuser=%s\nsslrootcert=%s\naad_auth=managed-identity\naad_client_id=%s\n", az.Port(), id.Name, az.CertFile(), id.ClientID)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PGSERVICEFILE", file)
		checkUser(t, openDB(t, "service=app").QueryRow(query))
		t.Setenv("PGSERVICE", "app")
		checkUser(t, openDB(t, "").QueryRow(query))
	})
	t.Run("environment", func(t *testing.T) {
		t.Setenv("PGHOST", "127.0.0.1")
		t.Setenv("PGPORT", fmt.Sprint(az.Port()))
		t.Setenv("PGDATABASE", "postgres")
		t.Setenv("PGUSER", id.Name)
		t.Setenv("PGSSLROOTCERT", az.CertFile())
		checkUser(t, openDB(t, "aad_auth=managed-identity aad_client_id="+id.ClientID).QueryRow(query))
	})
}

// TestUserPrecedence checks where the user comes from: the DSN, else the service, else
// PGUSER, else the token.
func TestUserPrecedence(t *testing.T) {
	id, dsn := newIdentity(t, "which user")
	ofDSN, _ := newIdentity(t, "user of the DSN")
	ofService, _ := newIdentity(t, "user of the service")
	ofEnv, _ := newIdentity(t, "user of the environment")
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[s]\nuser="+ofService.Name+"\n[empty]\napplication_name=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", file)
	for _, tt := range []struct{ name, params, pguser, want string }{
		{"token", "", "", id.Name},
		{"token, empty user", " user=''", "", id.Name},
		{"PGUSER", "", ofEnv.Name, ofEnv.Name},
		{"service before PGUSER", " service=s", ofEnv.Name, ofService.Name},
		{"service without user", " service=empty", ofEnv.Name, ofEnv.Name},
		{"DSN before service", " service=s user='" + ofDSN.Name + "'", ofEnv.Name, ofDSN.Name},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PGUSER", tt.pguser)
			openDB(t, dsn+tt.params).Ping() // fails if the role is another identity's
			startups := az.Startups()
			if got := startups[len(startups)-1]["user"]; got != tt.want {
				t.Errorf("user in the startup packet = %q, want %q", got, tt.want)
			}
		})
	}
}
