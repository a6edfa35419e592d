package driver

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// An approach is a mode with its secret, which it shows to those it asks.
type approach struct {
	mode, params string
	env          map[string]string // {url} is the server's
}

// approaches are the modes that make requests, with the entratest.Marker for their secrets.
// That of managed identities is in a header of the request.
func approaches(t *testing.T) []approach {
	assertion := filepath.Join(t.TempDir(), "assertion")
	if err := os.WriteFile(assertion, []byte("assertion-"+entratest.Marker), 0o600); err != nil {
		t.Fatal(err)
	}
	const app = "aad_tenant_id=t aad_client_id=c aad_disable_instance_discovery=true aad_authority_host={url} "
	return []approach{
		{mode: "client-secret", params: app + "aad_client_secret=secret-" + entratest.Marker},
		{mode: "workload-identity", params: app + "aad_federated_token_file=" + assertion},
		{mode: "azure-pipelines", params: app + "aad_service_connection_id=s", env: map[string]string{"SYSTEM_ACCESSTOKEN": "access-" + entratest.Marker, "SYSTEM_OIDCREQUESTURI": "{url}/oidc"}},
		{mode: "managed-identity", env: map[string]string{"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "header-" + entratest.Marker}},
		{mode: "managed-identity", params: "aad_client_id=c", env: map[string]string{"MSI_ENDPOINT": "{url}/ml", "MSI_SECRET": "ml-" + entratest.Marker}},
		{mode: "managed-identity", params: "aad_client_id=imds"}, // no secret, but a token to be got
		{mode: "managed-identity,environment", params: "aad_client_id=listed"},
	}
}

// leading is web's client, to which far is at addr.
type leading struct {
	http.RoundTripper
	far, addr string
}

func (l leading) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == l.far {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = "https", l.addr
	}
	return l.RoundTripper.RoundTrip(r)
}

// metadata is web's client, to which web is the metadata service too.
func metadata(web *httptest.Server) *http.Client {
	return &http.Client{Transport: leading{web.Client().Transport, "169.254.169.254", web.Listener.Addr().String()}}
}

// approach makes a connector that asks web by a, in half a second.
func (a approach) connector(t *testing.T, url string, transport policy.Transporter, opts ...Option) *Connector {
	t.Helper()
	entratest.CleanEnv(t)
	for _, name := range []string{"MSI_SECRET", "SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for name, v := range a.env {
		t.Setenv(name, strings.ReplaceAll(v, "{url}", url))
	}
	dsn := "host=h user=u aad_token_timeout=500ms aad_auth=" + a.mode + " " + strings.ReplaceAll(a.params, "{url}", url)
	c, err := NewConnector(dsn, append(opts, WithTransport(transport))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// discovery answers for the authority's metadata, and true if that was asked for.
func discovery(w http.ResponseWriter, r *http.Request, issuer, token string) bool {
	if !strings.HasSuffix(r.URL.Path, "openid-configuration") {
		return false
	}
	json.NewEncoder(w).Encode(map[string]string{"issuer": issuer + "/t/v2.0", "authorization_endpoint": issuer + "/t/authorize", "token_endpoint": token + "/t/token"})
	return true
}

// oidc answers for the pipeline's assertion, and true if that was asked for.
func oidc(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/oidc" {
		fmt.Fprintf(w, `{"oidcToken":"assertion-%s"}`, entratest.Marker)
	}
	return r.URL.Path == "/oidc"
}

// No secret follows a redirect, whoever sends it, to wherever, nor a token endpoint
// without TLS.
func TestRedirects(t *testing.T) {
	heard := &record{}
	listen := func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		heard.Write(dump)
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":240,"expires_on":"%d"}`, entratest.JWT(map[string]any{"oid": "evil"}), time.Now().Add(4*time.Minute).Unix())
	}
	evil := httptest.NewTLSServer(http.HandlerFunc(listen))
	defer evil.Close()
	// Another name than the redirecting server's, and not this machine's to anyone.
	plain := httptest.NewServer(http.HandlerFunc(listen))
	defer plain.Close()
	for _, a := range approaches(t) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{evil.URL, plain.URL, "https://other.invalid", "//other.invalid"} {
				for _, at := range []string{"openid-configuration", "token", "oidc", ""} {
					if at != "" && !strings.Contains(a.params, "{url}") || at == "oidc" && a.mode != "azure-pipelines" || at == "" && strings.Contains(a.params, "{url}") {
						continue
					}
					web := httptest.NewUnstartedServer(nil)
					web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasSuffix(r.URL.Path, at) {
							w.Header().Set("Location", to+"/caught")
							w.WriteHeader(status)
							return
						}
						if !discovery(w, r, web.URL, web.URL) {
							oidc(w, r)
						}
					})
					web.StartTLS()
					name := fmt.Sprintf("%s %s: %d of %s to %s", a.mode, a.params, status, at, to)
					c := a.connector(t, web.URL, metadata(web))
					_, err := tokenOf(t.Context(), c)
					web.Close()
					if err == nil {
						t.Errorf("%s: a token came of it", name)
						continue
					}
					want := " redirects to "
					if strings.HasSuffix(a.mode, ",environment") {
						want = "no instance metadata service answers here" // but somebody else
					}
					oneHarmlessLine(t, err, want)
				}
			}
		}
	}
	if heard.String() != "" {
		t.Errorf("followed: %s", heard)
	}
}

