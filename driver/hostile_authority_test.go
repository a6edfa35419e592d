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
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A tokenMode is a mode that requests tokens over HTTP. Its secret, which it sends along,
// holds entratest.Marker.
type tokenMode struct {
	name, mode, params string            // {url} is the server's
	env                map[string]string // likewise
	endpoints          []string          // the ends of the paths that it requests; "": of every path
	timeout            string            // of a token request; "": enough for one under load
}

// applicationModes are the modes that request a token from an authority.
func applicationModes(t *testing.T) []tokenMode {
	t.Helper()
	assertion := filepath.Join(t.TempDir(), "assertion")
	writeFile(t, assertion, "assertion-"+entratest.Marker)
	const app = "aad_tenant_id=t aad_client_id=c aad_disable_instance_discovery=true aad_authority_host={url} "
	return []tokenMode{
		{name: "client secret", mode: "client-secret", params: app + "aad_client_secret=secret-" + entratest.Marker,
			endpoints: []string{"openid-configuration", "token"}},
		{name: "workload identity", mode: "workload-identity", params: app + "aad_federated_token_file=" + entratest.Quote(assertion),
			endpoints: []string{"openid-configuration", "token"}},
		{name: "pipeline", mode: "azure-pipelines", params: app + "aad_service_connection_id=s",
			env:       map[string]string{"SYSTEM_ACCESSTOKEN": "access-" + entratest.Marker, "SYSTEM_OIDCREQUESTURI": "{url}/oidc"},
			endpoints: []string{"openid-configuration", "token", "oidc"}},
	}
}

// managedIdentityModes are the modes that request a token from the host, with a secret in a
// header.
var managedIdentityModes = []tokenMode{
	{name: "App Service", mode: "managed-identity",
		env: map[string]string{"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "header-" + entratest.Marker}, endpoints: []string{""}},
	{name: "Azure ML", mode: "managed-identity", params: "aad_client_id=c",
		env: map[string]string{"MSI_ENDPOINT": "{url}/ml", "MSI_SECRET": "ml-" + entratest.Marker}, endpoints: []string{""}},
}

// imdsModes are the modes that request a token from the instance metadata service, without
// a secret.
var imdsModes = []tokenMode{
	{name: "virtual machine", mode: "managed-identity", params: "aad_client_id=imds", endpoints: []string{""}},
	{name: chainMode, mode: "managed-identity,environment", params: "aad_client_id=chained", endpoints: []string{""}},
}

// chainMode probes for the metadata service first, and takes a server that does not behave
// like it for none.
const chainMode = "chain"

const noIMDS = "no instance metadata service answers here"

func tokenModes(t *testing.T) []tokenMode {
	return slices.Concat(applicationModes(t), managedIdentityModes, imdsModes)
}

// connector returns a connector that requests tokens in mode m from the server at url.
func (m tokenMode) connector(t *testing.T, url string, transport policy.Transporter, opts ...Option) *Connector {
	t.Helper()
	entratest.CleanEnv(t)
	for _, name := range []string{"MSI_SECRET", "SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for name, v := range m.env {
		t.Setenv(name, strings.ReplaceAll(v, "{url}", url))
	}
	timeout := cmp.Or(m.timeout, "2s") // some errors are tried again until then
	dsn := "host=h user=u aad_token_timeout=" + timeout + " aad_auth=" + m.mode + " " + strings.ReplaceAll(m.params, "{url}", url)
	return newConnector(t, dsn, append(opts, WithTransport(transport))...)
}

// A rerouteTransport sends the requests for host to the server at addr.
type rerouteTransport struct {
	http.RoundTripper
	host, addr string
}

func (l rerouteTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == l.host {
		r = r.Clone(r.Context())
		r.URL.Scheme = "https"
		r.URL.Host = l.addr
	}
	return l.RoundTripper.RoundTrip(r)
}

// imdsClient is web's client, for which web is the instance metadata service too.
func imdsClient(web *httptest.Server) *http.Client {
	return &http.Client{Transport: rerouteTransport{web.Client().Transport, "169.254.169.254", web.Listener.Addr().String()}}
}

// newWebServer starts a TLS server. handle gets its URL.
func newWebServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, url string)) *httptest.Server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, web.URL) })
	web.StartTLS()
	t.Cleanup(web.Close)
	return web
}

