package credential

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Through azidentity's own code: a response that asks for more time than the request has
// ends the request with its cause, and is obeyed.
func TestThrottledAuthority(t *testing.T) {
	entratest.CleanEnv(t)
	var requests atomic.Int64
	web := newAuthority(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error":"temporarily_unavailable","error_description":"AADSTS90055: The tenant is throttled.\r\nTrace"}`)
	})
	cache := cacheOf(t, application+" aad_authority_host="+web.URL, Options{Transport: web.Client()})
	for range 3 {
		_, err := requestToken(t.Context(), cache)
		var failed *token.Error
		if !errors.As(err, &failed) {
			t.Fatalf("Token() = %v, want a token.Error", err)
		}
		const want = "AADSTS90055: The tenant is throttled"
		if err.Error() != want {
			t.Errorf("Token() = %v, want %q", err, want)
		}
		if got := failed.Exchange.RetryAfter; got != time.Minute {
			t.Errorf("RetryAfter = %s, want 1m", got)
		}
	}
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
	if got := cache.Stats().Failures; got != 1 {
		t.Errorf("Failures = %d, want 1", got)
	}
}

// While the cache waits between its requests, azcore does not try each of them four times.
func TestOneTryAfterAFailure(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		cache := cacheOf(t, application, Options{Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
			tries++
			return respond(http.StatusServiceUnavailable, "{}"), nil
		})})
		for i, want := range []int{4, 5, 6, 7} {
			if _, err := requestToken(t.Context(), cache); err == nil {
				t.Errorf("request %d: Token() = nil, want an error", i+1)
			}
			if tries != want {
				t.Errorf("request %d: %d tries in all, want %d", i+1, tries, want)
			}
			time.Sleep(30 * time.Second) // the cache's longest backoff
		}
	})
}

func TestRetryAfterForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		rows := []struct {
			name          string
			status        int
			header, value string
			want          time.Duration
		}{
			{"seconds", 429, "Retry-After", "60", time.Minute},
			{"date", 503, "Retry-After", date(time.Minute), time.Minute},
			{"milliseconds", 429, "Retry-After-Ms", "1500", 1500 * time.Millisecond},
			{"Azure's milliseconds", 429, "X-Ms-Retry-After-Ms", "20", 20 * time.Millisecond},
			{"of a success", 200, "Retry-After", "60", 0},
			{"negative", 429, "Retry-After", "-1", 0},
			{"not a number", 429, "Retry-After", "soon", 0},
			{"too large for an integer", 429, "Retry-After", "99999999999999999999", 0},
			{"date in the past", 429, "Retry-After", date(-time.Minute), 0},
		}
		for _, row := range rows {
			resp := &http.Response{StatusCode: row.status, Header: http.Header{}}
			resp.Header.Set(row.header, row.value)
			if got := retryAfter(resp); got != row.want {
				t.Errorf("%s: retryAfter() = %s, want %s", row.name, got, row.want)
			}
		}
	})
	if got := retryAfter(nil); got != 0 {
		t.Errorf("retryAfter(nil) = %s, want 0", got)
	}
}

// A credential that the program provides has a pipeline of its own: its errors say how
// long to wait. More than an hour is not obeyed.
func TestRetryAfterOfAnError(t *testing.T) {
	refusal := func(seconds string) *http.Response {
		return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {seconds}}, Body: http.NoBody}
	}
	rows := []struct {
		name string
		err  error
		want time.Duration
	}{
		{"azidentity's", &azidentity.AuthenticationFailedError{RawResponse: refusal("90")}, 90 * time.Second},
		{"azcore's", &azcore.ResponseError{RawResponse: refusal("90")}, 90 * time.Second},
		{"azidentity's, a day", &azidentity.AuthenticationFailedError{RawResponse: refusal("86400")}, time.Hour},
		{"azcore's, a day", &azcore.ResponseError{RawResponse: refusal("86400")}, time.Hour},
		{"azidentity's without a response", &azidentity.AuthenticationFailedError{}, 0},
		{"another", errors.New("down"), 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fetcher{credential: failing(row.err), scope: "scope"}
			got, err := f.Fetch(t.Context(), token.Request{})
			if err == nil {
				t.Fatal("Fetch() = nil, want an error")
			}
			if got.RetryAfter != row.want {
				t.Errorf("RetryAfter = %s, want %s", got.RetryAfter, row.want)
			}
		})
	}
	x := &exchange{}
	x.wait.Store(int64(24 * time.Hour))
	if got := x.retryAfter(nil); got != time.Hour {
		t.Errorf("retryAfter() = %s, want 1h", got)
	}
}

