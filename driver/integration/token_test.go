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

// An agedCredential returns tokens that were issued ten minutes ago, as a cache between
// the driver and Entra does. A token younger than a minute is not requested again.
type agedCredential struct {
	id    emulator.Identity
	calls atomic.Int64
}

func (c *agedCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.calls.Add(1)
	token := az.Token(c.id, func(claims map[string]any) {
		claims["iat"] = time.Now().Add(-15 * time.Minute).Unix() // Entra sets iat five minutes back
	})
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestRevoked revokes the cached token on the server. The pool's next connects cause one
// token request together, and succeed.
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
	if got := cred.calls.Load(); got != 2 {
		t.Errorf("token requests = %d, want 2", got)
	}
	t.Logf("%+v", c.Stats())
}

// TestNoSuchRole checks that a role which does not exist causes no token request, however
// often it is tried.
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
		err := db.Ping()
		if want := `role "nobody-here"`; err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("Ping() = %v, want %q", err, want)
		}
	}
	if got := cred.calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1, the first", got)
	}
}

// TestRetryAfter checks that an authority's Retry-After of a minute is obeyed, and that
// every caller gets the cause meanwhile.
func TestRetryAfter(t *testing.T) {
	_, dsn := newIdentity(t, "throttled")
	az.Faults.RetryAfter(time.Minute)
	az.Faults.FailTokens(-1, 429)
	defer az.Faults.FailTokens(0, 0)
	defer az.Faults.RetryAfter(0)
	before := az.Counts().Requests
	db := openDB(t, dsn)
	for range 100 {
		err := db.Ping()
		if want := "aadpostgres: token: "; err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("Ping() = %v, want %q", err, want)
		}
	}
	if got := az.Counts().Requests - before; got != 1 {
		t.Errorf("token requests = %d, want 1", got)
	}
}

// TestExpiryUnderLoad connects for ten seconds with tokens that live for six. Every
// connect succeeds, and only the first waits for a token.
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
	var wg sync.WaitGroup
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		wg.Go(func() {
			if err := db.Ping(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stats := c.Stats()
	t.Logf("%+v", stats)
	if stats.TokenWaits != 0 {
		t.Errorf("TokenWaits = %d, want 0", stats.TokenWaits)
	}
	if stats.TokenRefreshes < 2 {
		t.Errorf("TokenRefreshes = %d, want at least 2", stats.TokenRefreshes)
	}
	if stats.Rejected != 0 {
		t.Errorf("Rejected = %d, want 0", stats.Rejected)
	}
	if text := fmt.Sprintf("%+v", stats); strings.Contains(text, "eyJ") {
		t.Errorf("Stats = %s, want none with a token", text)
	}
}
