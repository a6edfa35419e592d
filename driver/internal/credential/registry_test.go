package credential

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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

// What cannot be compared is the same for one owner.
func TestSharingByOwner(t *testing.T) {
	entratest.CleanEnv(t)
	const dsn = "host=h user=u aad_auth=device-code"
	one, other := new(int), new(int)
	cache := cacheOf(t, dsn, Options{Transport: incomparable{}, Owner: one})
	if cacheOf(t, dsn, Options{Transport: incomparable{}, Owner: one}) != cache {
		t.Error("the cache is not shared by one owner")
	}
	if cacheOf(t, dsn, Options{Transport: incomparable{}, Owner: other}) == cache {
		t.Error("the cache is shared by two owners")
	}
	if cacheOf(t, dsn+" aad_client_id=c", Options{Transport: incomparable{}, Owner: one}) == cache {
		t.Error("the cache is shared by two DSNs")
	}
	compared := &http.Client{}
	if cacheOf(t, dsn, Options{Transport: compared, Owner: one}) != cacheOf(t, dsn, Options{Transport: compared, Owner: other}) {
		t.Error("a transport that can be compared is not shared by two owners")
	}
}

// A file that was replaced may be another identity's, so a new connector does not share the
// cache of the old one. With the old contents it does.
func TestSharingFollowsFiles(t *testing.T) {
	certificate := func(t *testing.T) string { return newCertificate(t) }
	text := func(*testing.T) string { return rand.Text() }
	rows := []struct {
		name, dsn string // {file} is the file
		variable  string // is set to the file; "": none
		path      string // of the file
		content   func(*testing.T) string
		shared    bool
	}{
		{name: "client certificate", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate={file}", path: "cert.pem", content: certificate},
		{name: "client certificate in a list", dsn: "aad_auth=managed-identity,client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate={file}", path: "cert.pem", content: certificate},
		{name: "certificate in the environment", dsn: "aad_auth=environment", variable: "AZURE_CLIENT_CERTIFICATE_PATH", path: "cert.pem", content: certificate},
		{name: "certificate in the environment, default", dsn: "", variable: "AZURE_CLIENT_CERTIFICATE_PATH", path: "cert.pem", content: certificate},
		{name: "certificate in the environment, another mode", dsn: "aad_auth=managed-identity", variable: "AZURE_CLIENT_CERTIFICATE_PATH", path: "cert.pem", content: certificate, shared: true},
		{name: "Azure CLI", dsn: "aad_auth=azure-cli", path: ".azure/azureProfile.json", content: text},
		{name: "Azure CLI, default", dsn: "", path: ".azure/azureProfile.json", content: text},
		{name: "Azure CLI, another mode", dsn: "aad_auth=managed-identity", path: ".azure/azureProfile.json", content: text, shared: true},
		{name: "Azure Developer CLI", dsn: "aad_auth=azure-developer-cli", path: ".azd/auth.json", content: text},
		{name: "Azure PowerShell", dsn: "aad_auth=azure-powershell", path: ".Azure/AzureRmContext.json", content: text},
		{name: "federated token, which azidentity reads again", dsn: "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file={file}", path: "token", content: text, shared: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_TENANT_ID", "t")
			t.Setenv("AZURE_CLIENT_ID", "c")
			file := filepath.Join(os.Getenv("HOME"), row.path)
			write := func(content string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if row.variable != "" {
				t.Setenv(row.variable, file)
			}
			dsn := "host=h user=u " + strings.ReplaceAll(row.dsn, "{file}", entratest.Quote(file))
			first, second := row.content(t), row.content(t)
			write(first)
			before := cacheOf(t, dsn, Options{})
			write(second)
			if got := cacheOf(t, dsn, Options{}) == before; got != row.shared {
				t.Errorf("with another file the cache is shared: %t, want %t", got, row.shared)
			}
			write(first)
			if cacheOf(t, dsn, Options{}) != before {
				t.Error("with the first file again the cache is not shared")
			}
		})
	}
}

// newCertificate returns a new certificate and its key, in PEM.
func newCertificate(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// The variables that name a tool's folder are part of the identity too.
func TestSharingFollowsToolVariables(t *testing.T) {
	for _, name := range []string{"AZURE_CONFIG_DIR", "AZD_CONFIG_DIR", "XDG_CONFIG_HOME", "MSAL_FORCE_REGION", "REGION_NAME", "ProgramData", "PATH"} {
		t.Run(name, func(t *testing.T) {
			entratest.CleanEnv(t)
			before := cacheOf(t, "host=h user=u", Options{})
			t.Setenv(name, t.TempDir())
			if cacheOf(t, "host=h user=u", Options{}) == before {
				t.Error("the cache is shared with another environment")
			}
		})
	}
}

// While a certificate is replaced again and again, connectors are made. None of them is shared
// later under the contents of a certificate that it does not present.
func TestFileReplacedMeanwhile(t *testing.T) {
	entratest.SkipOnWindows(t, "a file that is open is not replaced")
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "cert.pem")
	certs := []string{newCertificate(t), newCertificate(t)}
	write := func(i int) {
		next := file + ".next"
		if err := os.WriteFile(next, []byte(certs[i]), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Error(err)
		}
	}
	presented := ""
	o := Options{Transport: publicAuthority(func(r *http.Request) (*http.Response, error) {
		r.ParseForm()
		header, _, _ := strings.Cut(r.Form.Get("client_assertion"), ".")
		b, err := base64.RawURLEncoding.DecodeString(header)
		presented = string(b)
		return respond(http.StatusBadRequest, "{}"), err
	})}
	dsn := "host=h user=u aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_disable_instance_discovery=true aad_client_certificate=" + entratest.Quote(file)
	write(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i = 1 - i {
			select {
			case <-stop:
				return
			default:
				write(i)
			}
		}
	})
	for range 100 {
		cacheOf(t, dsn, o)
	}
	close(stop)
	wg.Wait()
	for i, cert := range certs {
		write(i)
		requestToken(t.Context(), cacheOf(t, dsn, o))
		block, _ := pem.Decode([]byte(cert))
		sum := sha256.Sum256(block.Bytes)
		if want := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(presented, want) {
			t.Errorf("certificate %d: the assertion's header is %s, want %s in it", i, presented, want)
		}
	}
}