// failing returns a credential of the program that returns no token.
func failing(err error) *entratest.Credential {
	return &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, err }}
}

// As long as the authority asked for, no token is requested.
func TestRetryAfterIsObeyed(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"90"}}, Body: http.NoBody}
		cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
			if call == 1 {
				return azcore.AccessToken{}, &azidentity.AuthenticationFailedError{RawResponse: resp}
			}
			return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Hour)}, nil
		}}
		cache := cacheOf(t, "host=h user=u", Options{Credential: cred})
		began := time.Now()
		for {
			if _, err := requestToken(t.Context(), cache); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if got := time.Since(began); got != 90*time.Second {
			t.Errorf("requested again after %s, want 1m30s", got)
		}
		if got := cred.Calls.Load(); got != 2 {
			t.Errorf("%d requests, want 2", got)
		}
	})
}

// A request that runs out of time between two tries says why the tries failed.
func TestTimeoutSaysWhy(t *testing.T) {
	rows := []struct {
		name    string
		respond http.HandlerFunc
		want    string
	}{
		{
			name: "refusals with a description",
			respond: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred"}`)
			},
			want: "AADSTS90033: A transient error has occurred (HTTP 503), and no better response in time",
		},
		{
			name:    "refusals without a description",
			respond: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			want:    "(HTTP 502), and no better response in time",
		},
		{
			name: "closed connections",
			respond: func(w http.ResponseWriter, _ *http.Request) {
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					conn.Close()
				}
			},
			want: ": EOF, and no better response in time",
		},
		{
			name: "silence",
			respond: func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body) // only then does the server notice the end of the client
				<-r.Context().Done()
			},
			want: "no response from https://127.0.0.1:",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			web := newAuthority(t, row.respond)
			cache := cacheOf(t, application+" aad_token_timeout=1s aad_authority_host="+web.URL, Options{Transport: web.Client()})
			_, err := requestToken(t.Context(), cache)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Token() = %v, want %q", err, row.want)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Token() = %v, want it to be context.DeadlineExceeded", err)
			}
		})
	}
}

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
			want: token.Exchange{Endpoint: "https://login.microsoftonline.com", Skew: -time.Hour, Cause: "AADSTS700024: outside its valid time"},
		},
		{
			name: "refusal of the metadata service",
			dsn:  "host=h user=u aad_auth=managed-identity aad_client_id=refused",
			options: Options{Transport: &fakeTransport{func(*http.Request) (*http.Response, error) {
				return respond(http.StatusBadRequest, `{"error":"invalid_request","error_description":"Identity not found"}`), nil
			}}},
			want: token.Exchange{Endpoint: "http://169.254.169.254", Cause: "Identity not found"},
		},
		{
			name: "timeout",
			dsn:  client,
			options: Options{Transport: publicAuthority(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
			want: token.Exchange{Endpoint: "https://login.microsoftonline.com", Cause: "no response from https://login.microsoftonline.com: context deadline exceeded"},
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
		{"list, refused without a description", "environment,managed-identity", " aad_client_id=refused", wordless, "environment: missing environment variable AZURE_TENANT_ID / ManagedIdentityCredential authentication failed (HTTP 403)"},
		{"list, timeout", "managed-identity,azure-cli", "", silent, "context deadline exceeded"},
		{"default, refused", "default", "", refused, "Identity not found"},
		{"default, timeout", "default", "", silent, "context deadline exceeded"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("PATH", t.TempDir())
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
