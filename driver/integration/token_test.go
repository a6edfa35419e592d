package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// aged gives tokens of id that were issued ten minutes ago, as a cache on the way
// to Entra does: one that is younger than a minute is not asked for again.
type agedCredential struct {
	id    emulator.Identity
	calls atomic.Int64
}

func (a *agedCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	a.calls.Add(1)
	return azcore.AccessToken{Token: az.Token(a.id, func(claims map[string]any) {
		claims["iat"] = time.Now().Add(-15 * time.Minute).Unix()
	}), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// The tokens at hand are revoked on the server: a pool's next connects cost one
// request together, and work.
func TestRevoked(t *testing.T) {
	id, _ := newIdentity(t, "revoked")
	cred := &agedCredential{id: id}
	c, err := driver.NewConnector(az.DSN(), driver.WithCredential(cred))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxIdleConns(-1)
	openConns(t, db, 1)
	az.RevokeTokens()
	openConns(t, db, 16)
	if n := cred.calls.Load(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
	t.Logf("%+v", c.Stats())
}

// A role that does not exist costs no token request, however often it is tried.
func TestNoSuchRole(t *testing.T) {
	id, _ := newIdentity(t, "without role")
	cred := &agedCredential{id: id}
	c, err := driver.NewConnector(az.DSN("user=nobody-here"), driver.WithCredential(cred))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	for range 50 {
		if err := db.Ping(); err == nil || !strings.Contains(err.Error(), `role "nobody-here"`) {
			t.Fatalf("got %v", err)
		}
	}
	if n := cred.calls.Load(); n != 1 {
		t.Errorf("%d token requests, want the first only", n)
	}
}

// An authority that asks for a minute gets it, and every caller the cause.
func TestRetryAfter(t *testing.T) {
	_, dsn := newIdentity(t, "throttled")
	az.Faults.RetryAfter(time.Minute)
	az.Faults.FailTokens(-1, 429)
	defer az.Faults.FailTokens(0, 0)
	defer az.Faults.RetryAfter(0)
	before := az.Counts().Requests
	db := openDB(t, dsn)
	for range 100 {
		if err := db.Ping(); err == nil || !strings.Contains(err.Error(), "aadpostgres: token: ") {
			t.Fatalf("got %v", err)
		}
	}
	if n := az.Counts().Requests - before; n != 1 {
		t.Errorf("%d requests reached the authority", n)
	}
}

// Tokens of six seconds' life under load, for ten seconds: every connect works,
// and none but the first waits for a token.
func TestExpiryUnderLoad(t *testing.T) {
	_, dsn := newIdentity(t, "load")
	az.Faults.TokenLife(6 * time.Second)
	defer az.Faults.TokenLife(0)
	c, err := driver.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxIdleConns(-1)
	db.SetMaxOpenConns(32)
	openConns(t, db, 1)
	var (
		wg     sync.WaitGroup
		failed atomic.Int64
	)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		wg.Go(func() {
			if err := db.Ping(); err != nil {
				failed.Add(1)
				t.Error(err)
			}
		})
	}
	wg.Wait()
	st := c.Stats()
	t.Logf("%+v", st)
	if failed.Load() != 0 || st.TokenWaits != 0 || st.TokenRenewals < 2 || st.Rejected != 0 {
		t.Errorf("%d failed; %+v", failed.Load(), st)
	}
	if s := fmt.Sprintf("%+v", st); strings.Contains(s, "eyJ") {
		t.Error("the figures hold a token")
	}
}
