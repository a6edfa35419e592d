package credential

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// application is a DSN that signs in with a client secret, in tenant t of the public cloud.
const application = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true"

// parse returns the configuration of a DSN, and the cloud that it is for.
func parse(t testing.TB, text string) (*dsn.Config, Cloud) {
	t.Helper()
	cfg, err := dsn.ParseEnv(text, dsn.OS)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := ResolveCloud(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, cloud
}

// cacheOf returns the token cache of a DSN, which is released when the test ends.
func cacheOf(t testing.TB, text string, o Options) *token.Cache {
	t.Helper()
	cfg, cloud := parse(t, text)
	cache, err := CacheFor(cfg, cloud, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Release)
	return cache
}

// fetcherOf returns a fetcher for one mode, for tests of a single request.
func fetcherOf(t testing.TB, text string, o Options) *fetcher {
	t.Helper()
	cfg, cloud := parse(t, text)
	cred, err := newCredential(cfg, o.forCloud(cloud))
	if err != nil {
		t.Fatal(err)
	}
	return &fetcher{credential: cred, scope: cloud.Scope}
}

// requestToken waits for a token as a connect does.
func requestToken(ctx context.Context, cache *token.Cache) (*token.Token, error) {
	t, call := cache.Token(discard{})
	if call == nil {
		return t, nil
	}
	return call.Token(ctx)
}

// A fakeTransport is a policy.Transporter. A pointer to one can be compared.
type fakeTransport struct {
	do func(*http.Request) (*http.Response, error)
}

func (f *fakeTransport) Do(r *http.Request) (*http.Response, error) { return f.do(r) }

func respond(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

// discoveryDocument is what the authority says about tenant t.
func discoveryDocument(authority string) string {
	b, err := json.Marshal(map[string]string{
		"issuer":                 authority + "/t/v2.0",
		"authorization_endpoint": authority + "/t/authorize",
		"token_endpoint":         authority + "/t/token",
	})
	if err != nil {
		panic(err) // a mistake in the test
	}
	return string(b)
}

// publicAuthority is a transport to the public cloud's authority. tokens responds to
// token requests.
func publicAuthority(tokens func(*http.Request) (*http.Response, error)) *fakeTransport {
	return &fakeTransport{func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			return respond(http.StatusOK, discoveryDocument("https://login.microsoftonline.com")), nil
		}
		return tokens(r)
	}}
}

// newAuthority starts an authority. tokens responds to token requests.
func newAuthority(t testing.TB, tokens http.HandlerFunc) *httptest.Server {
	t.Helper()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			io.WriteString(w, discoveryDocument("https://"+r.Host))
			return
		}
		tokens(w, r)
	}))
	t.Cleanup(web.Close)
	return web
}

// discard is a token.Observer that ignores what it is told.
type discard struct{}

func (discard) TokenFetched(*token.Token, bool, time.Duration)  {}
func (discard) TokenFailed(error, time.Duration, time.Duration) {}
func (discard) TokenFileExposed(path string, mode fs.FileMode)  {}
