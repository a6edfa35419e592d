package credential

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// pages are what other servers than a metadata service respond.
var pages = []struct {
	name   string
	status int
	body   string
}{
	{"page", 200, "<html>sign in</html>"},
	{"nothing", 200, ""},
	{"JSON of another service", 200, `["another service"]`},
	{"400", 400, "<html>bad request</html>"},
	{"403", 403, "unreachable"},
	{"404", 404, "<?xml version=\"1.0\"?>"},
	{"407", 407, ""},
	{"410", 410, ""},
	{"429", 429, "slow down"},
	{"500", 500, ""},
	{"502", 502, "<html>"},
	{"503", 503, ""},
	{"504", 504, ""},
	{"redirect", 302, ""},
}

// identityHosts are a host of each kind that azidentity asks by HTTP, less Service Fabric.
var identityHosts = []struct {
	name     string
	env      map[string]string
	endpoint string
}{
	{"virtual machine", nil, "http://169.254.169.254"},
	{"App Service", map[string]string{"IDENTITY_ENDPOINT": "http://169.254.129.1:8081/msi/token", "IDENTITY_HEADER": "header"}, "http://169.254.129.1:8081"},
	{"machine learning", map[string]string{"MSI_ENDPOINT": "http://127.0.0.1:46808/MSI/auth", "MSI_SECRET": "machine-learning"}, "http://127.0.0.1:46808"},
	{"Cloud Shell", map[string]string{"MSI_ENDPOINT": "http://localhost:50342/oauth2/token"}, "http://localhost:50342"},
	{"Azure Arc", map[string]string{"IDENTITY_ENDPOINT": "http://127.0.0.1:40342/metadata/identity/oauth2/token", "IMDS_ENDPOINT": "http://127.0.0.1:40342"}, "http://127.0.0.1:40342"},
}

// In a list, and in mode default, the next credential follows at once where a server
// responds as no metadata service does, after a second where nothing responds at a virtual
// machine's address, and after three where nothing responds at an endpoint that the host
// names.
func TestNextAfterAnotherServer(t *testing.T) {
	type response struct {
		name string
		do   func(*http.Request) (*http.Response, error)
		took func(endpoint string) time.Duration
	}
	atOnce := func(string) time.Duration { return 0 }
	responses := []response{
		{"silence", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, func(endpoint string) time.Duration {
			if endpoint == "http://"+metadataAddress {
				return time.Second
			}
			return 3 * time.Second
		}},
		{"nobody", func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }, atOnce},
		{"silence after the probe", func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == metadataAddress && r.Header.Get("Metadata") == "" {
				return respond(502, "<html>"), nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, func(string) time.Duration { return 3 * time.Second }},
	}
	for _, p := range pages {
		responses = append(responses, response{p.name, func(*http.Request) (*http.Response, error) {
			resp := respond(p.status, p.body)
			resp.Header.Set("Retry-After", "30")
			resp.Header.Set("Location", "https://elsewhere.example/")
			return resp, nil
		}, atOnce})
	}
	for _, host := range identityHosts {
		for _, mode := range []string{"managed-identity,azure-cli", "default"} {
			for _, row := range responses {
				t.Run(host.name+", "+mode+", "+row.name, func(t *testing.T) {
					entratest.CleanEnv(t)
					missing := entratest.NoTools(t)
					for name, value := range host.env {
						t.Setenv(name, value)
					}
					synctest.Test(t, func(t *testing.T) {
						cache := cacheOf(t, "host=h user=u aad_auth="+mode, Options{Transport: &fakeTransport{row.do}})
						began := time.Now()
						_, err := requestToken(t.Context(), cache)
						if got, want := time.Since(began), row.took(host.endpoint); got != want {
							t.Errorf("Token() took %s, want %s", got, want)
						}
						if err == nil || !strings.Contains(err.Error(), "AzureCLICredential: "+missing) {
							t.Errorf("Token() = %v, want the next credential to be asked", err)
						}
					})
				})
			}
		}
	}
}

// A mode of its own waits a little for a metadata service that is being updated, and says
// what responded in its place.
func TestAnotherServerAlone(t *testing.T) {
	for _, host := range identityHosts {
		for _, p := range pages {
			t.Run(host.name+", "+p.name, func(t *testing.T) {
				entratest.CleanEnv(t)
				for name, value := range host.env {
					t.Setenv(name, value)
				}
				synctest.Test(t, func(t *testing.T) {
					requests := 0
					cache := cacheOf(t, "host=h user=u aad_auth=managed-identity", Options{Transport: &fakeTransport{func(*http.Request) (*http.Response, error) {
						requests++
						return respond(p.status, p.body), nil
					}}})
					began := time.Now()
					_, err := requestToken(t.Context(), cache)
					if got := time.Since(began); got > 3*time.Second {
						t.Errorf("Token() took %s, want at most 3s", got)
					}
					wantRequests := 1
					if p.status >= 500 || p.status == http.StatusTooManyRequests {
						wantRequests = 2
					}
					if requests != wantRequests {
						t.Errorf("%d requests, want %d", requests, wantRequests)
					}
					want := fmt.Sprintf("the response of %s (HTTP %d) is not JSON of a metadata service", host.endpoint, p.status)
					if p.status == http.StatusFound {
						want = "which is not followed with a secret"
					}
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Token() = %v, want %q", err, want)
					}
				})
			})
		}
	}
}

