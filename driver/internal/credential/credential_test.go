package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Each mode requests a token for the server's scope through azidentity's own code, and
// the token that it gets is the one to present.
func TestModes(t *testing.T) {
	value := entratest.JWT(map[string]any{"oid": "mi-o", "appid": "MI-C"})
	var request atomic.Pointer[url.Values]
	web := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		request.Store(&r.Form)
		// It lives for less than five minutes: MSAL's cache of managed identities is one
		// for the process and keeps what lives longer.
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":240,"expires_on":"%d"}`, value, time.Now().Add(4*time.Minute).Unix())
	})
	bin := t.TempDir()
	az := filepath.Join(bin, "az")
	script := "#!/bin/sh\necho \"$@\" > " + az + ".args\n" + `echo '{"accessToken":"` + value + `","expires_on":` + fmt.Sprint(time.Now().Add(time.Hour).Unix()) + "}'\n"
	if err := os.WriteFile(az, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	appService := map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h"}
	rows := []struct {
		name, mode, params string
		env                map[string]string
		want               url.Values // nil for a field that must be absent
	}{
		{
			name:   "client secret",
			mode:   "client-secret",
			params: "aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true aad_authority_host=" + web.URL,
			want:   url.Values{"grant_type": {"client_credentials"}, "client_id": {"c"}, "client_secret": {"s"}, "scope": {"https://ossrdbms-aad.database.windows.net/.default openid offline_access profile"}},
		},
		{
			name:   "client secret of the environment",
			mode:   "client-secret",
			params: "aad_disable_instance_discovery=true",
			env:    map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "e", "AZURE_CLIENT_SECRET": "f", "AZURE_AUTHORITY_HOST": web.URL},
			want:   url.Values{"client_id": {"e"}, "client_secret": {"f"}},
		},
		{
			name: "system-assigned managed identity",
			mode: "managed-identity",
			env:  appService,
			want: url.Values{"resource": {"https://ossrdbms-aad.database.windows.net"}, "client_id": nil},
		},
		{name: "managed identity by client ID", mode: "managed-identity", params: "aad_client_id=mi-c", env: appService, want: url.Values{"client_id": {"mi-c"}}},
		{name: "managed identity by object ID", mode: "managed-identity", params: "aad_object_id=mi-o", env: appService, want: url.Values{"object_id": {"mi-o"}}},
		{name: "managed identity by resource ID", mode: "managed-identity", params: "aad_resource_id=/mi/r", env: appService, want: url.Values{"mi_res_id": {"/mi/r"}}},
		{
			name:   "default",
			mode:   "default",
			params: "aad_scope=https://other/.default",
			env:    map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h", "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"},
			want:   url.Values{"resource": {"https://other"}},
		},
		{name: "Azure CLI", mode: "azure-cli", params: "aad_tenant_id=t aad_subscription=sub", env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.mode == "azure-cli" && runtime.GOOS == "windows" {
				t.Skip("the fake az is a shell script")
			}
			entratest.CleanEnv(t)
			request.Store(&url.Values{})
			for name, v := range row.env {
				t.Setenv(name, v)
			}
			cache := cacheOf(t, "host=h user=u aad_auth="+row.mode+" "+row.params, Options{Transport: web.Client()})
			got, err := requestToken(t.Context(), cache)
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != value {
				t.Errorf("token = %q, want %q", got.Value, value)
			}
			for field, want := range row.want {
				if got := (*request.Load())[field]; !slices.Equal(got, want) {
					t.Errorf("%s = %q, want %q", field, got, want)
				}
			}
			if row.mode != "azure-cli" {
				return
			}
			args, err := os.ReadFile(az + ".args")
			if err != nil {
				t.Fatal(err)
			}
			const want = "account get-access-token -o json --resource https://ossrdbms-aad.database.windows.net --tenant t --subscription sub\n"
			if string(args) != want {
				t.Errorf("az was run with %q, want %q", args, want)
			}
		})
	}
}

