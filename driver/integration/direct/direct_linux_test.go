// Package direct tests in a network namespace, where the addresses of Azure's metadata
// services are the test's, that no proxy comes between them and the driver.
package direct

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// jwt returns an unsigned token of an application.
func jwt(appid string) string {
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(`{"appid":"`+appid+`"}`)) + ".x"
}

// A behavior is what a server does that is no metadata service.
type behavior struct {
	name   string
	status int // 0: it does not respond
	body   string
}

var behaviors = []behavior{
	{"400", 400, "<html>bad request</html>"},
	{"403", 403, "<html>blocked</html>"},
	{"404", 404, ""},
	{"407", 407, "<html>sign in</html>"},
	{"502", 502, "<html>bad gateway</html>"},
	{"503", 503, ""},
	{"504", 504, "<html>timeout</html>"},
	{"page", 200, "<html>sign in</html>"},
	{"redirect", 302, ""},
	{"silence", 0, ""},
}

func (b behavior) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.status == 0 {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Location", "http://"+proxyAddress+"/login")
	w.Header().Set("Proxy-Authenticate", "Negotiate")
	w.WriteHeader(b.status)
	io.WriteString(w, b.body)
}

// metadataService responds as a virtual machine's does, and App Service's, with tokens of
// four minutes, which azidentity does not keep.
func metadataService(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata") == "" && r.Header.Get("X-Identity-Header") == "" {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`)
		return
	}
	writeToken(w, "metadata")
}

func writeToken(w http.ResponseWriter, appid string) {
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":"240","expires_on":"%d"}`, jwt(appid), time.Now().Add(4*time.Minute).Unix())
}

// A host is where a managed identity's endpoint is.
type host struct {
	name, address string
	wait          time.Duration // for an endpoint that does not respond, in a list
}

var hosts = []host{
	{"virtual machine", metadataAddress, time.Second},
	{"App Service", linkLocalAddress, 3 * time.Second},
	{"endpoint that a variable names", namedAddress, 3 * time.Second},
}

// setenv sets what the host sets.
func (h host) setenv(t *testing.T) {
	t.Helper()
	if h.address != metadataAddress {
		t.Setenv("IDENTITY_ENDPOINT", "http://"+h.address+"/msi/token")
		t.Setenv("IDENTITY_HEADER", "the host's secret")
	}
}

// A proxy counts its requests. What it does with them can be changed.
type proxy struct {
	requests atomic.Int64
	handler  atomic.Value // of a behavior
	tunnels  atomic.Bool  // CONNECT leads to the authority
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	if p.tunnels.Load() && r.Method == http.MethodConnect && r.Host == "example.com:443" {
		tunnel(w)
		return
	}
	p.handler.Load().(behavior).ServeHTTP(w, r)
}

var requests int

