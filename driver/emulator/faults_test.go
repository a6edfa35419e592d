package emulator_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// try signs in as app, leaves, and tells how long that took.
func timeSignIn(t *testing.T, az *emulator.Azure, token string) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	conn, err := connectAs(t, az, "app", token)
	took := time.Since(began)
	if conn != nil {
		conn.Close(context.Background())
	}
	return took, err
}

func isExpired(err error) bool {
	return err != nil && strings.Contains(err.Error(), "The access token has expired. Please acquire a new token and retry. (SQLSTATE 28P01)")
}

func TestRevokeTokens(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	old := az.Token(app, nil)
	if _, err := timeSignIn(t, az, old); err != nil {
		t.Error(err)
	}
	az.RevokeTokens()
	if _, err := timeSignIn(t, az, old); !isExpired(err) {
		t.Errorf("a revoked token: %v", err)
	}
	if _, err := timeSignIn(t, az, az.Token(app, nil)); err != nil {
		t.Errorf("a token issued later: %v", err)
	}
}

func TestTokenAge(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(az.Token(app, nil), claims); err != nil {
		t.Fatal(err)
	}
	iat, _ := claims.GetIssuedAt()
	nbf, _ := claims.GetNotBefore()
	if age := time.Since(iat.Time); age < 5*time.Minute || age > 6*time.Minute || !nbf.Equal(iat.Time) {
		t.Errorf("iat is %v ago, nbf is %v", age, nbf)
	}
	az.Faults.MaxTokenAge(time.Minute)
	for age, ok := range map[time.Duration]bool{0: true, 30 * time.Second: true, 2 * time.Minute: false} {
		token := az.Token(app, func(c map[string]any) { c["iat"] = c["iat"].(int64) - int64(age.Seconds()) })
		if _, err := timeSignIn(t, az, token); ok && err != nil || !ok && !isExpired(err) {
			t.Errorf("a token %v old: %v", age, err)
		}
	}
}

// A token that begins later than clocks may differ is refused where that is looked at,
// in both wordings, by Azure's own clock.
func TestNotBefore(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	for _, tt := range []struct {
		claim             string
		begins            time.Duration // from now
		look, newer, good bool
	}{
		{"nbf", 2 * time.Hour, false, false, true},
		{"iat", 2 * time.Hour, false, false, true},
		{"nbf", 4 * time.Minute, true, false, true},
		{"iat", 4 * time.Minute, true, false, true},
		{"nbf", 6 * time.Minute, true, false, false},
		{"iat", 6 * time.Minute, true, true, false},
	} {
		az.Faults.NotBefore(tt.look)
		az.Faults.NewWording(tt.newer)
		token := az.Token(app, func(c map[string]any) { c[tt.claim] = time.Now().Add(tt.begins).Unix() })
		want := "The access token is not yet valid. Please acquire a new token and retry. (SQLSTATE 28P01)"
		if tt.newer {
			want = "The access token isn't yet valid. Acquire a new token and try again. (SQLSTATE 28P01)"
		}
		if _, err := timeSignIn(t, az, token); tt.good && err != nil || !tt.good && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v", tt, err)
		}
		az.Faults.Clock(tt.begins)
		if _, err := timeSignIn(t, az, token); tt.begins < time.Hour && err != nil { // the others have expired by then
			t.Errorf("%+v, when it has begun: %v", tt, err)
		}
		az.Faults.Clock(0)
	}
}

// Failures, their Retry-After and the counts are the same at both endpoints.
func TestFailTokens(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "confidential", Secret: "s"})
	env, err := az.Environ(emulator.AppService, emulator.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, _ := strings.CutPrefix(env[0], "IDENTITY_ENDPOINT=")
	header, _ := strings.CutPrefix(env[1], "IDENTITY_HEADER=")
	client := az.Client()
	do := func(resp *http.Response, err error) (int, string) {
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	entra := func() (int, string) {
		return do(client.PostForm(az.Authority()+emulator.TenantID+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"},
			"client_id": {app.ClientID}, "client_secret": {"s"}, "scope": {emulator.Resource + "/.default"}}))
	}
	host := func() (int, string) {
		req, _ := http.NewRequest("GET", endpoint+"?resource="+emulator.Resource, nil)
		req.Header.Set("X-IDENTITY-HEADER", header)
		return do(client.Do(req))
	}
	want := func(ask func() (int, string), status int, after string) {
		t.Helper()
		if s, a := ask(); s != status || a != after {
			t.Errorf("status %d, Retry-After %q; want %d, %q", s, a, status, after)
		}
	}
	do(client.Get(az.Authority() + emulator.TenantID + "/v2.0/.well-known/openid-configuration"))
	az.Token(app, nil)
	az.Faults.FailTokens(2, 503)
	want(entra, 503, "")
	want(host, 503, "")
	want(entra, 200, "")
	az.Faults.FailTokens(-1, 429)
	az.Faults.RetryAfter(1500 * time.Millisecond)
	want(host, 429, "2")
	want(entra, 429, "2")
	want(host, 429, "2")
	az.Faults.FailTokens(0, 0)
	want(host, 200, "")
	if n, want := az.Counts(), (emulator.Counts{Requests: 7, Tokens: 2}); n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
}

func TestSignInDelay(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	az.Faults.SignInDelay(200 * time.Millisecond)
	for _, token := range []string{az.Token(app, nil), "not a token"} {
		if took, err := timeSignIn(t, az, token); took < 200*time.Millisecond {
			t.Errorf("the verdict %v took %v", err, took)
		}
	}
}

// A sign-in costs five round trips: TCP, the request for TLS, TLS, startup,
// password. What the gateway says last arrives.
func TestRoundTrip(t *testing.T) {
	az := emulator.Start(t)
	before := goleak.IgnoreCurrent()
	app := az.Add(emulator.Identity{Name: "app"})
	const d = 20 * time.Millisecond
	az.Faults.RoundTrip(d)
	if took, err := timeSignIn(t, az, az.Token(app, nil)); err != nil || took < 5*d {
		t.Errorf("a sign-in took %v, %v", took, err)
	}
	if _, err := timeSignIn(t, az, "not a token"); err == nil || !strings.Contains(err.Error(), "has invalid format") {
		t.Errorf("a refusal: %v", err)
	}
	goleak.VerifyNone(t, before)
}
