package driver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
		if err == nil || !strings.Contains(err.Error(), "AADSTS90055: The tenant is throttled") {
			t.Errorf("got %v", err)
		}
	}
	s := c.tokens.(*source)
	if requests.Load() != 1 || s.wait != time.Minute || c.Stats().TokenFailures != 1 {
		t.Errorf("%d requests, the next in %s", requests.Load(), s.wait)
	}
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