// By azidentity's own client too: it is the one that most programs have.
func TestRedirectsOfTheOwnClient(t *testing.T) {
	heard := &record{}
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		heard.Write(dump)
	}))
	defer evil.Close()
	web := httptest.NewServer(http.RedirectHandler(evil.URL, http.StatusTemporaryRedirect))
	defer web.Close()
	for _, a := range approaches(t)[3:5] {
		c := a.connector(t, web.URL, nil)
		_, err := tokenOf(t.Context(), c)
		oneHarmlessLine(t, err, "redirects to "+evil.URL)
	}
	if heard.String() != "" {
		t.Errorf("followed: %s", heard)
	}
}

// Of headers no more is kept than an authority would send.
func TestHeadersOfTheOwnClient(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_on":"%d"}`, entratest.JWT(map[string]any{"oid": "o"}), time.Now().Add(4*time.Minute).Unix())
	}))
	defer web.Close()
	_, err := tokenOf(t.Context(), approaches(t)[3].connector(t, web.URL, nil))
	oneHarmlessLine(t, err, "server response headers exceeded 65536 bytes")
}

// What an authority may name of itself, in answers that come over TLS.
func TestMetadata(t *testing.T) {
	heard := &record{}
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		heard.Write(dump)
	}))
	defer other.Close()
	const far = "http://far.example"
	for _, tt := range []struct{ name, issuer, token, want string }{
		{"a token endpoint without TLS", "", far, "a secret was to be sent to " + far + ", without TLS"},
		{"a token endpoint of another scheme", "", "ftp://far.example", "unsupported protocol scheme ftp"},
		{"another issuer", "https://far.example", "", "does not match authority"},
		{"an issuer without TLS", far, "", "does not match authority"},
		{"no issuer", "\x00", "", "issuer"},
	} {
		for _, a := range approaches(t)[:3] {
			web := httptest.NewUnstartedServer(nil)
			web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				issuer, token := web.URL, web.URL
				if tt.issuer != "" {
					issuer = tt.issuer
				}
				if tt.token != "" {
					token = tt.token
				}
				if !discovery(w, r, issuer, token) && !oidc(w, r) {
					t.Errorf("%s: %s was asked for", tt.name, r.URL)
				}
			})
			web.StartTLS()
			_, err := tokenOf(t.Context(), a.connector(t, web.URL, &http.Client{Transport: leading{web.Client().Transport, "far.example", other.Listener.Addr().String()}}))
			web.Close()
			oneHarmlessLine(t, err, tt.want)
		}
	}
	if heard.String() != "" {
		t.Errorf("asked: %s", heard)
	}
}

