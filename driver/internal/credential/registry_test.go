package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// DSNs share a token cache if they differ in nothing that could lead to another token.
func TestSharing(t *testing.T) {
	entratest.CleanEnv(t)
	const base = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s"
	first := cacheOf(t, base, Options{})
	rows := []struct {
		name, dsn string
		shared    bool
	}{
		{"same DSN", base, true},
		{"another database", base + " dbname=other", true},
		{"another application_name", base + " application_name=x", true},
		{"the cloud spelled out", base + " aad_cloud=public", true},
		{"aad_insecure", base + " aad_insecure=unverified", true},
		{"the scope spelled out", base + " aad_scope=https://ossrdbms-aad.database.windows.net/.default", true},
		{"another tenant", strings.Replace(base, "aad_tenant_id=t", "aad_tenant_id=t2", 1), false},
		{"another client", strings.Replace(base, "aad_client_id=c", "aad_client_id=c2", 1), false},
		{"another secret", strings.Replace(base, "secret=s", "secret=s2", 1), false},
		{"another scope", base + " aad_scope=https://other/.default", false},
		{"another cloud", base + " aad_cloud=usgov", false},
		{"another authority", base + " aad_authority_host=https://login.example/", false},
		{"additional tenants", base + " aad_additionally_allowed_tenants=*", false},
		{"no instance discovery", base + " aad_disable_instance_discovery=true", false},
		{"a maximum age", base + " aad_token_max_age=1m", false},
		{"managed identity", "host=h aad_auth=managed-identity", false},
		{"managed identity by client ID", "host=h aad_auth=managed-identity aad_client_id=c", false},
		{"managed identity by object ID", "host=h aad_auth=managed-identity aad_object_id=c", false},
		{"managed identity by resource ID", "host=h aad_auth=managed-identity aad_resource_id=c", false},
		{"Azure CLI", "host=h aad_auth=azure-cli", false},
		{"default", "host=h", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := cacheOf(t, row.dsn, Options{}) == first; got != row.shared {
				t.Errorf("shared = %v, want %v", got, row.shared)
			}
		})
	}
}

// So it is with the environment, in which azidentity looks for identities.
func TestSharingFollowsTheEnvironment(t *testing.T) {
	entratest.CleanEnv(t)
	const managed = "host=h aad_auth=managed-identity"
	before := cacheOf(t, managed, Options{})
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")
	t.Setenv("IDENTITY_HEADER", "h")
	if cacheOf(t, managed, Options{}) == before {
		t.Error("the cache is shared with another environment")
	}
}

// So it is with what the program provides: credential, transport and prompt are compared
// by identity.
func TestSharingFollowsTheOptions(t *testing.T) {
	entratest.CleanEnv(t)
	show := Prompt(func(context.Context, azidentity.DeviceCodeMessage) error { return nil })
	other := show
	rows := []struct {
		name, dsn  string
		one, other Options
	}{
		{"credential", "host=h user=u", Options{Credential: &entratest.Credential{}}, Options{Credential: &entratest.Credential{}}},
		{"transport", "host=h user=u aad_auth=device-code", Options{Transport: &http.Client{}}, Options{Transport: &http.Client{}}},
		{"no transport", "host=h user=u aad_auth=device-code", Options{Transport: &http.Client{}}, Options{}},
		{"prompt", "host=h user=u aad_auth=device-code", Options{Prompt: &show}, Options{Prompt: &other}},
		{"no prompt", "host=h user=u aad_auth=device-code", Options{Prompt: &show}, Options{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cache := cacheOf(t, row.dsn, row.one)
			if cacheOf(t, row.dsn, row.one) != cache {
				t.Error("the cache is not shared by the same options")
			}
			if cacheOf(t, row.dsn, row.other) == cache {
				t.Error("the cache is shared by other options")
			}
		})
	}
	t.Run("transport that cannot be compared", func(t *testing.T) {
		o := Options{Transport: incomparable{}}
		cache := cacheOf(t, "host=h user=u aad_auth=device-code", o)
		if cacheOf(t, "host=h user=u aad_auth=device-code", o) == cache {
			t.Error("the cache is shared")
		}
	})
}

type incomparable struct{ _ []int }

func (incomparable) Do(*http.Request) (*http.Response, error) {
	return nil, errors.New("not connected")
}

// A cache that no connector holds is collected, and its entry is removed.
func TestCachesAreCollected(t *testing.T) {
	entratest.CleanEnv(t)
	entries := func() int {
		caches.Lock()
		defer caches.Unlock()
		return len(caches.m)
	}
	before := entries()
	for i := range 10 {
		cfg, cloud := parse(t, fmt.Sprintf("host=h aad_auth=managed-identity aad_client_id=collected-%d", i))
		if _, err := CacheFor(cfg, cloud, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		runtime.GC()
		if entries() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d entries are left of 10, want 0", entries()-before)
}
