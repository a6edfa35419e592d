package credential

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Of an endless response no more is read, or kept, than an authority would send.
func TestEndlessResponse(t *testing.T) {
	const most = 32 << 20 // bytes that the authority would send
	endless := func(status int, sent *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if status != http.StatusOK {
				w.Header().Set("Retry-After", "60") // ends the request
			}
			w.WriteHeader(status)
			io.WriteString(w, `{"error":"x","token_type":"Bearer","expires_in":3600,"access_token":"`)
			block := []byte(strings.Repeat("a", 1<<20))
			for sent.Load() < most {
				if _, err := w.Write(block); err != nil {
					return
				}
				sent.Add(int64(len(block)))
			}
			io.WriteString(w, `"}`)
		}
	}
	t.Run("token", func(t *testing.T) {
		entratest.CleanEnv(t)
		var sent atomic.Int64
		web := newAuthority(t, endless(http.StatusOK, &sent))
		_, err := requestToken(t.Context(), cacheOf(t, application+" aad_authority_host="+web.URL, Options{Transport: web.Client()}))
		const want = "longer than 1 MiB"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("Token() = %.1000v, want %q", err, want)
		}
		if got := len(err.Error()); got > 1000 {
			t.Errorf("Token() = %.1000v, which has %d bytes, want at most 1000", err, got)
		}
		if got := sent.Load(); got >= most {
			t.Errorf("%d MiB were read, want less than %d", got>>20, most>>20)
		}
	})
	t.Run("refusal", func(t *testing.T) {
		entratest.CleanEnv(t)
		var sent atomic.Int64
		web := newAuthority(t, endless(http.StatusTooManyRequests, &sent))
		_, err := requestToken(t.Context(), cacheOf(t, application+" aad_authority_host="+web.URL, Options{Transport: web.Client()}))
		const want = "(HTTP 429)"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("Token() = %.1000v, want %q", err, want)
		}
		if got := len(err.Error()); got > 1000 {
			t.Errorf("Token() = %.1000v, which has %d bytes, want at most 1000", err, got)
		}
		var failed *azidentity.AuthenticationFailedError
		if !errors.As(err, &failed) {
			t.Fatalf("Token() = %.1000v, want azidentity's error", err)
		}
		b, _ := io.ReadAll(failed.RawResponse.Body)
		if len(b) > maxResponseBytes {
			t.Errorf("the error keeps %d MiB, want at most 1", len(b)>>20)
		}
	})
}

// A response that breaks off is not requested again by POST: a code or a refresh token
// may be used up. By GET it is. Its Retry-After is obeyed.
func TestResponseThatBreaksOff(t *testing.T) {
	var requests atomic.Int64
	breakOff := func(status int, retryAfter string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(status)
			io.WriteString(w, `{"access_token":"`)
		}
	}
	const managed = "host=h user=u aad_auth=managed-identity"
	rows := []struct {
		name, dsn    string
		respond      http.HandlerFunc
		wantRequests int64
		wantWait     time.Duration
	}{
		{"token by POST", application, breakOff(http.StatusOK, ""), 1, 0},
		{"refusal by POST", application, breakOff(http.StatusTooManyRequests, "60"), 1, time.Minute},
		{"token by GET", managed, breakOff(http.StatusOK, ""), 4, 0},
		{"refusal by GET", managed, breakOff(http.StatusTooManyRequests, "3600"), 1, time.Hour},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			requests.Store(0)
			web := newAuthority(t, row.respond)
			text := row.dsn
			if text == managed {
				t.Setenv("IDENTITY_ENDPOINT", web.URL)
				t.Setenv("IDENTITY_HEADER", "h")
			} else {
				text += " aad_authority_host=" + web.URL
			}
			f := fetcherOf(t, text, Options{Transport: web.Client()})
			ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
			got, err := f.Fetch(ctx, token.Request{})
			const want = "unexpected EOF"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Fetch() = %v, want %q", err, want)
			}
			if got := requests.Load(); got != row.wantRequests {
				t.Errorf("%d requests, want %d", got, row.wantRequests)
			}
			if got.RetryAfter != row.wantWait {
				t.Errorf("RetryAfter = %s, want %s", got.RetryAfter, row.wantWait)
			}
		})
	}
}