// newPipeServer is newWebServer in a synctest bubble: its client reaches it through pipes, so
// that time passes only while both wait.
func newPipeServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, url string)) *httptest.Server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, web.URL) })
	ln := &pipeListener{Listener: web.Listener, conns: make(chan net.Conn), closed: make(chan struct{})}
	web.Listener = ln
	web.StartTLS()
	client := web.Client().Transport.(*http.Transport)
	client.DialContext = ln.dial
	t.Cleanup(func() {
		client.CloseIdleConnections()
		web.Close()
		time.Sleep(10 * time.Second) // if both ends close at once, each waits for five seconds to say so
	})
	return web
}

// A pipeListener accepts pipes. It has the address of a listener that nobody uses.
type pipeListener struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// recordRequests returns a handler that records each request and responds with a token.
func recordRequests(requests *syncBuffer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		requests.Write(dump)
		io.WriteString(w, tokenBody(entratest.JWT(map[string]any{"oid": "evil"})))
	}
}

// tokenBody is the body of a response with a token that is valid for four minutes.
func tokenBody(token string) string {
	b, err := json.Marshal(map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": 240,
		"expires_on": fmt.Sprint(time.Now().Add(4 * time.Minute).Unix()),
	})
	if err != nil {
		panic(err) // a mistake in the test
	}
	return string(b)
}

// serveDiscovery responds to a request for an authority's metadata, and reports whether r
// is one.
func serveDiscovery(w http.ResponseWriter, r *http.Request, issuer, tokenHost string) bool {
	if !strings.HasSuffix(r.URL.Path, "openid-configuration") {
		return false
	}
	json.NewEncoder(w).Encode(map[string]string{"issuer": issuer + "/t/v2.0", "authorization_endpoint": issuer + "/t/authorize", "token_endpoint": tokenHost + "/t/token"})
	return true
}

// serveOIDC responds to a request for a pipeline's assertion, and reports whether r is one.
func serveOIDC(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/oidc" {
		return false
	}
	fmt.Fprintf(w, `{"oidcToken":"assertion-%s"}`, entratest.Marker)
	return true
}

// checkNoRequests checks that a server which must get no secret got no request.
func checkNoRequests(t *testing.T, requests *syncBuffer) {
	t.Helper()
	if got := requests.String(); got != "" {
		t.Errorf("the other server received %q, want no request", got)
	}
}

// No secret follows a redirect, whatever its status, its source and its target.
func TestRedirects(t *testing.T) {
	for _, m := range tokenModes(t) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, target := range []struct{ name, url string }{
				{"TLS", "{tls}"},
				{"plaintext", "{plain}"},
				{"unknown host", "https://other.invalid"},
				{"unknown host, same scheme", "//other.invalid"},
			} {
				for _, endpoint := range m.endpoints {
					t.Run(fmt.Sprintf("%s %s, %d to %s", m.name, endpoint, status, target.name), func(t *testing.T) {
						requests := &syncBuffer{}
						encrypted := httptest.NewTLSServer(recordRequests(requests))
						defer encrypted.Close()
						plain := httptest.NewServer(recordRequests(requests))
						defer plain.Close()
						to := strings.NewReplacer("{tls}", encrypted.URL, "{plain}", plain.URL).Replace(target.url)
						web := newWebServer(t, func(w http.ResponseWriter, r *http.Request, url string) {
							if strings.HasSuffix(r.URL.Path, endpoint) {
								w.Header().Set("Location", to+"/caught")
								w.WriteHeader(status)
								return
							}
							if !serveDiscovery(w, r, url, url) {
								serveOIDC(w, r)
							}
						})
						_, err := tokenOf(t.Context(), m.connector(t, web.URL, imdsClient(web)))
						want := " redirects to "
						if m.name == chainMode {
							want = noIMDS
						}
						checkSafeError(t, err, want)
						checkNoRequests(t, requests)
					})
				}
			}
		}
	}
}

// The same holds without WithTransport, as most programs are.
func TestRedirectsWithDefaultTransport(t *testing.T) {
	for _, m := range managedIdentityModes {
		t.Run(m.name, func(t *testing.T) {
			requests := &syncBuffer{}
			other := httptest.NewServer(recordRequests(requests))
			defer other.Close()
			web := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
			defer web.Close()
			_, err := tokenOf(t.Context(), m.connector(t, web.URL, nil))
			checkSafeError(t, err, "redirects to "+other.URL)
			checkNoRequests(t, requests)
		})
	}
}

