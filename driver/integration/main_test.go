// Package integration tests the driver against the emulator's real PostgreSQL.
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
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// az is the emulator that the tests share. Each test adds its own identity, because
// azidentity has one cache of managed identity tokens for the whole process.
var az *emulator.Azure

func TestMain(m *testing.M) {
	var err error
	az, err = emulator.New(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := need.Run(m)
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
	name += " " + rand.Text()[:6] // unique, also with -count
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

// openConns opens n connections at once, and closes them when all are open.
func openConns(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { conns[i], errs[i] = db.Conn(context.Background()) })
	}
	wg.Wait()
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func sessionUser(t testing.TB, db *sql.DB) (user string) {
	t.Helper()
	if err := db.QueryRow("select session_user").Scan(&user); err != nil {
		t.Fatal(err)
	}
	return user
}

// TestStormMakesOneTokenRequest opens 64 connections at once.
func TestStormMakesOneTokenRequest(t *testing.T) {
	id, dsn := newIdentity(t, "storm")
	az.Faults.TokenDelay(50 * time.Millisecond) // so that all connections wait for the token
	defer az.Faults.TokenDelay(0)
	before := az.Counts()
	db := openDB(t, dsn)
	openConns(t, db, 64)
	after := az.Counts()
	if got := after.Tokens - before.Tokens; got != 1 {
		t.Errorf("token requests = %d, want 1", got)
	}
	if got := after.SignIns - before.SignIns; got != 64 {
		t.Errorf("sign-ins = %d, want 64", got)
	}
	if got := sessionUser(t, db); got != id.Name {
		t.Errorf("session_user = %q, want %q", got, id.Name)
	}
}

// TestPoolsShareByIdentityOnly opens pools in order. A pool needs a token request only if
// it is the first of its identity.
func TestPoolsShareByIdentityOnly(t *testing.T) {
	a, dsnA := newIdentity(t, "share a")
	b, dsnB := newIdentity(t, "share b")
	before := az.Counts().Tokens
	for _, pool := range []struct {
		name, dsn, role string
		requests        int64 // in total
	}{
		{"first of a", dsnA, a.Name, 1},
		{"second of a, other settings", dsnA + " application_name=other", a.Name, 1},
		{"first of b", dsnB, b.Name, 2},
		{"third of a", dsnA, a.Name, 2},
		{"second of b", dsnB, b.Name, 2},
	} {
		if got := sessionUser(t, openDB(t, pool.dsn)); got != pool.role {
			t.Errorf("%s: session_user = %q, want %q", pool.name, got, pool.role)
		}
		if got := az.Counts().Tokens - before; got != pool.requests {
			t.Errorf("%s: token requests so far = %d, want %d", pool.name, got, pool.requests)
		}
	}
}

// TestCancelAffectsOneCaller checks that a caller returns at its deadline while another
// caller goes on waiting for the same token.
func TestCancelAffectsOneCaller(t *testing.T) {
	_, dsn := newIdentity(t, "cancel")
	const delay = time.Second
	az.Faults.TokenDelay(delay)
	defer az.Faults.TokenDelay(0)
	db := openDB(t, dsn)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	other := make(chan error)
	go func() { other <- openDB(t, dsn).Ping() }()
	began := time.Now()
	err := db.PingContext(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("PingContext() = %v, want %v", err, context.DeadlineExceeded)
	}
	if got, limit := time.Since(began), delay*8/10; got > limit {
		t.Errorf("PingContext() took %s, want at most %s", got, limit)
	}
	if err := <-other; err != nil {
		t.Errorf("the other caller: Ping() = %v", err)
	}
}

// TestRawIsPgx uses the pgx connection behind database/sql.
func TestRawIsPgx(t *testing.T) {
	_, dsn := newIdentity(t, "raw")
	conn, err := openDB(t, dsn).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		if text := fmt.Sprintf("%#v", c.Config()) + c.Config().Password; strings.Contains(text, "eyJ") {
			t.Error("the connection's config has the token in it")
		}
		if got, ok := c.PgConn().Conn().(*tls.Conn); !ok {
			t.Errorf("the connection is a %T, want a *tls.Conn", got)
		}
		_, err := c.CopyFrom(context.Background(), pgx.Identifier{"none"}, []string{"a"}, pgx.CopyFromRows(nil))
		return err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42P01" {
		t.Errorf("CopyFrom() = %v, want SQLSTATE 42P01", err)
	}
}

// TestClientSecret uses a credential of azidentity against the emulated token endpoint,
// over TLS.
func TestClientSecret(t *testing.T) {
	id, _ := newIdentity(t, "secret holder")
	open := func(secret string) (*sql.DB, error) {
		cred, err := azidentity.NewClientSecretCredential(emulator.TenantID, id.ClientID, secret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Transport: az.Client(),
				Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: az.Authority()},
			},
			DisableInstanceDiscovery: true,
		})
		if err != nil {
			return nil, err
		}
		return connect(t, az.DSN("user='"+id.Name+"'"), driver.WithCredential(cred))
	}
	db, err := open(id.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if got := sessionUser(t, db); got != id.Name {
		t.Errorf("session_user = %q, want %q", got, id.Name)
	}
	_, err = open("wrong")
	checkError(t, err, "AADSTS7000215")
	checkError(t, err, "check the client secret")
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		t.Errorf("a wrong secret: error = %v, want one that wraps azidentity's", err)
	}
}

// TestRejections checks the errors of sign-ins that the server or the authority rejects.
func TestRejections(t *testing.T) {
	_, dsn := newIdentity(t, "refused")
	for _, tt := range []struct{ name, dsn, want string }{
		{"another identity's role", dsn + " user=app", "oid mismatch for role[app] (SQLSTATE 28P01); check which identity signs in: role \"app\" was created for another object ID"},
		{"role missing", dsn + " user=nobody", "server requested scram-sha-256 authentication; check that role \"nobody\" exists as an Entra role"},
		{"another resource", dsn + " aad_scope=https://vault.azure.net/.default", "valid audience claim"},
		{"database missing", strings.Replace(dsn, "dbname=postgres", "dbname=none", 1), `database "none" does not exist (SQLSTATE 3D000)`},
		{"unknown identity", az.DSN("aad_auth=managed-identity", "aad_client_id=00000000-0000-0000-0000-000000000000"), "aadpostgres: token: "},
	} {
		t.Run(tt.name, func(t *testing.T) { checkError(t, openDB(t, tt.dsn).Ping(), tt.want) })
	}
}

// TestStartupsHoldNoSecret checks that no startup packet has a token or an aad_ key in it.
func TestStartupsHoldNoSecret(t *testing.T) {
	_, dsn := newIdentity(t, "startup")
	if err := openDB(t, dsn).Ping(); err != nil {
		t.Fatal(err)
	}
	for _, s := range az.Startups() {
		if text := fmt.Sprint(s); strings.Contains(text, "eyJ") || strings.Contains(text, "aad_") {
			t.Errorf("startup packet = %v, want none with a token or an aad_ key", s)
		}
	}
}
