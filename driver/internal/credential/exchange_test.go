package credential

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A failed request says who was asked, how long to wait, how far the clocks are apart,
// and why it failed. Neither the error nor the exchange holds a secret.
func TestExchangeOfAFailure(t *testing.T) {
	entratest.CleanEnv(t)
	const (
		secret = "secret-" + entratest.Marker
		client = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_disable_instance_discovery=true aad_client_secret=" + secret
	)
	// refuse responds with all that an authority can say, and with the request.
	refuse := func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		resp := respond(http.StatusBadRequest, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret `+form.Get("client_secret")+`.\r\nTrace ID: 1"}`)
		resp.Header.Set("Retry-After", "60")
		resp.Header.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		resp.Status = "400 " + form.Get("client_secret")
		return resp, nil
	}
	rows := []struct {
		name, dsn string
		options   Options
		want      token.Exchange
		is        error // that the error must lead to, or nil
	}{
		{
			name:    "refusal of the authority",
			dsn:     client,
			options: Options{Transport: publicAuthority(refuse)},
			want: token.Exchange{
				Endpoint:   "https://login.microsoftonline.com",
				RetryAfter: time.Minute,
				Skew:       10 * time.Minute,
				Cause:      "AADSTS7000215: Invalid client secret xxxxx",
				Credential: "client-secret",
			},
		},
		{
			name: "clock of this machine behind",
			dsn:  client,
			options: Options{Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
				resp := respond(http.StatusUnauthorized, `{"error":"e","error_description":"AADSTS700024: outside its valid time"}`)
				resp.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
				return resp, nil
			})},
			want: token.Exchange{Endpoint: "https://login.microsoftonline.com", Skew: -time.Hour, Cause: "AADSTS700024: outside its valid time", Credential: "client-secret"},
		},
		{
			name: "refusal of the metadata service",
			dsn:  "host=h user=u aad_auth=managed-identity aad_client_id=refused",
			options: Options{Transport: &fakeTransport{func(*http.Request) (*http.Response, error) {
				return respond(http.StatusBadRequest, `{"error":"invalid_request","error_description":"Identity not found"}`), nil
			}}},
			want: token.Exchange{Endpoint: "http://169.254.169.254", Cause: `Identity not found (requested identity: "refused")`, Credential: "managed-identity"},
		},
		{
			name: "timeout",
			dsn:  client,
			options: Options{Transport: publicAuthority(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
			want: token.Exchange{Endpoint: "https://login.microsoftonline.com", Cause: "no response from https://login.microsoftonline.com: context deadline exceeded", Credential: "client-secret"},
			is:   context.DeadlineExceeded,
		},
		{
			name:    "the program's credential",
			dsn:     "host=h user=u",
			options: Options{Credential: failing(errors.New("no token today.\nThe second line."))},
			want:    token.Exchange{Cause: "no token today"},
		},
		{
			name:    "the program's credential, with a JWT in its text",
			dsn:     "host=h user=u",
			options: Options{Credential: failing(errors.New("rejected: " + entratest.JWT(map[string]any{"oid": "o"})))},
			want:    token.Exchange{Cause: "rejected: xxxxx"},
		},
		{
			name:    "kilobytes of a developer tool",
			dsn:     "host=h user=u",
			options: Options{Credential: failing(errors.New("flood\n" + strings.Repeat("x", 20<<10)))},
			want:    token.Exchange{Cause: "flood"},
		},
		{
			name:    "megabytes of a developer tool",
			dsn:     "host=h user=u",
			options: Options{Credential: failing(errors.New("flood\n" + strings.Repeat("x", 3<<20)))},
			want:    token.Exchange{Cause: "flood"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := cacheOf(t, row.dsn, row.options)
				_, err := requestToken(t.Context(), cache)
				var failed *token.Error
				if !errors.As(err, &failed) {
					t.Fatalf("Token() = %v, want a token.Error", err)
				}
				detail := failed.Exchange.Detail
				if detail == "" || len(detail) > maxDetailBytes {
					t.Errorf("Exchange.Detail has %d bytes, want 1 to %d", len(detail), maxDetailBytes)
				}
				if strings.Contains(detail, entratest.Marker) {
					t.Errorf("Exchange.Detail holds a secret: %.200q", detail)
				}
				failed.Exchange.Detail = ""
				if failed.Exchange != row.want {
					t.Errorf("Exchange = %+v, want %+v", failed.Exchange, row.want)
				}
				if err.Error() != row.want.Cause {
					t.Errorf("Token() = %v, want %q", err, row.want.Cause)
				}
				if got := cache.Skew(); got != row.want.Skew {
					t.Errorf("Skew() = %s, want %s", got, row.want.Skew)
				}
				if row.is != nil && !errors.Is(err, row.is) {
					t.Errorf("Token() = %v, want it to be %v", err, row.is)
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					if strings.Contains(e.Error(), entratest.Marker) {
						t.Errorf("%T holds a secret: %v", e, e)
					}
					if len(e.Error()) > 2*maxResponseBytes {
						t.Errorf("%T has %d bytes, want at most 2 MiB", e, len(e.Error()))
					}
				}
			})
		})
	}
}