// Without WithTransport response headers are limited to what an authority would send.
func TestHeadersWithDefaultTransport(t *testing.T) {
	for _, m := range managedIdentityModes {
		t.Run(m.name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
				io.WriteString(w, tokenBody(entratest.JWT(map[string]any{"oid": "o"})))
			}))
			defer web.Close()
			_, err := tokenOf(t.Context(), m.connector(t, web.URL, nil))
			checkSafeError(t, err, "server response headers exceeded 65536 bytes")
		})
	}
}

// An authority's metadata, which comes over TLS, cannot send a secret elsewhere without
// TLS, or name another issuer.
func TestMetadata(t *testing.T) {
	const far = "http://far.example"
	for _, tt := range []struct {
		name, issuer, tokenHost string // "": the server's own
		want                    string // in the error
	}{
		{name: "token endpoint without TLS", tokenHost: far, want: "a secret was to be sent to " + far + ", without TLS"},
		{name: "token endpoint of another scheme", tokenHost: "ftp://far.example", want: "unsupported protocol scheme ftp"},
		{name: "another issuer", issuer: "https://far.example", want: "does not match authority"},
		{name: "issuer without TLS", issuer: far, want: "does not match authority"},
		{name: "invalid issuer", issuer: "\x00", want: "issuer"},
	} {
		for _, m := range applicationModes(t) {
			t.Run(tt.name+", "+m.name, func(t *testing.T) {
				requests := &syncBuffer{}
				other := httptest.NewTLSServer(recordRequests(requests))
				defer other.Close()
				web := newWebServer(t, func(w http.ResponseWriter, r *http.Request, url string) {
					if !serveDiscovery(w, r, cmp.Or(tt.issuer, url), cmp.Or(tt.tokenHost, url)) && !serveOIDC(w, r) {
						t.Errorf("the server received a request for %s, want none", r.URL)
					}
				})
				client := &http.Client{Transport: rerouteTransport{web.Client().Transport, "far.example", other.Listener.Addr().String()}}
				_, err := tokenOf(t.Context(), m.connector(t, web.URL, client))
				checkSafeError(t, err, tt.want)
				checkNoRequests(t, requests)
			})
		}
	}
}

