// Package entratest has what tests of tokens share: a credential that counts its calls,
// tokens with claims, and an environment without Azure's variables.
package entratest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Marker is in each secret and token of the tests, so that a leak can be found.
const Marker = "s3cr3t"

// JWT returns an unsigned token with the marker as its signature.
func JWT(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err) // a mistake in the test
	}
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(b) + "." + Marker
}

// A Credential counts its calls and returns what Get does, after Delay. Without a Get it
// returns a token of an hour. It is safe for concurrent use while its fields do not change.
type Credential struct {
	Calls atomic.Int64
	Delay time.Duration
	Deaf  bool // it does not notice the end of its context
	Get   func(call int64, claims string) (azcore.AccessToken, error)
}

// GetToken implements azcore.TokenCredential.
func (c *Credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	call := c.Calls.Add(1)
	if c.Deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(c.Delay):
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
	if c.Get != nil {
		return c.Get(call, o.Claims)
	}
	return azcore.AccessToken{Token: JWT(map[string]any{"oid": "o"}), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// CleanEnv unsets the variables that a DSN and azidentity read, for the rest of the test.
func CleanEnv(t testing.TB) {
	t.Helper()
	names := []string{"PGHOST", "PGUSER", "PGSSLMODE", "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE", "PGSSLROOTCERT", "PGREQUIREAUTH",
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_POSTGRESQL_CLIENTID", "AZURESUBSCRIPTION_CLIENT_ID",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "IMDS_ENDPOINT"}
	for _, name := range names {
		t.Setenv(name, "") // restores it afterwards
		os.Unsetenv(name)
	}
	t.Setenv("HOME", t.TempDir())
}

// SystemPath returns a PATH with the system's programs but for the developer tools, which
// this machine may have.
func SystemPath(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range []string{"/usr/bin", "/bin"} {
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			switch e.Name() {
			case "az", "azd", "pwsh", "powershell":
				continue
			}
			err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name()))
			if err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	return dir
}
