package credential

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Each mode of dsn's table has a constructor, except those that have no credential, and
// each constructor has a mode.
func TestEveryModeHasAConstructor(t *testing.T) {
	want := 0
	for _, mode := range dsn.Modes() {
		hasCredential := mode.Name != dsn.AccessToken && mode.Name != dsn.Password
		if hasCredential {
			want++
		}
		if got := constructors[mode.Name].new != nil; got != hasCredential {
			t.Errorf("mode %s has a constructor: %v, want %v; see constructors.go", mode.Name, got, hasCredential)
		}
	}
	if got := len(constructors); got != want {
		t.Errorf("%d constructors, want %d", got, want)
	}
}

// No constructor needs a network or a person.
func TestConstructors(t *testing.T) {
	dir := t.TempDir()
	assertion := filepath.Join(dir, "assertion")
	if err := os.WriteFile(assertion, []byte("assertion-"+entratest.Marker), 0o600); err != nil {
		t.Fatal(err)
	}
	const app = " aad_tenant_id=t aad_client_id=c"
	rows := []struct{ mode, params string }{
		{"default", ""},
		{"environment", ""},
		{"workload-identity", app + " aad_federated_token_file=" + entratest.Quote(assertion)},
		{"managed-identity", ""},
		{"client-secret", app + " aad_client_secret=s"},
		{"client-certificate", app + " aad_client_certificate=" + entratest.Quote(certificateFile(t))},
		{"azure-cli", ""},
		{"azure-developer-cli", ""},
		{"azure-powershell", ""},
		{"azure-pipelines", app + " aad_service_connection_id=s"},
		{"interactive-browser", ""},
		{"device-code", ""},
		{"managed-identity,azure-cli", ""},
	}
	for _, row := range rows {
		t.Run(row.mode, func(t *testing.T) {
			entratest.CleanEnv(t)
			environment := map[string]string{
				"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s",
				"SYSTEM_ACCESSTOKEN": "a", "SYSTEM_OIDCREQUESTURI": "https://pipelines.example/oidc",
			}
			for name, v := range environment {
				t.Setenv(name, v)
			}
			cfg, cloud := parse(t, "host=h user=u aad_auth="+row.mode+row.params)
			cred, err := newCredential(cfg, Options{}.forCloud(cloud))
			if err != nil {
				t.Fatalf("newCredential() = %v", err)
			}
			if cred == nil {
				t.Error("newCredential() = nil, want a credential")
			}
		})
	}
}

// A certificate's file may have been saved by a Windows program.
func TestCertificateWithByteOrderMark(t *testing.T) {
	text, err := os.ReadFile(certificateFile(t))
	if err != nil {
		t.Fatal(err)
	}
	wide := []byte{0xff, 0xfe}
	for _, b := range text {
		wide = append(wide, b, 0)
	}
	rows := []struct {
		name     string
		contents []byte
	}{{"UTF-8", append([]byte("\ufeff"), text...)}, {"UTF-16", wide}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			file := filepath.Join(t.TempDir(), "certificate.pem")
			if err := os.WriteFile(file, row.contents, 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, cloud := parse(t, "host=h user=u aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate="+entratest.Quote(file))
			if _, err := newCredential(cfg, Options{}.forCloud(cloud)); err != nil {
				t.Errorf("newCredential() = %v, want no error", err)
			}
		})
	}
}

// certificateFile writes a certificate with its key.
func certificateFile(t *testing.T) string {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	key, err := x509.MarshalPKCS8PrivateKey(web.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	path := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Where a credential cannot be made, the error names the setting or the file, and holds
// no secret.
func TestConstructorErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const app = " aad_tenant_id=t aad_client_id=c"
	rows := []struct{ name, params, want string }{
		{"certificate is a directory", "aad_auth=client-certificate aad_client_certificate=" + entratest.Quote(dir) + app, "aad_client_certificate: " + dir + " is not a regular file of at most 1 MiB"},
		{"certificate does not exist", "aad_auth=client-certificate aad_client_certificate=" + entratest.Quote(filepath.Join(dir, "none")) + app, "aad_client_certificate: open " + filepath.Join(dir, "none")},
		{"certificate is text", "aad_auth=client-certificate aad_client_certificate=" + entratest.Quote(text) + app + " aad_client_certificate_password=" + entratest.Marker, "parsing the certificate in " + text},
		{"federated token is a directory", "aad_auth=workload-identity aad_federated_token_file=" + entratest.Quote(dir) + app, "aad_federated_token_file: " + dir + " is not a regular file of at most 1 MiB"},
		{"no token of a pipeline", "aad_auth=azure-pipelines aad_service_connection_id=s" + app, "SYSTEM_ACCESSTOKEN is not set"},
		{"no environment", "aad_auth=environment", "missing environment variable AZURE_TENANT_ID"},
		{"one of a list", "aad_auth=managed-identity,client-certificate aad_client_certificate=" + entratest.Quote(text) + app, "parsing the certificate in " + text},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("SYSTEM_ACCESSTOKEN", "")
			cfg, cloud := parse(t, "host=h user=u "+row.params)
			_, err := CacheFor(cfg, cloud, Options{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("CacheFor() = %v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), entratest.Marker) {
				t.Errorf("CacheFor() = %v, which holds a secret", err)
			}
		})
	}
}
