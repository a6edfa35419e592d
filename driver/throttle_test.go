package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Through azidentity's own code: an answer that asks for more time than the
// request has ends the request, with its cause, and is obeyed.
func TestThrottledAuthority(t *testing.T) {
	clean(t)
	var requests atomic.Int64
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if base := "https://" + r.Host + "/t"; strings.HasSuffix(r.URL.Path, "openid-configuration") {
			json.NewEncoder(w).Encode(map[string]string{"issuer": base + "/v2.0", "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token"})
			return
		}
		requests.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		w.Write([]byte(`{"error":"temporarily_unavailable","error_description":"AADSTS90055: The tenant is throttled.\r\nTrace"}`))
	}))
	defer web.Close()
	c, err := NewConnector("host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true aad_authority_host="+web.URL, WithTransport(web.Client()))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err = ask(c.tokens, t.Context())
		if err == nil || !strings.Contains(err.Error(), "AADSTS90055: The tenant is throttled") || strings.Contains(err.Error(), "in time") {
			t.Errorf("got %v", err)
		}
	}
	s := c.tokens.(*source)
	if requests.Load() != 1 || s.wait != time.Minute || c.Stats().TokenFailures != 1 {
		t.Errorf("%d requests, the next in %s", requests.Load(), s.wait)
	}
}

// While the source waits between requests, azcore does not try each four times.
func TestOneTryAfterAFailure(t *testing.T) {
	clean(t)
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c, err := NewConnector("host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true", WithTransport(public(func(*http.Request) (*http.Response, error) {
			tries++
			return answer(http.StatusServiceUnavailable, "{}"), nil
		})))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{4, 5, 6, 7} {
			if _, err := ask(c.tokens, t.Context()); err == nil || tries != want {
				t.Errorf("request %d: %d tries in all, want %d: %v", i+1, tries, want, err)
			}
			time.Sleep(maxBackoff)
		}
	})
}

// public is a transport to the public cloud's authority, which answers for tenant t what
// it must, and token requests by f.
func public(f doerFunc) *doerFunc {
	return doer(func(r *http.Request) (*http.Response, error) {
		if base := "https://login.microsoftonline.com/t"; strings.HasSuffix(r.URL.Path, "openid-configuration") {
			return answer(200, fmt.Sprintf(`{"issuer":"%[1]s/v2.0","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token"}`, base)), nil
		}
		return f(r)
	})
}

func TestRetryAfterForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			status      int
			name, value string
			want        time.Duration
		}{
			{429, "Retry-After", "60", time.Minute},
			{503, "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), time.Minute},
			{429, "Retry-After-Ms", "1500", 1500 * time.Millisecond},
			{429, "X-Ms-Retry-After-Ms", "20", 20 * time.Millisecond},
			{200, "Retry-After", "60", 0},
			{429, "Retry-After", "-1", 0},
			{429, "Retry-After", "soon", 0},
			{429, "Retry-After", "99999999999999999999", 0},
			{429, "Retry-After", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat), 0},
		} {
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{}}
			resp.Header.Set(tt.name, tt.value)
			if got := retryAfter(resp); got != tt.want {
				t.Errorf("%d %s: %s: %s, want %s", tt.status, tt.name, tt.value, got, tt.want)
			}
		}
	})
	if retryAfter(nil) != 0 {
		t.Error("no answer")
	}
	th := &throttle{}
	if th.after.Store(int64(24 * time.Hour)); th.wait(nil) != time.Hour {
		t.Error("a day is obeyed")
	}
}

// authorityOf answers token requests by f, and the rest as it must.
func authorityOf(t *testing.T, f http.HandlerFunc, params string) *Connector {
	clean(t)
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if base := "https://" + r.Host + "/t"; strings.HasSuffix(r.URL.Path, "openid-configuration") {
			json.NewEncoder(w).Encode(map[string]string{"issuer": base + "/v2.0", "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token"})
			return
		}
		f(w, r)
	}))
	t.Cleanup(web.Close)
	c, err := NewConnector("host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true aad_authority_host="+web.URL+" "+params, WithTransport(web.Client()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Of an answer without end no more is read, or kept, than an authority would send.
func TestEndlessAnswer(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusTooManyRequests} {
		var sent atomic.Int64
		c := authorityOf(t, func(w http.ResponseWriter, _ *http.Request) {
			if status != http.StatusOK {
				w.Header().Set("Retry-After", "60") // ends the request
			}
			w.WriteHeader(status)
			w.Write([]byte(`{"error":"x","token_type":"Bearer","expires_in":3600,"access_token":"`))
			for block := []byte(strings.Repeat("a", 1<<20)); sent.Load() < 32<<20; sent.Add(int64(len(block))) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
			w.Write([]byte(`"}`))
		}, "")
		_, err := ask(c.tokens, t.Context())
		if err == nil || len(err.Error()) > 1000 {
			t.Fatalf("%d: %.1000v", status, err)
		}
		if status == http.StatusOK && (!strings.Contains(err.Error(), "longer than 1 MiB; check for a proxy") || sent.Load() >= 32<<20) {
			t.Errorf("%d MiB were read: %v", sent.Load()>>20, err)
		}
		if status != http.StatusOK && !strings.Contains(err.Error(), "; wait: the authority") {
			t.Errorf("no hint: %v", err)
		}
		var failed *azidentity.AuthenticationFailedError
		if status != http.StatusOK && errors.As(err, &failed) {
			if b, _ := io.ReadAll(failed.RawResponse.Body); len(b) > mostAnswer {
				t.Errorf("the error keeps %d MiB", len(b)>>20)
			}
		}
	}
}

// An answer that breaks off is not asked for again by POST: a code or a refresh token
// may be used up.
func TestCutAnswerIsFinal(t *testing.T) {
	var requests atomic.Int64
	c := authorityOf(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte(`{"access_token":"`))
	}, "")
	soon := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
	_, err := c.tokens.(*source).ask(soon, "")
	if err == nil || !strings.Contains(err.Error(), "unexpected EOF") || requests.Load() != 1 {
		t.Errorf("%d requests: %v", requests.Load(), err)
	}
}

// A request whose time is over between two tries says what the tries had come to.
func TestTimeoutSaysWhy(t *testing.T) {
	for want, f := range map[string]http.HandlerFunc{
		"AADSTS90033: A transient error has occurred (HTTP 503), and no better answer in time; try again in a moment": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte(`{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred"}`))
		},
		"(HTTP 502), and no better answer in time; try again in a moment": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"and no better answer in time; check for a firewall or proxy": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		},
		"no answer from https://127.0.0.1:": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then is the end of the client seen
			<-r.Context().Done()
		},
	} {
		c := authorityOf(t, f, "aad_token_timeout=1s")
		_, err := ask(c.tokens, t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
