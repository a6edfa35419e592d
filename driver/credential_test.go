package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// Each mode asks, through azidentity's own code, for the scope of the server, and
// its token reaches the server as the password.
func TestModes(t *testing.T) {
	token := jwt(map[string]any{"oid": "mi-o", "appid": "MI-C"})
	var asked atomic.Pointer[url.Values]
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		base := "https://" + r.Host + "/t"
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			json.NewEncoder(w).Encode(map[string]string{"issuer": base + "/v2.0", "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token"})
			return
		}
		asked.Store(&r.Form)
		// Under five minutes: MSAL's cache of managed identities is one for the
		// process and keeps what lives longer.
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":240,"expires_on":"%d"}`, token, time.Now().Add(4*time.Minute).Unix())
	}))
	defer web.Close()

	bin := t.TempDir()
	az := filepath.Join(bin, "az")
	script := "#!/bin/sh\necho \"$@\" > " + az + ".args\n" + `echo '{"accessToken":"` + token + `","expires_on":` + fmt.Sprint(time.Now().Add(time.Hour).Unix()) + "}'\n"
	if err := os.WriteFile(az, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode, params string
		env          map[string]string
		want         url.Values
	}{
		{"client-secret", "aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true aad_authority_host=" + web.URL, nil,
			url.Values{"grant_type": {"client_credentials"}, "client_id": {"c"}, "client_secret": {"s"}, "scope": {"https://ossrdbms-aad.database.windows.net/.default openid offline_access profile"}}},
		{"client-secret", "aad_disable_instance_discovery=true", map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "e", "AZURE_CLIENT_SECRET": "f", "AZURE_AUTHORITY_HOST": web.URL},
			url.Values{"client_id": {"e"}, "client_secret": {"f"}}},
		{"managed-identity", "", map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h"},
			url.Values{"resource": {"https://ossrdbms-aad.database.windows.net"}, "client_id": nil}},
		{"managed-identity", "aad_client_id=mi-c", map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h"}, url.Values{"client_id": {"mi-c"}}},
		{"managed-identity", "aad_object_id=mi-o", map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h"}, url.Values{"object_id": {"mi-o"}}},
		{"managed-identity", "aad_resource_id=/mi/r", map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h"}, url.Values{"mi_res_id": {"/mi/r"}}},
		{"default", "aad_scope=https://other/.default", map[string]string{"IDENTITY_ENDPOINT": web.URL + "/msi", "IDENTITY_HEADER": "h", "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"},
			url.Values{"resource": {"https://other"}}},
		{"azure-cli", "aad_tenant_id=t aad_subscription=sub", map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}, nil},
	} {
		t.Run(tt.mode+" "+tt.params, func(t *testing.T) {
			if tt.mode == "azure-cli" && runtime.GOOS == "windows" {
				t.Skip("the fake az is a shell script")
			}
			clean(t)
			asked.Store(&url.Values{})
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			s := newFakeServer(t, nil)
			if err := ping(t, s.dsn("sslrootcert="+s.certFile+" aad_auth="+tt.mode+" "+tt.params), WithTransport(web.Client())); err != nil {
				t.Fatal(err)
			}
			if heard, _ := s.got(); !strings.Contains(heard, token+"\x00") {
				t.Error("the token did not reach the server")
			}
			for k, v := range tt.want {
				if got := (*asked.Load())[k]; fmt.Sprint(got) != fmt.Sprint(v) {
					t.Errorf("%s = %q, want %q", k, got, v)
				}
			}
		})
	}
	args, err := os.ReadFile(az + ".args")
	if want := "account get-access-token -o json --resource https://ossrdbms-aad.database.windows.net --tenant t --subscription sub\n"; err != nil || string(args) != want {
		t.Errorf("az %s, %v", args, err)
	}
}