// azidentity's error can still be reached, and its response be read, without the secret
// that the authority repeated.
func TestRefusalCanBeRead(t *testing.T) {
	entratest.CleanEnv(t)
	const secret = "secret-" + entratest.Marker
	cache := cacheOf(t, strings.Replace(application, "aad_client_secret=s", "aad_client_secret="+secret, 1), Options{
		Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
			return respond(http.StatusBadRequest, `{"error":"invalid_client","error_description":"AADSTS7000215: `+secret+`"}`), nil
		}),
	})
	_, err := requestToken(t.Context(), cache)
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		t.Fatalf("Token() = %v, want azidentity's error", err)
	}
	body, err := io.ReadAll(failed.RawResponse.Body)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"error":"invalid_client","error_description":"AADSTS7000215: xxxxx"}`
	if string(body) != want {
		t.Errorf("RawResponse.Body = %s, want %s", body, want)
	}
}

// Where a token does not do, another one is requested. A refusal of that request may
// repeat the first token, which is not known by its form if it is opaque.
func TestRefusalThatRepeatsTheLatestToken(t *testing.T) {
	entratest.CleanEnv(t)
	const opaque = "opaque-" + entratest.Marker
	requests := 0
	f := fetcherOf(t, application, Options{Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
		requests++
		if requests == 1 {
			return respond(http.StatusOK, `{"access_token":"`+opaque+`","token_type":"Bearer","expires_in":3600}`), nil
		}
		return respond(http.StatusBadRequest, `{"error":"e","error_description":"AADSTS1: still valid: `+opaque+`"}`), nil
	})})
	first, err := f.Fetch(t.Context(), token.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Value != opaque {
		t.Fatalf("Value = %q, want %q", first.Value, opaque)
	}
	got, err := f.Fetch(t.Context(), token.Request{IssuedAfter: time.Now()})
	if err == nil || strings.Contains(err.Error(), entratest.Marker) {
		t.Errorf("Fetch() = %v, want an error without the token", err)
	}
	const want = "AADSTS1: still valid: xxxxx"
	if got.Cause != want {
		t.Errorf("Cause = %q, want %q", got.Cause, want)
	}
}

// A chain may ask several, so it names none of them.
func TestChainNamesNoEndpoint(t *testing.T) {
	refused := &fakeTransport{func(*http.Request) (*http.Response, error) {
		return respond(http.StatusBadRequest, `{"error":"invalid_request","error_description":"Identity not found"}`), nil
	}}
	wordless := &fakeTransport{func(*http.Request) (*http.Response, error) { return respond(http.StatusForbidden, "{}"), nil }}
	silent := &fakeTransport{func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Metadata") == "" {
			return respond(http.StatusBadRequest, "{}"), nil // the probe finds it
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	rows := []struct {
		name, mode, params string
		transport          *fakeTransport
		want               string
	}{
		{"list, refused first", "managed-identity,environment", " aad_client_id=refused", refused, "Identity not found"},
		{"list, refused second", "environment,managed-identity", " aad_client_id=refused", refused, "environment: missing environment variable AZURE_TENANT_ID / ManagedIdentityCredential: Identity not found"},
		{"list, refused without a description", "environment,managed-identity", " aad_client_id=refused", wordless, "environment: missing environment variable AZURE_TENANT_ID / ManagedIdentityCredential authentication failed (HTTP 403, requested identity: \"refused\")"},
		{"list, timeout", "managed-identity,azure-cli", "", silent, "context deadline exceeded"},
		{"default, refused", "default", "", refused, "Identity not found"},
		{"default, timeout", "default", "", silent, "context deadline exceeded"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			synctest.Test(t, func(t *testing.T) {
				cache := cacheOf(t, "host=h user=u aad_auth="+row.mode+row.params, Options{Transport: row.transport})
				_, err := requestToken(t.Context(), cache)
				var failed *token.Error
				if !errors.As(err, &failed) {
					t.Fatalf("Token() = %v, want a token.Error", err)
				}
				if got := failed.Exchange.Endpoint; got != "" {
					t.Errorf("Endpoint = %q, want none", got)
				}
				if !strings.Contains(failed.Exchange.Cause, row.want) {
					t.Errorf("Cause = %q, want %q", failed.Exchange.Cause, row.want)
				}
				if strings.Contains(failed.Exchange.Cause, "no response from") {
					t.Errorf("Cause = %q, which names one of several", failed.Exchange.Cause)
				}
			})
		})
	}
}

// A successful request says who was asked, and how far the clocks are apart.
func TestExchangeOfASuccess(t *testing.T) {
	entratest.CleanEnv(t)
	value := entratest.JWT(map[string]any{"oid": "o"})
	synctest.Test(t, func(t *testing.T) {
		f := fetcherOf(t, application, Options{Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
			resp := respond(http.StatusOK, `{"access_token":"`+value+`","token_type":"Bearer","expires_in":3600,"refresh_in":1800}`)
			resp.Header.Set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
			return resp, nil
		})})
		got, err := f.Fetch(t.Context(), token.Request{})
		if err != nil {
			t.Fatal(err)
		}
		want := token.Response{
			Value:     value,
			ExpiresOn: time.Now().Add(time.Hour),
			RefreshOn: time.Now().Add(30 * time.Minute),
			Exchange:  token.Exchange{Endpoint: "https://login.microsoftonline.com", Skew: time.Minute},
		}
		if !got.ExpiresOn.Equal(want.ExpiresOn) {
			t.Errorf("ExpiresOn = %s, want %s", got.ExpiresOn, want.ExpiresOn)
		}
		if !got.RefreshOn.Equal(want.RefreshOn) {
			t.Errorf("RefreshOn = %s, want %s", got.RefreshOn, want.RefreshOn)
		}
		if got.Value != want.Value {
			t.Errorf("Value = %q, want %q", got.Value, want.Value)
		}
		if got.Exchange != want.Exchange {
			t.Errorf("Exchange = %+v, want %+v", got.Exchange, want.Exchange)
		}
	})
}
