package credential

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// onFabric makes this host one of Service Fabric, whose endpoint is web.
func onFabric(t *testing.T, web *httptest.Server) {
	t.Helper()
	sum := sha1.Sum(web.Certificate().Raw)
	t.Setenv("IDENTITY_ENDPOINT", web.URL+"/sf")
	t.Setenv("IDENTITY_HEADER", "header-"+entratest.Marker)
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", hex.EncodeToString(sum[:]))
}

// tokenResponse responds with a token that is valid for four minutes, so that azidentity
// does not keep it.
func tokenResponse(w http.ResponseWriter, appid string) {
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":240,"expires_on":"%d"}`,
		entratest.JWT(map[string]any{"appid": appid}), time.Now().Add(4*time.Minute).Unix())
}

// On Service Fabric the rules for secrets hold for every request but those to its endpoint.
func TestApplicationOnServiceFabric(t *testing.T) {
	const app = " aad_disable_instance_discovery=true aad_authority_host={authority}"
	rows := []struct {
		name, dsn, tokenHost string // {authority}, {tls} and {plain} are URLs
		redirect             string
		endless              bool
		want                 string
	}{
		{name: "redirect over TLS", dsn: "aad_auth=default", tokenHost: "{authority}", redirect: "{tls}", want: "which is not followed with a secret"},
		{name: "redirect without TLS", dsn: "aad_auth=default", tokenHost: "{authority}", redirect: "{plain}", want: "which is not followed with a secret"},
		{name: "redirect in a list", dsn: "aad_auth=environment,managed-identity", tokenHost: "{authority}", redirect: "{plain}", want: "which is not followed with a secret"},
		{name: "token endpoint without TLS", dsn: "aad_auth=default", tokenHost: "{plain}", want: "without TLS"},
		{name: "token endpoint without TLS in a list", dsn: "aad_auth=managed-identity,environment", tokenHost: "{plain}", want: "without TLS"},
		{name: "endless response", dsn: "aad_auth=default", tokenHost: "{authority}", endless: true, want: "longer than 1 MiB"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			var others atomic.Int64
			other := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				others.Add(1)
				tokenResponse(w, "evil")
			})
			encrypted := httptest.NewTLSServer(other)
			t.Cleanup(encrypted.Close)
			plain := httptest.NewServer(other)
			t.Cleanup(plain.Close)
			var urls *strings.Replacer
			authority := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "openid-configuration"):
					document := discoveryDocument("https://" + r.Host)
					io.WriteString(w, strings.Replace(document, "https://"+r.Host+"/t/token", urls.Replace(row.tokenHost)+"/t/token", 1))
				case row.endless:
					io.WriteString(w, strings.Repeat(" ", maxResponseBytes+1))
				default:
					http.Redirect(w, r, urls.Replace(row.redirect), http.StatusTemporaryRedirect)
				}
			}))
			t.Cleanup(authority.Close)
			urls = strings.NewReplacer("{authority}", authority.URL, "{tls}", encrypted.URL, "{plain}", plain.URL)
			fabric := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "starting", http.StatusServiceUnavailable)
			}))
			t.Cleanup(fabric.Close)
			onFabric(t, fabric)
			t.Setenv("AZURE_TENANT_ID", "t")
			t.Setenv("AZURE_CLIENT_ID", "c")
			t.Setenv("AZURE_CLIENT_SECRET", "secret-"+entratest.Marker)
			f := fetcherOf(t, "host=h user=u "+urls.Replace(row.dsn+app), Options{Transport: authority.Client()})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := f.Fetch(ctx, token.Request{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Fetch() = %v, want %q", err, row.want)
			}
			if got := others.Load(); got != 0 {
				t.Errorf("%d requests to other servers, want none", got)
			}
		})
	}
}

// Mode default signs in with the identity of Service Fabric, whose certificate no root
// has signed. The endpoint's own redirect is not followed.
func TestDefaultOnServiceFabric(t *testing.T) {
	rows := []struct {
		name     string
		redirect bool
		want     string // in the error; "" for a token
	}{
		{"token", false, ""},
		{"redirect", true, "redirects are not permitted"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			fabric := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if row.redirect && r.URL.Path == "/sf" {
					http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
					return
				}
				tokenResponse(w, "fabric")
			}))
			t.Cleanup(fabric.Close)
			onFabric(t, fabric)
			f := fetcherOf(t, "host=h user=u", Options{})
			ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: -1})
			got, err := f.Fetch(ctx, token.Request{IssuedAfter: time.Now()})
			if row.want != "" {
				if err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("Fetch() = %v, want %q", err, row.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := token.ParseClaims(got.Value).AppID; got != "fabric" {
				t.Errorf("the token is of %q, want fabric", got)
			}
		})
	}
}