// What a metadata service refuses is an answer, which ends a list. What it asks to be
// tried again is tried again.
func TestRefusalEndsAList(t *testing.T) {
	rows := []struct {
		name     string
		statuses []int // of one request after another, less the probe's; 200 is a token
		want     string
	}{
		{"identity not found", []int{400}, "no such identity"},
		{"not allowed", []int{403}, "no such identity"},
		{"too many requests", []int{429}, "no such identity"},
		{"identity of late", []int{404, 404, 200}, ""},
		{"service of late", []int{503, 500, 200}, ""},
		{"page of late", []int{503, -502, 200}, ""}, // once a metadata service has responded
	}
	for _, host := range identityHosts[:3] {
		for _, mode := range []string{"managed-identity,azure-cli", "default"} {
			for _, row := range rows {
				t.Run(host.name+", "+mode+", "+row.name, func(t *testing.T) {
					if host.name != "virtual machine" && row.name == "identity of late" {
						t.Skip("azidentity tries again after 404 on virtual machines only")
					}
					entratest.CleanEnv(t)
					entratest.NoTools(t)
					for name, value := range host.env {
						t.Setenv(name, value)
					}
					synctest.Test(t, func(t *testing.T) {
						statuses := row.statuses
						do := func(r *http.Request) (*http.Response, error) {
							if r.URL.Host == metadataAddress && r.Header.Get("Metadata") == "" {
								return respond(400, `{"error":"invalid_request"}`), nil
							}
							status := statuses[0]
							if len(statuses) > 1 {
								statuses = statuses[1:]
							}
							switch {
							case status == 200:
								return respond(200, fmt.Sprintf(`{"access_token":%q,"expires_on":"%d"}`, entratest.JWT(nil), time.Now().Add(4*time.Minute).Unix())), nil
							case status < 0:
								return respond(-status, "<html>"), nil
							}
							resp := respond(status, `{"error":"e","error_description":"no such identity"}`)
							if status == http.StatusTooManyRequests {
								resp.Header.Set("Retry-After", "3600")
							}
							return resp, nil
						}
						text := "host=h user=u aad_auth=" + mode
						if mode != "default" {
							text += " aad_client_id=late"
						}
						cache := cacheOf(t, text, Options{Transport: &fakeTransport{do}})
						_, err := requestToken(t.Context(), cache)
						if row.want == "" {
							if err != nil {
								t.Errorf("Token() = %v, want a token", err)
							}
							return
						}
						if err == nil || !strings.Contains(err.Error(), row.want) {
							t.Errorf("Token() = %v, want %q", err, row.want)
						}
						ends := !strings.Contains(fmt.Sprint(err), "AzureCLICredential")
						// azidentity goes past a virtual machine without an identity of its own.
						goesOn := host.name == "virtual machine" && mode == "default" && row.statuses[0] == 400
						if ends == goesOn {
							t.Errorf("Token() = %v, want the list to end: %v", err, !goesOn)
						}
					})
				})
			}
		}
	}
}

// A mode of its own leaves the endpoint alone for as long as it asks, without waiting in
// the request. A list goes on, whatever a server that may be a proxy asks.
func TestRetryAfterOfAnotherServer(t *testing.T) {
	rows := []struct {
		mode    string
		chained bool
		want    time.Duration
	}{
		{"managed-identity", false, 30 * time.Second},
		{"managed-identity,azure-cli", true, 0},
	}
	for _, row := range rows {
		t.Run(row.mode, func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			synctest.Test(t, func(t *testing.T) {
				f := fetcherOf(t, "host=h user=u aad_auth="+row.mode, Options{Transport: &fakeTransport{func(*http.Request) (*http.Response, error) {
					resp := respond(http.StatusTooManyRequests, "slow down")
					resp.Header.Set("Retry-After", "30")
					return resp, nil
				}}})
				f.chained = row.chained
				began := time.Now()
				got, err := f.Fetch(t.Context(), token.Request{})
				if err == nil {
					t.Fatal("Fetch() = nil, want an error")
				}
				if got.RetryAfter != row.want {
					t.Errorf("RetryAfter = %s, want %s", got.RetryAfter, row.want)
				}
				if got := time.Since(began); got > 3*time.Second {
					t.Errorf("Fetch() took %s, want at most 3s", got)
				}
			})
		})
	}
}
