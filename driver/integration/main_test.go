// Package integration holds the driver against the emulator's real PostgreSQL.
package integration

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// az is the one emulator of this binary. Each test adds an identity of its own:
// azidentity keeps one cache of managed identity tokens for the whole process.
var az *emulator.Azure

func TestMain(m *testing.M) {
	var err error
	if az, err = emulator.New(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := az.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newIdentity adds a managed identity with a role and returns it with its DSN.
func newIdentity(t testing.TB, name string) (emulator.Identity, string) {
	t.Helper()
	az.Setenv(t)
	name += " " + rand.Text()[:6] // tests may run more than once
	id := az.Add(emulator.Identity{Name: name, Secret: "secret of " + name})
	if err := az.Grant(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id, az.DSN("aad_auth=managed-identity", "aad_client_id="+id.ClientID)
}

func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("aadpostgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// hold opens n connections at once and returns them still open.
func openConns(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	conns, errs := make([]*sql.Conn, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { conns[i], errs[i] = db.Conn(context.Background()) })
	}
	wg.Wait()
	for _, c := range conns {
		if c != nil {
			defer c.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func sessionUser(t testing.TB, db *sql.DB) (who string) {
	t.Helper()
	if err := db.QueryRow("select session_user").Scan(&who); err != nil {
		t.Fatal(err)
	}
	return who
}

func TestStormMakesOneTokenRequest(t *testing.T) {
	id, dsn := newIdentity(t, "storm")
	az.Faults.TokenDelay(50 * time.Millisecond) // so that all of them wait
	defer az.Faults.TokenDelay(0)
	before := az.Counts()
	db := openDB(t, dsn)
	openConns(t, db, 64)
	after := az.Counts()
	if n := after.Tokens - before.Tokens; n != 1 {
		t.Errorf("64 connections made %d token requests", n)
	}
	if n := after.SignIns - before.SignIns; n != 64 {
		t.Errorf("64 connections made %d sign-ins", n)
	}
	if who := sessionUser(t, db); who != id.Name {
		t.Errorf("signed in as %q", who)
	}
}

func TestPoolsShareByIdentityOnly(t *testing.T) {
	a, dsnA := newIdentity(t, "share a")
	b, dsnB := newIdentity(t, "share b")
	before := az.Counts().Tokens
	for _, one := range []struct {
		dsn, who string
		requests int64 // since the beginning
	}{{dsnA, a.Name, 1}, {dsnA + " application_name=other", a.Name, 1}, {dsnB, b.Name, 2}, {dsnA, a.Name, 2}, {dsnB, b.Name, 2}} {
		if who := sessionUser(t, openDB(t, one.dsn)); who != one.who {
			t.Errorf("%s signed in as %q", one.dsn, who)
		}
		if n := az.Counts().Tokens - before; n != one.requests {
			t.Errorf("%s: %d token requests so far, want %d", one.who, n, one.requests)
		}
	}
}

func TestCancelHarmsNobody(t *testing.T) {
	_, dsn := newIdentity(t, "cancel")
	az.Faults.TokenDelay(time.Second)
	defer az.Faults.TokenDelay(0)
	db := openDB(t, dsn)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	other := make(chan error)
	go func() { other <- openDB(t, dsn).Ping() }()
	began := time.Now()
	err := db.PingContext(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(began); d > 800*time.Millisecond { // the token takes a whole second
		t.Errorf("the caller waited %s for a token it had given up", d)
	}
	if err := <-other; err != nil {
		t.Errorf("the other caller: %v", err)
	}
}

func TestRawIsPgx(t *testing.T) {
	_, dsn := newIdentity(t, "raw")
	conn, err := openDB(t, dsn).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		if s := fmt.Sprintf("%#v", c.Config()) + c.Config().Password; strings.Contains(s, "eyJ") {
			t.Error("the connection's config holds the token")
		}
		if _, ok := c.PgConn().Conn().(*tls.Conn); !ok {
			t.Error("the connection is not TLS")
		}
		_, err := c.CopyFrom(context.Background(), pgx.Identifier{"none"}, []string{"a"}, pgx.CopyFromRows(nil))
		return err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42P01" {
		t.Errorf("COPY: %v", err)
	}
}

// A client secret goes through azidentity's own code to the emulated token
// endpoint, over TLS.
func TestClientSecret(t *testing.T) {
	id, _ := newIdentity(t, "secret holder")
	sign := func(secret string) (*sql.DB, error) {
		cred, err := azidentity.NewClientSecretCredential(emulator.TenantID, id.ClientID, secret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{Transport: az.Client(),
				Cloud: azcloud.Configuration{ActiveDirectoryAuthorityHost: az.Authority()}},
			DisableInstanceDiscovery: true,
		})
		if err != nil {
			return nil, err
		}
		c, err := driver.NewConnector(az.DSN("user='"+id.Name+"'"), driver.WithCredential(cred))
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(c)
		t.Cleanup(func() { db.Close() })
		return db, db.Ping()
	}
	db, err := sign(id.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if who := sessionUser(t, db); who != id.Name {
		t.Errorf("signed in as %q", who)
	}
	_, err = sign("wrong")
	if err == nil || !strings.Contains(err.Error(), "AADSTS7000215") || !strings.Contains(err.Error(), "check the client secret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a wrong secret: %v", err)
	}
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		t.Errorf("azidentity's error cannot be reached: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	_, dsn := newIdentity(t, "refused")
	for _, tt := range []struct{ name, dsn, want string }{
		{"another's role", dsn + " user=app", "oid mismatch for role[app] (SQLSTATE 28P01); check that role \"app\" was made for the object id"},
		{"no role", dsn + " user=nobody", "server requested scram-sha-256 authentication; check that role \"nobody\" was made for Entra"},
		{"another resource", dsn + " aad_scope=https://vault.azure.net/.default", "valid audience claim"},
		{"no database", strings.Replace(dsn, "dbname=postgres", "dbname=none", 1), `database "none" does not exist (SQLSTATE 3D000)`},
		{"unknown identity", az.DSN("aad_auth=managed-identity", "aad_client_id=00000000-0000-0000-0000-000000000000"), "aadpostgres: token: "},
	} {
		err := openDB(t, tt.dsn).Ping()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// No startup packet has ever held a token or a key of ours.
func TestStartupsHoldNoSecret(t *testing.T) {
	_, dsn := newIdentity(t, "startup")
	if err := openDB(t, dsn).Ping(); err != nil {
		t.Fatal(err)
	}
	for _, s := range az.Startups() {
		if text := fmt.Sprint(s); strings.Contains(text, "eyJ") || strings.Contains(text, "aad_") {
			t.Errorf("startup %v", s)
		}
	}
}
