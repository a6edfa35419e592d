// Package entratest has what tests of tokens share: a credential that counts its calls,
// tokens with claims, and an environment without Azure's variables.
package entratest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/dsn"
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

// Quote writes a path as the value of a key=value pair, where a backslash escapes.
func Quote(path string) string {
	return strings.TrimPrefix((&dsn.Config{Params: map[string]string{"passfile": path}}).ConnString(), "passfile=")
}

// NoTools sets a PATH on which there is no developer tool, for the rest of the test, and
// returns what azidentity then says of a tool. On Windows it runs the tools by cmd.exe. That
// of Wine has other words than Windows for a command that is missing, so it is missing too.
func NoTools(t testing.TB) string {
	t.Helper()
	t.Setenv("PATH", t.TempDir())
	if runtime.GOOS != "windows" {
		return "executable not found"
	}
	if wine() {
		return `exec: "cmd.exe": executable file not found`
	}
	t.Setenv("PATH", filepath.Join(os.Getenv("SYSTEMROOT"), "System32"))
	return "executable not found"
}

// SkipOnWine skips the test on Wine, which lacks something that Windows has.
func SkipOnWine(t testing.TB, reason string) {
	t.Helper()
	if wine() {
		t.Skip("Wine: " + reason)
	}
}

// SkipOnWindows skips the test on Windows, which lacks something that other systems have.
func SkipOnWindows(t testing.TB, reason string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows: " + reason)
	}
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
	home := t.TempDir()
	t.Setenv("HOME", home)
	if runtime.GOOS == "windows" {
		t.Setenv("USERPROFILE", home)
		t.Setenv("APPDATA", filepath.Join(home, "AppData", "Roaming"))
	}
}

// SystemPath returns a PATH with the programs that scripts of tests run, and without the
// developer tools that this machine may have.
func SystemPath(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sh", "bash", "awk", "base64", "basename", "cat", "chmod", "cp", "curl", "cut", "date", "dd", "dirname", "echo", "env", "expr", "false",
		"grep", "head", "id", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "nice", "nohup", "od", "openssl", "printf", "ps", "readlink", "rm", "sed", "seq", "setsid", "sleep",
		"sort", "tail", "tee", "test", "touch", "tr", "true", "uname", "wc", "xargs", "yes"} {
		for _, from := range []string{"/usr/bin", "/bin"} {
			path := filepath.Join(from, name)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	return dir
}