// Connectors share a source exactly when nothing that makes an identity differs.
func TestSharing(t *testing.T) {
	clean(t)
	source := func(s string) tokens {
		t.Helper()
		c, err := NewConnector(s)
		if err != nil {
			t.Fatal(err)
		}
		return c.tokens
	}
	const base = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s"
	first := source(base)
	for _, same := range []string{" dbname=other", " application_name=x", " aad_cloud=public", " aad_insecure=unverified", " aad_scope=https://ossrdbms-aad.database.windows.net/.default"} {
		if source(base+same) != first {
			t.Errorf("%q splits the source", same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "aad_tenant_id=t", "aad_tenant_id=t2", 1), strings.Replace(base, "aad_client_id=c", "aad_client_id=c2", 1),
		strings.Replace(base, "secret=s", "secret=s2", 1), base + " aad_scope=https://other/.default", base + " aad_cloud=usgov",
		base + " aad_authority_host=https://login.example/", base + " aad_additionally_allowed_tenants=*", base + " aad_disable_instance_discovery=true",
		base + " aad_token_max_age=1m", "host=h aad_auth=managed-identity", "host=h aad_auth=managed-identity aad_client_id=c",
		"host=h aad_auth=managed-identity aad_object_id=c", "host=h aad_auth=managed-identity aad_resource_id=c", "host=h aad_auth=azure-cli", "host=h",
	} {
		if source(other) == first {
			t.Errorf("%q shares the source of another identity", other)
		}
	}
	before := source("host=h aad_auth=managed-identity")
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")
	t.Setenv("IDENTITY_HEADER", "h")
	if source("host=h aad_auth=managed-identity") == before {
		t.Error("another environment shares the source")
	}
	a, b := &fakeCredential{}, &fakeCredential{}
	with := func(cred *fakeCredential) tokens {
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		return c.tokens
	}
	if x := with(a); x == with(b) || x != with(a) {
		t.Error("sources do not follow the credential")
	}
	opened := func(opts ...Option) tokens {
		c, err := NewConnector("host=h user=u aad_auth=device-code", opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c.tokens
	}
	web, other := WithTransport(&http.Client{}), WithTransport(&http.Client{})
	if x := opened(web); x != opened(web) || x == opened(other) || x == opened() {
		t.Error("sources do not follow the transport")
	}
	show := func(context.Context, azidentity.DeviceCodeMessage) error { return nil }
	one, two := WithDeviceCodePrompt(show), WithDeviceCodePrompt(show)
	if x := opened(one); x != opened(one) || x == opened(two) || x == opened() || opened() != opened(WithDeviceCodePrompt(nil)) {
		t.Error("sources do not follow the prompt")
	}
	if unlike := WithTransport(incomparable{}); opened(unlike) == opened(unlike) {
		t.Error("transports that cannot be compared share a source")
	}
	runtime.KeepAlive(first)
	runtime.KeepAlive(before)
}

type incomparable struct{ _ []int }

func (incomparable) Do(*http.Request) (*http.Response, error) { return nil, errors.New("none") }

// A source that no connector holds is collected, and its entry with it.
func TestSourcesAreLetGo(t *testing.T) {
	clean(t)
	open := func() {
		for i := range 10 {
			if _, err := NewConnector(fmt.Sprintf("host=h aad_auth=managed-identity aad_client_id=let-go-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries := func() int {
		sources.Lock()
		defer sources.Unlock()
		return len(sources.m)
	}
	before := entries()
	open()
	for range 100 {
		runtime.GC()
		if entries() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d entries are left of %d", entries()-before, 10)
}

// Every row of dsn's table has its maker, but for the modes that have no
// credential, and every maker its row.
func TestEveryModeHasItsMaker(t *testing.T) {
	n := 0
	for _, m := range dsn.Modes() {
		if none := m.Name == dsn.AccessToken || m.Name == dsn.Password; (makers[m.Name].make == nil) != none {
			t.Errorf("mode %s: maker %v; makers in credential.go has one for each mode with a credential", m.Name, makers[m.Name])
		} else if !none {
			n++
		}
	}
	if n != len(makers) {
		t.Errorf("%d makers for %d modes", len(makers), n)
	}
}

// A file that is far too long for a token is not read.
func TestHugeTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<30)); err != nil { // a hole: it takes no room
		t.Fatal(err)
	}
	for _, auth := range []string{"aad_auth=access-token aad_token_file=", "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file="} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := ping(t, "host=127.0.0.1 port=1 user=u "+auth+file)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "is not a regular file of at most 1 MiB") || after.TotalAlloc-before.TotalAlloc > 10<<20 {
			t.Errorf("%s: %v, after %d bytes", auth, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}
