package integration

import (
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestAuthorityThatRedirects checks that a token request which is redirected is not
// repeated elsewhere, in each mode that sends a secret.
func TestAuthorityThatRedirects(t *testing.T) {
	id, _ := newIdentity(t, "redirected")
	for _, tt := range []struct {
		mode  string
		setup func(t *testing.T)
		dsn   string
	}{
		{"workload-identity", func(t *testing.T) { az.SetenvOn(t, emulator.Kubernetes, id) }, ""},
		{"azure-pipelines", func(t *testing.T) { az.SetenvOn(t, emulator.Pipelines, id) }, ""},
		{"client-secret", func(*testing.T) {}, "aad_disable_instance_discovery=true aad_authority_host=" + az.Authority() +
			fill(" aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'", id)},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			tt.setup(t)
			r := &redirector{transport: az.Client().Transport}
			c, err := driver.NewConnector(az.DSN("user='"+id.Name+"'", "aad_auth="+tt.mode, tt.dsn), driver.WithTransport(&http.Client{Transport: r}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Credentials(t.Context())
			checkError(t, err, "redirects to https://elsewhere.example, which is not followed with a secret")
			if r.redirected != 1 {
				t.Errorf("token requests = %d, want 1", r.redirected)
			}
			if r.followed != "" {
				t.Errorf("the redirect was followed with %s", r.followed)
			}
		})
	}
}

// A redirector redirects token requests to another host.
type redirector struct {
	transport  http.RoundTripper
	mu         sync.Mutex
	redirected int
	followed   string // requests to the other host
}

func (r *redirector) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.URL.Host == "elsewhere.example" {
		dump, _ := httputil.DumpRequest(req, true) // any text will do
		r.followed += string(dump)
	}
	resp, err := r.transport.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/token") {
		return resp, err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	r.redirected++
	resp.StatusCode = http.StatusTemporaryRedirect
	resp.Header = http.Header{"Location": {"https://elsewhere.example/token"}}
	resp.Body = http.NoBody
	return resp, nil
}