// An answer that is too long, too late, too odd: an error of one line, in the time
// and memory that a request may have, and nothing said again that is secret.
func TestHostileAuthority(t *testing.T) {
	token := entratest.JWT(map[string]any{"oid": "o"})
	expires := time.Now().Add(4 * time.Minute).Unix()
	answerWith := func(token string) string {
		b, _ := json.Marshal(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 240, "expires_on": fmt.Sprint(expires)})
		return string(b)
	}
	say := func(body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	refuse := func(body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); io.WriteString(w, body) }
	}
	megabyte := strings.Repeat("x", 1<<20)
	zeros := make([]byte, 1<<20)
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	for range 256 {
		zip.Write(zeros)
	}
	zip.Close()
	for _, tt := range []struct {
		name    string
		answer  func(http.ResponseWriter, *http.Request)
		want    string
		refused bool // and the error is azidentity's
	}{
		{"an endless body", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(zeros)
			}
		}, "is longer than 1 MiB", false},
		{"an endless refusal", func(w http.ResponseWriter, r *http.Request) {
			for w.WriteHeader(400); r.Context().Err() == nil; {
				w.Write(zeros)
			}
		}, "(HTTP 400)", false}, // the beginning is enough
		{"an endless refusal to come back", func(w http.ResponseWriter, r *http.Request) {
			for w.WriteHeader(503); r.Context().Err() == nil; {
				w.Write(zeros)
			}
		}, "aadpostgres: token: ", false},
		{"a bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, "is longer than 1 MiB", false},
		{"a header without end", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 11 { // Go's limit is 10 MB, unless a client says otherwise
				w.Header().Set(fmt.Sprintf("X-%d", i), megabyte)
			}
		}, "token: ", false},
		{"a drip", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				http.NewResponseController(w).Flush()
				select {
				case <-time.After(100 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		}, "context deadline exceeded", false},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // or the server does not see that the client has left
			<-r.Context().Done()
		}, "context deadline exceeded", false},
		{"a hang-up", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "token: ", false},
		{"nothing", say(""), "token: ", false},
		{"HTML", say("<html>\x1b[31m sign in </html>"), "token: ", false},
		{"JSON cut short", say(answerWith(token)[:len(answerWith(token))-2]), "token: ", false},
		{"JSON of another form", say(`{"access_token":{"token":"` + token + `"},"expires_in":240}`), "token: ", false},
		{"JSON in lines", say("{\n\t\"access_token\": \"" + token + "\",\n\t\"expires_in\": 240,\n\t\"expires_on\": ????\n}"), "token: ", false},
		{"JSON in depth", say(strings.Repeat(`{"a":`, 100000)), "token: ", false},
		{"an array", say(`[` + answerWith(token) + `]`), "token: ", false},
		{"no token", say(`{"token_type":"Bearer","expires_in":240,"expires_on":"` + fmt.Sprint(expires) + `"}`), "token: ", false},
		{"an empty token", say(answerWith("")), "token: ", false},
		{"a token in lines", say(answerWith(token + "\nHost: evil")), "the response's token holds characters that no token has", false},
		{"a token with a field of SASL", say(answerWith(token + "\x01host=evil\x01")), "the response's token holds characters that no token has", false},
		{"a token with an end", say(answerWith(token + "\x00" + token)), "the response's token holds characters that no token has", false},
		{"a token in letters of its own", say(answerWith(token + "é")), "the response's token holds characters that no token has", false},
		{"a token of 100 KB", say(answerWith(strings.Repeat("x", 100<<10))), "the response's token has 102400 bytes, and PostgreSQL accepts 65534", false},
		{"a token of 10 MB", say(answerWith(strings.Repeat("x", 10<<20))), "is longer than 1 MiB", false},
		{"a token that is over", say(fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":-5,"expires_on":"1"}`, token)), "token: ", false},
		{"the secret said again", func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			w.WriteHeader(400)
			json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": fmt.Sprintf("AADSTS1: \x1b[31m%s\r\n%s %s", r.Form, r.Header, token)})
		}, "token: ", true},
		{"the secret said again, in no form", func(w http.ResponseWriter, r *http.Request) {
			dump, _ := httputil.DumpRequest(r, true)
			w.WriteHeader(403)
			w.Write(append(dump, "unreachable"...))
		}, "token: ", true},
		{"the secret in a status line that is none", func(w http.ResponseWriter, r *http.Request) {
			raw(w, "%[1]s\r\n%[2]v\r\n\r\n", r)
		}, "token: ", false},
		{"the secret in a header that is none", func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\n%[1]s %[2]v\r\n\r\n", r)
		}, "token: ", false},
		{"the secret in the reason", func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 400 %[1]s %[2]v\r\nContent-Length: 2\r\n\r\n{}", r)
		}, "token: ", true},
		{"the secret in a redirect", func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 302 Found\r\nLocation: https://x.%[1]s.example/\r\nContent-Length: 0\r\n\r\n", r)
		}, "token: ", false},
		{"the secret in a redirect to nowhere", func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 302 Found\r\nLocation: https://[%[1]s%[2]v\r\nContent-Length: 0\r\n\r\n", r)
		}, "token: ", false},
		{"the secret in a page", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "<html>%s %v</html>", body, r.Header)
		}, "token: ", false},
		{"the secret in JSON of another form", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			json.NewEncoder(w).Encode(map[string]any{"access_token": 5, "expires_on": []int{1}, "expires_in": "x", "said": fmt.Sprintf("%s %v", body, r.Header)})
		}, "token: ", false},
		{"a refresh token in JSON cut short", say(`{"token_type":"Bearer","refresh_token":"0.AXoA-` + entratest.Marker + `","access_token":"eyJhbGciOi`), "token: ", false},
		{"a refresh token in JSON of another form", say(`{"token_type":["Bearer"],"expires_in":{},"expires_on":{},"refresh_token":"0.AXoA-` + entratest.Marker + `","access_token":5}`), "token: ", false},
		{"a description of a megabyte", refuse(`{"error":"e","error_description":"` + strings.Repeat("x", 1<<19) + `"}`), "token: ", false},
		{"a description that is none", refuse(`{"error":5,"error_description":[1],"error_codes":"x"}`), "token: ", false},
	} {
		web := httptest.NewUnstartedServer(nil)
		web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !discovery(w, r, web.URL, web.URL) && (tt.name != "" && r.URL.Path == "/t/token" || !oidc(w, r)) {
				tt.answer(w, r)
			}
		})
		web.StartTLS()
		for _, a := range approaches(t) {
			t.Run(tt.name+", "+a.mode+" "+strings.Fields(a.params + " -")[0], func(t *testing.T) {
				log := &record{}
				c := a.connector(t, web.URL, metadata(web), WithLogger(slog.New(slog.NewJSONHandler(log, nil))))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var err error
				allocated, took := cost(func() { _, err = tokenOf(ctx, c) })
				want := tt.want
				if err != nil && strings.HasSuffix(a.mode, ",environment") && strings.Contains(err.Error(), "no instance metadata service answers here") {
					want = "" // but something else
				}
				oneHarmlessLine(t, err, want)
				if allocated > 128<<20 || took > 3*time.Second {
					t.Errorf("it took %d KiB and %s", allocated>>10, took)
				}
				if strings.Contains(log.String(), entratest.Marker) {
					t.Errorf("logged: %s", log)
				}
				var failed *azidentity.AuthenticationFailedError
				if tt.refused && !strings.Contains(a.params, "imds") && !strings.Contains(a.mode, ",") && !errors.As(err, &failed) {
					t.Errorf("it is not azidentity's error any more, but %#v", errors.Unwrap(err))
				}
			})
		}
		web.Close()
	}
}