// An authority's response that is too long, too late or malformed causes an error of one
// line, within the time and memory that a request may take. No secret that the response
// repeats is in the error or the log.
func TestHostileAuthority(t *testing.T) {
	n := 0
	token := entratest.JWT(map[string]any{"oid": "o"})
	respond := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	// The token is made when it is requested, in the bubble's time.
	respondToken := func(value string, cutOff int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			body := tokenBody(value)
			io.WriteString(w, body[:len(body)-cutOff])
		}
	}
	megabyte := strings.Repeat("x", 1<<20)
	zeros := make([]byte, 1<<20)
	writeForever := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write(zeros)
		}
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	for range 256 {
		zip.Write(zeros)
	}
	zip.Close()
	for _, tt := range []struct {
		name     string
		respond  http.HandlerFunc
		want     string // in the error
		sdkError bool   // the cause is azidentity's error
	}{
		{name: "an endless body", respond: writeForever, want: "is longer than 1 MiB"},
		{name: "an endless error", respond: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			writeForever(w, r)
		}, want: "(HTTP 400)"}, // its beginning is enough
		{name: "an endless error that asks for a retry", respond: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(503)
			writeForever(w, r)
		}, want: "aadpostgres: token: "},
		{name: "a bomb", respond: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, want: "is longer than 1 MiB"},
		{name: "endless headers", respond: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 11 { // Go's default limit is 10 MB
				w.Header().Set(fmt.Sprintf("X-%d", i), megabyte)
			}
		}, want: "token: "},
		{name: "a byte every 100 ms", respond: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				http.NewResponseController(w).Flush()
				select {
				case <-time.After(100 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		}, want: "context deadline exceeded"},
		{name: "no response", respond: func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // or the server does not notice that the client has gone
			<-r.Context().Done()
		}, want: "context deadline exceeded"},
		{name: "a closed connection", respond: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, want: "token: "},
		{name: "an empty body", respond: respond(200, ""), want: "token: "},
		{name: "HTML", respond: respond(200, "<html>\x1b[31m sign in </html>"), want: "token: "},
		{name: "JSON cut off", respond: respondToken(token, 2), want: "token: "},
		{name: "JSON of another form", respond: respond(200, `{"access_token":{"token":"`+token+`"},"expires_in":240}`), want: "token: "},
		{name: "JSON with an error in its third line", respond: respond(200, "{\n\t\"access_token\": \""+token+"\",\n\t\"expires_in\": 240,\n\t\"expires_on\": ????\n}"), want: "token: "},
		{name: "JSON nested deeply", respond: respond(200, strings.Repeat(`{"a":`, 100000)), want: "token: "},
		{name: "an array", respond: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "["+tokenBody(token)+"]") }, want: "token: "},
		{name: "no token", respond: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":240,"expires_on":"%d"}`, time.Now().Add(4*time.Minute).Unix())
		}, want: "token: "},
		{name: "an empty token", respond: respondToken("", 0), want: "token: "},
		{name: "a token of several lines", respond: respondToken(token+"\nHost: evil", 0), want: "the response's token holds characters that no token has"},
		{name: "a token with a field of SASL", respond: respondToken(token+"\x01host=evil\x01", 0), want: "the response's token holds characters that no token has"},
		{name: "a token with a NUL byte", respond: respondToken(token+"\x00"+token, 0), want: "the response's token holds characters that no token has"},
		{name: "a token with a character that is not ASCII", respond: respondToken(token+"é", 0), want: "the response's token holds characters that no token has"},
		{name: "a token of 100 KB", respond: respondToken(strings.Repeat("x", 100<<10), 0), want: "the response's token has 102400 bytes, and PostgreSQL accepts 65534"},
		{name: "a token of 10 MB", respond: respondToken(strings.Repeat("x", 10<<20), 0), want: "is longer than 1 MiB"},
		{name: "a token that has expired", respond: respond(200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":-5,"expires_on":"1"}`, token)), want: "token: "},
		{name: "the secret repeated", respond: func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			w.WriteHeader(400)
			json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": fmt.Sprintf("AADSTS1: \x1b[31m%s\r\n%s %s", r.Form, r.Header, token)})
		}, want: "token: ", sdkError: true},
		{name: "the secret repeated, not in JSON", respond: func(w http.ResponseWriter, r *http.Request) {
			dump, _ := httputil.DumpRequest(r, true)
			w.WriteHeader(403)
			w.Write(append(dump, "unreachable"...))
		}, want: "token: ", sdkError: true},
		{name: "the secret in an invalid status line", respond: func(w http.ResponseWriter, r *http.Request) {
			writeRaw(w, "%[1]s\r\n%[2]v\r\n\r\n", r)
		}, want: "token: "},
		{name: "the secret in an invalid header", respond: func(w http.ResponseWriter, r *http.Request) {
			writeRaw(w, "HTTP/1.1 200 OK\r\n%[1]s %[2]v\r\n\r\n", r)
		}, want: "token: "},
		{name: "the secret in the reason phrase", respond: func(w http.ResponseWriter, r *http.Request) {
			writeRaw(w, "HTTP/1.1 400 %[1]s %[2]v\r\nContent-Length: 2\r\n\r\n{}", r)
		}, want: "token: ", sdkError: true},
		{name: "the secret in a redirect", respond: func(w http.ResponseWriter, r *http.Request) {
			writeRaw(w, "HTTP/1.1 302 Found\r\nLocation: https://x.%[1]s.example/\r\nContent-Length: 0\r\n\r\n", r)
		}, want: "token: "},
		{name: "the secret in a redirect to an invalid URL", respond: func(w http.ResponseWriter, r *http.Request) {
			writeRaw(w, "HTTP/1.1 302 Found\r\nLocation: https://[%[1]s%[2]v\r\nContent-Length: 0\r\n\r\n", r)
		}, want: "token: "},
		{name: "the secret in an HTML page", respond: func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "<html>%s %v</html>", body, r.Header)
		}, want: "token: "},
		{name: "the secret in JSON of another form", respond: func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			json.NewEncoder(w).Encode(map[string]any{"access_token": 5, "expires_on": []int{1}, "expires_in": "x", "received": fmt.Sprintf("%s %v", body, r.Header)})
		}, want: "token: "},
		{name: "a refresh token in JSON that is cut off", respond: respond(200, `{"token_type":"Bearer","refresh_token":"0.AXoA-`+entratest.Marker+`","access_token":"eyJhbGciOi`), want: "token: "},
		{name: "a refresh token in JSON of another form", respond: respond(200, `{"token_type":["Bearer"],"expires_in":{},"expires_on":{},"refresh_token":"0.AXoA-`+entratest.Marker+`","access_token":5}`), want: "token: "},
		{name: "a description of a megabyte", respond: respond(400, `{"error":"e","error_description":"`+strings.Repeat("x", 1<<19)+`"}`), want: "token: "},
		{name: "a description that is not text", respond: respond(400, `{"error":5,"error_description":[1],"error_codes":"x"}`), want: "token: "},
	} {
		for _, m := range tokenModes(t) {
			n++
			if raceDetector && n%3 != 0 {
				continue // all of them are tried without it
			}
			t.Run(tt.name+", "+m.name, func(t *testing.T) {
				entratest.CleanEnv(t)
				synctest.Test(t, func(t *testing.T) {
					web := newPipeServer(t, func(w http.ResponseWriter, r *http.Request, url string) {
						if !serveDiscovery(w, r, url, url) && !serveOIDC(w, r) {
							tt.respond(w, r)
						}
					})
					log := &syncBuffer{}
					m.timeout = "500ms"
					c := m.connector(t, web.URL, imdsClient(web), WithLogger(slog.New(slog.NewJSONHandler(log, nil))))
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					var err error
					cost := measure(func() { _, err = tokenOf(ctx, c) })
					want := tt.want
					if m.name == chainMode && err != nil && strings.Contains(err.Error(), noIMDS) {
						want = noIMDS
					}
					checkSafeError(t, err, want)
					cost.check(t, 128<<20, 3*time.Second)
					checkNoSecret(t, "log", log.String())
					var failed *azidentity.AuthenticationFailedError
					if tt.sdkError && !slices.ContainsFunc(imdsModes, func(i tokenMode) bool { return i.name == m.name }) && !errors.As(err, &failed) {
						t.Errorf("the cause is %#v, want a %T", errors.Unwrap(err), failed)
					}
				})
			})
		}
	}
}

