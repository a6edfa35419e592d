package credential

import (
	"context"
	"errors"
	"io"
	"net/http"
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
	x.wait = 24 * time.Hour
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
