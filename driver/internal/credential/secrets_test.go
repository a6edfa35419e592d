package credential

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// The secrets that a request shows are known, plain and as a form encodes them.
func TestRequestSecrets(t *testing.T) {
	const marker = entratest.Marker
	const form = "client_id=known&client_secret=a%2Bb%26-" + marker + "&client_assertion=assertion-" + marker + "&refresh_token=refresh-" + marker +
		"&code=code-" + marker + "&device_code=device-" + marker + "&assertion=grant-" + marker + "&code_verifier=verifier-" + marker +
		"&password=person-" + marker + "&grant_type=known"
	r := httptest.NewRequest(http.MethodPost, "https://login.example/token", strings.NewReader(form))
	r.Header.Set("Authorization", "Bearer bearer-"+marker)
	r.Header.Set("X-Identity-Header", "header-"+marker)
	r.Header.Set("Secret", "ml-"+marker)
	repeated := "known " + form
	for _, values := range r.Header {
		repeated += strings.Join(values, " ") + " "
	}
	repeated += " a+b&-" + marker
	secrets, err := requestSecrets(r)
	if err != nil {
		t.Fatal(err)
	}
	got := redact.Text(repeated, secrets...)
	if strings.Contains(got, marker) {
		t.Errorf("Text() = %q, which holds a secret", got)
	}
	if n := strings.Count(got, "known"); n != 3 {
		t.Errorf("Text() = %q, in which %d values are left, want 3", got, n)
	}
	if n := strings.Count(got, redact.Mask); n != 12 {
		t.Errorf("Text() = %q, in which %d secrets are masked, want 12", got, n)
	}
	for range 2 { // HTTP/2 may send it twice
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != form {
			t.Errorf("Body = %q, want %q", b, form)
		}
		r.Body, _ = r.GetBody()
	}
}

// The secrets in a response are known too: the library below may quote it.
func TestResponseSecrets(t *testing.T) {
	rows := []struct {
		name, body string
		want       []string
	}{
		{"tokens", `{"access_token":"a","refresh_token":"r","id_token":"i","oidcToken":"o","token_type":"Bearer"}`, []string{"a", "r", "i", "o"}},
		{"of another type", `{"access_token":5,"refresh_token":"r"}`, []string{"r"}},
		{"not JSON", `{"access_token":"a"`, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := responseSecrets([]byte(row.body)); !slices.Equal(got, row.want) {
				t.Errorf("responseSecrets() = %q, want %q", got, row.want)
			}
		})
	}
}

// An HTTP client may still read a request's body when the response has arrived, while
// azcore sends the body again.
func TestEachTryHasItsOwnBody(t *testing.T) {
	entratest.CleanEnv(t)
	var unread io.Reader
	var first, second string
	f := fetcherOf(t, application, Options{Transport: publicAuthority(func(r *http.Request) (*http.Response, error) {
		if unread == nil {
			unread = r.Body
			io.CopyN(io.Discard, r.Body, 1)
			return respond(http.StatusServiceUnavailable, "{}"), nil
		}
		b, _ := io.ReadAll(r.Body)
		second = string(b)
		b, _ = io.ReadAll(unread)
		first = second[:1] + string(b)
		return respond(http.StatusBadRequest, "{}"), nil
	})})
	ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
	if _, err := f.Fetch(ctx, token.Request{}); err == nil {
		t.Error("Fetch() = nil, want an error")
	}
	if !strings.Contains(second, "client_secret=s") {
		t.Errorf("second body = %q, want the client secret in it", second)
	}
	if first != second {
		t.Errorf("first body = %q, want %q", first, second)
	}
}

// The credentials of any scheme are known, in the forms in which a peer may repeat them.
func TestHeaderSecrets(t *testing.T) {
	const marker = entratest.Marker
	basic := base64.StdEncoding.EncodeToString([]byte("user:password-" + marker))
	rows := []struct{ name, header, value, repeated string }{
		{"Azure Arc's key", "Authorization", "Basic key-" + marker, "key-" + marker},
		{"key with a line break", "Authorization", "Basic key-" + marker + "\n", "key-" + marker + "."},
		{"scheme in lower case", "Authorization", "bearer token-" + marker, "token-" + marker},
		{"another scheme", "Authorization", "SharedKey key-" + marker, "key-" + marker},
		{"whole header", "Authorization", "Basic key-" + marker, "Authorization: Basic key-" + marker},
		{"in JSON", "Authorization", "Basic k/" + marker, `k\/` + marker},
		{"in a URL", "Secret", "k+/" + marker, "k%2B%2F" + marker},
		{"user and password", "Authorization", "Basic " + basic, "user:password-" + marker},
		{"password", "Authorization", "Basic " + basic, "password-" + marker},
		{"App Service's header", "X-Identity-Header", "header-" + marker, "header-" + marker},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.Text(row.repeated, headerSecrets(http.Header{row.header: {row.value}})...)
			if strings.Contains(got, marker) || !strings.Contains(got, redact.Mask) {
				t.Errorf("Text() = %q, want the secret masked", got)
			}
		})
	}
	if got := headerSecrets(http.Header{}); len(got) != 0 {
		t.Errorf("headerSecrets() = %q without headers, want none", got)
	}
}
