package credential

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Fetch returns when its context ends. So it does with a credential that does not notice
// the end of its context.
func TestFetchEndsWithItsContext(t *testing.T) {
	rows := []struct {
		name string
		deaf bool
	}{{"attentive credential", false}, {"deaf credential", true}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fetcher{credential: &entratest.Credential{Delay: time.Hour, Deaf: row.deaf}, scope: "scope"}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				_, err := f.Fetch(ctx, token.Request{})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Fetch() = %v, want context.DeadlineExceeded", err)
				}
				if got := time.Since(began); got != time.Second {
					t.Errorf("Fetch() took %s, want 1s", got)
				}
				ctx, cancel = context.WithCancel(t.Context())
				cancel()
				if _, err := f.Fetch(ctx, token.Request{}); !errors.Is(err, context.Canceled) {
					t.Errorf("Fetch() = %v, want context.Canceled", err)
				}
				time.Sleep(time.Hour) // until the deaf credential has ended too
			})
		})
	}
}

// A caller that gives up returns at once, and the request goes on for the others.
func TestCallerGivesUp(t *testing.T) {
	rows := []struct {
		name string
		deaf bool
	}{{"attentive credential", false}, {"deaf credential", true}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			synctest.Test(t, func(t *testing.T) {
				cache := cacheOf(t, "host=h user=u", Options{Credential: &entratest.Credential{Delay: 5 * time.Second, Deaf: row.deaf}})
				other := make(chan error, 1)
				go func() {
					_, err := requestToken(t.Context(), cache)
					other <- err
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				_, err := requestToken(ctx, cache)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Token() = %v, want context.DeadlineExceeded", err)
				}
				if got := time.Since(began); got != time.Second {
					t.Errorf("Token() took %s, want 1s", got)
				}
				if err := <-other; err != nil {
					t.Errorf("Token() of the other caller = %v, want nil", err)
				}
			})
		})
	}
}

// A request takes no longer than the DSN's aad_token_timeout.
func TestTokenTimeout(t *testing.T) {
	rows := []struct {
		name string
		deaf bool
	}{{"attentive credential", false}, {"deaf credential", true}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			synctest.Test(t, func(t *testing.T) {
				cache := cacheOf(t, "host=h user=u aad_token_timeout=30s", Options{Credential: &entratest.Credential{Delay: time.Hour, Deaf: row.deaf}})
				began := time.Now()
				_, err := requestToken(t.Context(), cache)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Token() = %v, want context.DeadlineExceeded", err)
				}
				const want = "context deadline exceeded"
				if err == nil || err.Error() != want {
					t.Errorf("Token() = %v, want %q", err, want)
				}
				if got := time.Since(began); got != 30*time.Second {
					t.Errorf("Token() took %s, want 30s", got)
				}
				time.Sleep(time.Hour) // until the deaf credential has ended too
			})
		})
	}
}

// A request for a younger token has a claim that azidentity does not answer from its cache.
func TestFetchAsksForAYoungerToken(t *testing.T) {
	var got string
	cred := &entratest.Credential{Get: func(_ int64, claims string) (azcore.AccessToken, error) {
		got = claims
		return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Hour)}, nil
	}}
	f := &fetcher{credential: cred, scope: "scope"}
	rows := []struct {
		name    string
		request token.Request
		want    string
	}{
		{"any token", token.Request{}, ""},
		{"a younger token", token.Request{IssuedAfter: time.Unix(1700000000, 0)}, `{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := f.Fetch(t.Context(), row.request); err != nil {
				t.Fatal(err)
			}
			if got != row.want {
				t.Errorf("claims = %s, want %s", got, row.want)
			}
		})
	}
}

// A canceled request that nobody waits for is not a failure to remember.
func TestReleaseCancelsTheRequest(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cfg, cloud := parse(t, "host=h user=u")
		cred := &entratest.Credential{Delay: time.Hour}
		cache, err := CacheFor(cfg, cloud, Options{Credential: cred})
		if err != nil {
			t.Fatal(err)
		}
		_, call := cache.Token(discard{})
		cache.Release()
		synctest.Wait()
		if err := call.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("Err() = %v, want context.Canceled", err)
		}
		if got := cache.Stats().Failures; got != 0 {
			t.Errorf("Failures = %d, want 0", got)
		}
	})
}

// The error of a list has what each of its credentials said. A list may hold another one.
func TestAttempts(t *testing.T) {
	rows := []struct {
		name, text string
		want       []string
	}{
		{"not a list's", "one line", nil},
		{"a tool that quotes one", "AzureCLICredential: ERROR: no\nmore\nAttempted credentials:\n\tfalse: no", nil},
		{
			name: "credentials with several lines each",
			text: "ChainedTokenCredential: failed to acquire a token.\nAttempted credentials:\n\tone: failed.\n\t\tdetails\n\n\ttwo: failed too.\nno tab\n",
			want: []string{"one: failed.\ndetails", "two: failed too."},
		},
		{
			name: "a list in a list",
			text: "ChainedTokenCredential: failed to acquire a token.\nAttempted credentials:\n\tone: failed\n\tDefaultAzureCredential: failed to acquire a token.\n\t\tAttempted credentials:\n\t\t\ttwo: failed\n\t\t\t\tdetails\n\t\t\tthree: failed",
			want: []string{"one: failed", "two: failed\ndetails", "three: failed"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := attempts(row.text)
			if strings.Join(got, "|") != strings.Join(row.want, "|") {
				t.Errorf("attempts() = %q, want %q", got, row.want)
			}
		})
	}
}