// The last connector's Release closes idle connections to the token endpoint at once.
func TestReleaseClosesIdleConnections(t *testing.T) {
	entratest.CleanEnv(t)
	client := defaultClient().Transport.(*http.Transport)
	timeout := client.IdleConnTimeout
	client.IdleConnTimeout = 0 // never
	t.Cleanup(func() { client.IdleConnTimeout = timeout })
	states := make(chan http.ConnState, 10)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":"x","token_type":"Bearer","resource":"r","expires_on":"%d"}`, time.Now().Add(time.Hour).Unix())
	}))
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
	web.Start()
	defer web.Close()
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	cfg, cloud := parse(t, "host=h aad_auth=managed-identity aad_client_id="+rand.Text()) // azidentity keeps its tokens for the process
	cache, err := CacheFor(cfg, cloud, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requestToken(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	cache.Release()
	end := time.After(10 * time.Second)
	for {
		select {
		case state := <-states:
			if state == http.StateClosed {
				return
			}
		case <-end:
			t.Fatal("the connection is still open, want it closed")
		}
	}
}

// A program's own transport keeps its connections.
func TestReleaseLeavesTheProgramsTransport(t *testing.T) {
	entratest.CleanEnv(t)
	rows := []struct {
		name string
		o    Options
		want bool
	}{
		{"none", Options{}, true},
		{"its transport", Options{Transport: &http.Client{}}, false},
		{"its credential", Options{Credential: &entratest.Credential{}}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cfg, cloud := parse(t, "host=h user=u aad_auth=device-code")
			_, f, err := newCache(cfg, cloud, row.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.closeIdle != nil; got != row.want {
				t.Errorf("idle connections are closed: %t, want %t", got, row.want)
			}
		})
	}
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
		n := 0
		for _, refs := range caches.m {
			n += len(refs)
		}
		return n
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