// What another try would not avoid is tried once.
func TestNonRetriable(t *testing.T) {
	assertion := filepath.Join(t.TempDir(), "assertion")
	if err := os.WriteFile(assertion, []byte("assertion-"+entratest.Marker), 0o600); err != nil {
		t.Fatal(err)
	}
	responses := []struct {
		name    string
		respond http.HandlerFunc
		want    string
	}{
		{
			name: "redirect",
			respond: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
			},
			want: "redirects to https://elsewhere.example, which is not followed with a secret",
		},
		{
			name:    "too long",
			respond: func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxResponseBytes+1)) },
			want:    "is longer than 1 MiB",
		},
		{
			name:    "not JSON",
			respond: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>sign in</html>") },
			want:    "is not JSON",
		},
	}
	const app = " aad_tenant_id=t aad_client_id=c aad_disable_instance_discovery=true aad_authority_host={url} "
	modes := []struct {
		mode, params string
		env          map[string]string // {url} is the server's
	}{
		{mode: "client-secret", params: app + "aad_client_secret=secret-" + entratest.Marker},
		{mode: "workload-identity", params: app + "aad_federated_token_file=" + entratest.Quote(assertion)},
		{mode: "azure-pipelines", params: app + "aad_service_connection_id=s", env: map[string]string{"SYSTEM_ACCESSTOKEN": "access-" + entratest.Marker, "SYSTEM_OIDCREQUESTURI": "{url}/oidc"}},
		{mode: "managed-identity", env: map[string]string{"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "header-" + entratest.Marker}},
	}
	for _, response := range responses {
		for _, mode := range modes {
			t.Run(response.name+", "+mode.mode, func(t *testing.T) {
				entratest.CleanEnv(t)
				var requests atomic.Int64
				web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					response.respond(w, r)
				}))
				t.Cleanup(web.Close)
				for name, v := range mode.env {
					t.Setenv(name, strings.ReplaceAll(v, "{url}", web.URL))
				}
				f := fetcherOf(t, "host=h user=u aad_auth="+mode.mode+strings.ReplaceAll(mode.params, "{url}", web.URL), Options{Transport: web.Client()})
				ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
				got, err := f.Fetch(ctx, token.Request{})
				if err == nil || !strings.Contains(got.Cause, response.want) {
					t.Errorf("Fetch() = %v, cause %q, want %q", err, got.Cause, response.want)
				}
				if got := requests.Load(); got != 1 {
					t.Errorf("%d requests, want 1", got)
				}
			})
		}
	}
}

// send sends a request as credentials do.
func send(t *testing.T, transport policy.Transporter, method, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return safeTransport{transport}.Do(req)
}

// A response of 1 MiB is read.
func TestLongestResponse(t *testing.T) {
	resp, err := send(t, &fakeTransport{func(*http.Request) (*http.Response, error) {
		return respond(http.StatusOK, strings.Repeat("x", maxResponseBytes)), nil
	}}, http.MethodGet, "https://h/")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("ReadAll() = %v, want nil", err)
	}
	if len(b) != maxResponseBytes {
		t.Errorf("ReadAll() returned %d bytes, want %d", len(b), maxResponseBytes)
	}
}