// raw answers with what net/http would not write: format gets the request's body and
// header.
func raw(w http.ResponseWriter, format string, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, format, body, r.Header)
}

// On Service Fabric azidentity itself sees to the endpoint: it knows its certificate by a
// thumbprint, and follows no redirect. For that it wants the transport as it was given.
func TestServiceFabric(t *testing.T) {
	for _, tt := range []struct{ name, thumbprint, want string }{
		{name: "its certificate"}, {name: "another's certificate", thumbprint: strings.Repeat("0", 40), want: "token: "}, {name: "redirect", want: "token: "},
	} {
		heard := &record{}
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(heard, "%s %q\n", r.URL.Path, r.Header)
			if tt.name == "redirect" && r.URL.Path == "/sf" {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
				return
			}
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_on":"%d"}`, entratest.JWT(map[string]any{"oid": "o"}), time.Now().Add(4*time.Minute).Unix())
		}))
		sum := sha1.Sum(web.Certificate().Raw)
		thumbprint := cmp.Or(tt.thumbprint, hex.EncodeToString(sum[:]))
		a := approach{mode: "managed-identity", env: map[string]string{"IDENTITY_ENDPOINT": "{url}/sf", "IDENTITY_HEADER": "header-" + entratest.Marker, "IDENTITY_SERVER_THUMBPRINT": thumbprint}}
		client := &http.Client{Transport: &http.Transport{}} // trusts no such certificate
		_, err := tokenOf(t.Context(), a.connector(t, web.URL, client))
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if said := heard.String(); strings.Contains(said, "elsewhere") || tt.thumbprint != "" && said != "" || tt.want == "" && !strings.Contains(said, "header-"+entratest.Marker) {
			t.Errorf("%s: it was asked %s", tt.name, said)
		}
		client.CloseIdleConnections()
		web.Close()
	}
}