// writeRaw sends what net/http would not. format gets the request's body and header.
func writeRaw(w http.ResponseWriter, format string, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, format, body, r.Header)
}

// On Service Fabric azidentity verifies the endpoint itself, by the thumbprint of its
// certificate, and follows no redirect. For that it needs the transport unchanged.
func TestServiceFabric(t *testing.T) {
	const header = "header-" + entratest.Marker
	for _, tt := range []struct {
		name       string
		thumbprint string // "": the server's
		redirect   bool
		sent       bool   // the server receives the secret
		want       string // in the error; "": there is a token
	}{
		{name: "its certificate", sent: true},
		{name: "another certificate", thumbprint: strings.Repeat("0", 40), want: "token: "},
		{name: "redirect", redirect: true, sent: true, want: "token: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := &syncBuffer{}
			web := newWebServer(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				fmt.Fprintf(requests, "%s %q\n", r.URL.Path, r.Header)
				if tt.redirect && r.URL.Path == "/sf" {
					http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
					return
				}
				io.WriteString(w, tokenBody(entratest.JWT(map[string]any{"oid": "o"})))
			})
			sum := sha1.Sum(web.Certificate().Raw)
			m := tokenMode{mode: "managed-identity", env: map[string]string{
				"IDENTITY_ENDPOINT":          "{url}/sf",
				"IDENTITY_HEADER":            header,
				"IDENTITY_SERVER_THUMBPRINT": cmp.Or(tt.thumbprint, hex.EncodeToString(sum[:])),
			}}
			client := &http.Client{Transport: &http.Transport{}} // does not trust the certificate
			defer client.CloseIdleConnections()
			_, err := tokenOf(t.Context(), m.connector(t, web.URL, client))
			if tt.want == "" && err != nil {
				t.Errorf("the token: %v, want no error", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the token: %v, want %q in the error", err, tt.want)
			}
			received := requests.String()
			if strings.Contains(received, "elsewhere") {
				t.Errorf("the server received %q, want no request that follows the redirect", received)
			}
			if sent := strings.Contains(received, header); sent != tt.sent {
				t.Errorf("the server received %q, want the secret in it: %t", received, tt.sent)
			}
			if tt.thumbprint != "" && received != "" {
				t.Errorf("the server received %q, want no request", received)
			}
		})
	}
}