// What is not sent over TLS goes to the endpoints of this host alone: to those that its
// variables name, with their scheme and port, and to the fixed ones.
func TestSecretsNeedTLS(t *testing.T) {
	const without = "a secret was to be sent to %s, without TLS"
	rows := []struct {
		method, url string
		refused     string // scheme and host; "" if the request is sent
	}{
		{http.MethodPost, "https://login.example/token", ""},
		{http.MethodGet, "https://login.example/discovery", ""},
		{http.MethodPost, "http://login.example/token", "http://login.example"},
		{http.MethodGet, "http://login.example/discovery", "http://login.example"},
		{http.MethodPost, "http://localhost.example/token", "http://localhost.example"},

		// An authority's metadata could name any port of this machine.
		{http.MethodPost, "http://127.0.0.1:1/token", "http://127.0.0.1:1"},
		{http.MethodPost, "http://[::1]:1/token", "http://[::1]:1"},
		{http.MethodPost, "http://LOCALHOST/token", "http://LOCALHOST"},
		{http.MethodPost, "http://169.254.169.254/token", "http://169.254.169.254"},
		{http.MethodPost, "http://127.0.0.1:40342/token", "http://127.0.0.1:40342"},
		{http.MethodPost, "http://127.0.0.1:4001/token", "http://127.0.0.1:4001"},
		{http.MethodGet, "http://127.0.0.1:1/token", "http://127.0.0.1:1"},

		{http.MethodGet, "http://169.254.169.254/metadata", ""},
		{http.MethodGet, "http://169.254.169.254:80/metadata", ""},
		{http.MethodGet, "http://169.254.169.254:8080/metadata", "http://169.254.169.254:8080"},
		{http.MethodGet, "http://127.0.0.1:40342/metadata", ""},
		{http.MethodGet, "http://127.0.0.1:4001/other", ""},
		{http.MethodGet, "http://identity.example/", ""},
		{http.MethodGet, "http://IDENTITY.example.:80/", ""},
		{http.MethodGet, "http://identity.example:81/", "http://identity.example:81"},
		{http.MethodPost, "http://localhost:5001/oauth2/token", ""},
		{http.MethodPost, "http://localhost:5002/oauth2/token", "http://localhost:5002"},
		{http.MethodPost, "http://identity.example/", "http://identity.example"},
		{http.MethodPost, "http://[::1]:6001/oidc", ""},
		{http.MethodGet, "http://[::1]:6001/oidc", "http://[::1]:6001"},
	}
	entratest.CleanEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:4001/msi")
	t.Setenv("IMDS_ENDPOINT", "http://identity.example")
	t.Setenv("MSI_ENDPOINT", "http://localhost:5001/oauth2/token")
	t.Setenv("SYSTEM_OIDCREQUESTURI", "http://[::1]:6001/oidc")
	for _, row := range rows {
		t.Run(row.method+" "+row.url, func(t *testing.T) {
			requests := 0
			transport := &fakeTransport{func(*http.Request) (*http.Response, error) {
				requests++
				return respond(http.StatusOK, "{}"), nil
			}}
			_, err := send(t, transport, row.method, row.url)
			want := "<nil>"
			wantRequests := 1
			if row.refused != "" {
				want = fmt.Sprintf(without, row.refused)
				wantRequests = 0
			}
			if got := fmt.Sprint(err); got != want {
				t.Errorf("Do() = %s, want %s", got, want)
			}
			if requests != wantRequests {
				t.Errorf("%d requests, want %d", requests, wantRequests)
			}
		})
	}
}

// A program's HTTP client is copied: its own requests still follow redirects.
func TestClientIsCopied(t *testing.T) {
	client := &http.Client{}
	got, ok := newTransport(client).(*http.Client)
	if !ok || got == client {
		t.Fatalf("newTransport() = %T %p, want a copy of %p", got, got, client)
	}
	if got.CheckRedirect == nil {
		t.Error("the copy follows redirects")
	}
	if client.CheckRedirect != nil {
		t.Error("the program's client does not follow redirects any more")
	}
}

// The default client works without an option.
func TestDefaultClient(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer web.Close()
	entratest.CleanEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	resp, err := send(t, newTransport(nil), http.MethodGet, web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("StatusCode = %d, want 200", resp.StatusCode)
	}
}

// A redirect is not followed, and not quoted with its path.
func TestLocation(t *testing.T) {
	rows := []struct{ name, location, want string }{
		{"another host", "https://elsewhere.example/path-" + entratest.Marker, "https://elsewhere.example"},
		{"no location", "", "nowhere"},
		{"not a URL", "https://[" + entratest.Marker, "nowhere"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := &http.Response{Header: http.Header{}}
			resp.Header.Set("Location", row.location)
			if got := location(resp); got != row.want {
				t.Errorf("location() = %q, want %q", got, row.want)
			}
		})
	}
}

// Only all three variables mean Service Fabric.
func TestOnServiceFabric(t *testing.T) {
	names := []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"}
	rows := []struct {
		name  string
		count int
		want  bool
	}{{"none", 0, false}, {"App Service", 2, false}, {"Service Fabric", 3, true}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("IDENTITY_SERVER_THUMBPRINT", "")
			for _, name := range names[:row.count] {
				t.Setenv(name, "x")
			}
			if got := onServiceFabric(); got != row.want {
				t.Errorf("onServiceFabric() = %v, want %v", got, row.want)
			}
		})
	}
}