// tokenOf requests a token and returns whose it is, with the time that took.
func tokenOf(t *testing.T, dsn string) (appid string, took time.Duration, err error) {
	t.Helper()
	requests++
	t.Setenv("AZURE_TEST_REQUEST", fmt.Sprint(requests)) // or connectors would share a token
	c, err := driver.NewConnector("host=h user=u " + dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	cred, err := c.Credentials(context.Background())
	for _, name := range []string{"metadata", "azure-cli", "authority"} {
		if err == nil && cred.Password.Value() == jwt(name) {
			appid = name
		}
	}
	return appid, time.Since(began), err
}

// checkToken requests a token, which must be that of an application, within a time.
func checkToken(t *testing.T, dsn, want string, within time.Duration) {
	t.Helper()
	got, took, err := tokenOf(t, dsn)
	if err != nil {
		t.Errorf("the token: %v, want no error", err)
	}
	if got != want {
		t.Errorf("the token is of %q, want %q", got, want)
	}
	if took > within {
		t.Errorf("the token took %s, want at most %s", took, within)
	}
}

// slack is what a busy machine needs beside the driver's own bounds.
const slack = 3 * time.Second

var modes = []string{"aad_auth=managed-identity", "aad_auth=managed-identity,azure-cli", "aad_auth=default"}

// TestDirect runs with HTTP_PROXY and HTTPS_PROXY set. A metadata service is asked past
// the proxy. Without one, a list and mode default go on to the next credential in time.
// An authority is asked through the proxy as before.
func TestDirect(t *testing.T) {
	if os.Getenv(inside) == "" {
		runInNamespace(t)
		return
	}
	p := &proxy{}
	p.handler.Store(behaviors[0])
	serve(t, proxyAddress, p)
	directly := func(t *testing.T, b behavior) {
		t.Helper()
		p.handler.Store(b)
		before := p.requests.Load()
		t.Cleanup(func() {
			if got := p.requests.Load() - before; got != 0 {
				t.Errorf("the proxy received %d requests, want none", got)
			}
		})
	}

	t.Run("nobody at the address", func(t *testing.T) {
		for _, h := range []host{{"virtual machine", metadataAddress, 0}, {"App Service", nobodyAddress, 0}} {
			for _, b := range behaviors {
				t.Run(h.name+", proxy "+b.name, func(t *testing.T) {
					h.setenv(t)
					directly(t, b)
					checkToken(t, modes[1], "azure-cli", slack)
					checkToken(t, modes[2], "azure-cli", slack)
				})
			}
		}
	})
	t.Run("another server at the address", func(t *testing.T) {
		for _, h := range hosts {
			for _, b := range behaviors {
				t.Run(h.name+", "+b.name, func(t *testing.T) {
					h.setenv(t)
					directly(t, b)
					serve(t, h.address, b)
					wait := slack
					if b.status == 0 {
						wait += h.wait
					}
					checkToken(t, modes[1], "azure-cli", wait)
					checkToken(t, modes[2], "azure-cli", wait)
				})
			}
		}
	})
	t.Run("a mode of its own does not blame the authority", func(t *testing.T) {
		for _, h := range hosts {
			for _, b := range behaviors {
				t.Run(h.name+", "+b.name, func(t *testing.T) {
					h.setenv(t)
					directly(t, b)
					serve(t, h.address, b)
					_, took, err := tokenOf(t, modes[0]+" aad_token_timeout=2s")
					if err == nil {
						t.Fatal("there is a token, want an error")
					}
					if took > 2*time.Second+slack {
						t.Errorf("the error took %s, want at most 2s", took)
					}
					if strings.Contains(err.Error(), "login.microsoftonline.com") || strings.Contains(err.Error(), "the authority") {
						t.Errorf("the error is %v, want it not to name the authority", err)
					}
					if b.status != 302 && !strings.Contains(err.Error(), "check that this host has a managed identity") {
						t.Errorf("the error is %v, want a hint about this host", err)
					}
				})
			}
		}
	})
	t.Run("metadata service", func(t *testing.T) {
		for _, h := range hosts {
			t.Run(h.name, func(t *testing.T) {
				h.setenv(t)
				serve(t, h.address, http.HandlerFunc(metadataService))
				for _, b := range behaviors {
					for _, mode := range modes {
						t.Run(mode+", proxy "+b.name, func(t *testing.T) {
							directly(t, b)
							checkToken(t, mode, "metadata", slack)
						})
					}
				}
			})
		}
	})
	t.Run("authority through the proxy", func(t *testing.T) {
		authority := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "openid-configuration") {
				fmt.Fprintf(w, `{"issuer":"https://%[1]s/t/v2.0","authorization_endpoint":"https://%[1]s/t/authorize","token_endpoint":"https://%[1]s/t/token"}`, r.Host)
				return
			}
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":240}`, jwt("authority"))
		}))
		authority.Listener.Close()
		authority.Listener = listen(t, authorityAddress)
		authority.StartTLS()
		t.Cleanup(authority.Close)
		p.tunnels.Store(true)
		before := p.requests.Load()
		checkToken(t, "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true aad_authority_host=https://example.com", "authority", slack)
		if got := p.requests.Load() - before; got == 0 {
			t.Error("the proxy received no request, want the authority's")
		}
	})
}