// A federated token's file that is far too long is not read.
func TestHugeFederatedTokenFile(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "token")
	err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<30)) // a hole: it takes no room
	if err != nil {
		t.Fatal(err)
	}
	cfg, cloud := parse(t, "host=127.0.0.1 port=1 user=u aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file="+entratest.Quote(file))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = CacheFor(cfg, cloud, Options{})
	runtime.ReadMemStats(&after)
	const want = "is not a regular file of at most 1 MiB"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("CacheFor() = %v, want %q", err, want)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 10<<20 {
		t.Errorf("CacheFor() allocated %d bytes, want at most 10 MiB", got)
	}
}

// The files that azidentity finds by the environment are checked too.
func TestHugeFilesOfTheEnvironment(t *testing.T) {
	dir := t.TempDir() // not a regular file either
	for _, name := range []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH"} {
		t.Run(name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "")
			t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", "")
			t.Setenv(name, dir)
			cfg, cloud := parse(t, "host=h user=u aad_auth=environment")
			_, err := CacheFor(cfg, cloud, Options{})
			want := name + ": " + dir + " is not a regular file of at most 1 MiB"
			if err == nil || err.Error() != want {
				t.Errorf("CacheFor() = %v, want %q", err, want)
			}
		})
	}
}

// Without a prompt of the program, a device code is shown on standard error.
func TestPrintDeviceCode(t *testing.T) {
	rows := []struct {
		name    string
		message azidentity.DeviceCodeMessage
		want    string
	}{
		{
			name:    "with a message",
			message: azidentity.DeviceCodeMessage{Message: "Open the page and enter ABC.", VerificationURL: "https://login.example/device", UserCode: "ABC"},
			want:    "Open the page and enter ABC.\n",
		},
		{
			name:    "without a message",
			message: azidentity.DeviceCodeMessage{VerificationURL: "https://login.example/device", UserCode: "ABC"},
			want:    "https://login.example/device ABC\n",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			stderr := os.Stderr
			t.Cleanup(func() { os.Stderr = stderr })
			os.Stderr = file
			if err := (Options{}).forCloud(Cloud{}).prompt(t.Context(), row.message); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != row.want {
				t.Errorf("standard error = %q, want %q", got, row.want)
			}
		})
	}
}

// The program's prompt is used in place of standard error.
func TestPromptOfTheProgram(t *testing.T) {
	want := azidentity.DeviceCodeMessage{Message: "Open the page and enter ABC."}
	var got azidentity.DeviceCodeMessage
	prompt := Prompt(func(_ context.Context, m azidentity.DeviceCodeMessage) error {
		got = m
		return nil
	})
	err := Options{Prompt: &prompt}.forCloud(Cloud{}).prompt(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("prompt got %+v, want %+v", got, want)
	}
}

// Where a person may have to act, the token is requested before the server is dialed. That
// is known of the modes by their table, also in a list, and of azidentity's types.
func TestInteractive(t *testing.T) {
	deviceCode, err := azidentity.NewDeviceCodeCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser, err := azidentity.NewInteractiveBrowserCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	cli, err := azidentity.NewAzureCLICredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		auth       []dsn.Mode
		credential azcore.TokenCredential
		want       bool
	}{
		{name: "device-code", auth: []dsn.Mode{dsn.DeviceCode}, want: true},
		{name: "interactive-browser", auth: []dsn.Mode{dsn.InteractiveBrowser}, want: true},
		{name: "in a list", auth: []dsn.Mode{dsn.ManagedIdentity, dsn.AzureCLI, dsn.DeviceCode}, want: true},
		{name: "a list without a person", auth: []dsn.Mode{dsn.ManagedIdentity, dsn.AzureCLI}, want: false},
		{name: "default", auth: []dsn.Mode{dsn.Default}, want: false},
		{name: "DeviceCodeCredential", auth: []dsn.Mode{dsn.Default}, credential: deviceCode, want: true},
		{name: "InteractiveBrowserCredential", auth: []dsn.Mode{dsn.Default}, credential: browser, want: true},
		{name: "AzureCLICredential beside aad_auth=device-code", auth: []dsn.Mode{dsn.DeviceCode}, credential: cli, want: false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := interactive(&dsn.Config{Auth: tt.auth}, Options{Credential: tt.credential})
			if got != tt.want {
				t.Errorf("interactive() = %t, want %t", got, tt.want)
			}
		})
	}
}
