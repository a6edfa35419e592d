package emulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// timeSignIn signs in as app, closes the connection and returns how long the sign-in took.
func timeSignIn(t *testing.T, az *emulator.Azure, token string) (time.Duration, error) {
	t.Helper()
	start := time.Now()
	conn, err := connectAs(t, az, "app", token)
	took := time.Since(start)
	if conn != nil {
		conn.Close(context.Background())
	}
	return took, err
}

// checkAccepted checks that app can sign in with a token.
func checkAccepted(t *testing.T, az *emulator.Azure, token string) {
	t.Helper()
	if _, err := timeSignIn(t, az, token); err != nil {
		t.Errorf("sign-in: %v, want success", err)
	}
}

// checkExpired checks that a token is refused as expired.
func checkExpired(t *testing.T, az *emulator.Azure, token string) {
	t.Helper()
	_, err := timeSignIn(t, az, token)
	checkPgError(t, err, "28P01", "The access token has expired. Please acquire a new token and retry.")
}

func TestRevokeTokens(t *testing.T) {
	az := emulator.Start(t)
	app := az.Identity("app")
	token := az.Token(app, nil)
	checkAccepted(t, az, token)
	az.RevokeTokens()
	checkExpired(t, az, token)
	checkAccepted(t, az, az.Token(app, nil))
}

// Like Entra, the emulator issues tokens whose iat and nbf claims are five minutes ago.
func TestIssuedAt(t *testing.T) {
	az := emulator.Start(t)
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(az.Token(az.Identity("app"), nil), claims); err != nil {
		t.Fatal(err)
	}
	iat, err := claims.GetIssuedAt()
	if err != nil {
		t.Fatal(err)
	}
	nbf, err := claims.GetNotBefore()
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(iat.Time); age < 5*time.Minute || age > 6*time.Minute {
		t.Errorf("iat is %v ago, want 5 to 6 minutes", age)
	}
	if !nbf.Equal(iat.Time) {
		t.Errorf("nbf = %v, want iat, %v", nbf, iat)
	}
}

func TestMaxTokenAge(t *testing.T) {
	az := emulator.Start(t)
	az.Faults.MaxTokenAge(time.Minute)
	for _, tt := range []struct {
		name  string
		age   time.Duration
		check func(*testing.T, *emulator.Azure, string)
	}{
		{"new", 0, checkAccepted},
		{"30 seconds old", 30 * time.Second, checkAccepted},
		{"2 minutes old", 2 * time.Minute, checkExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := az.Token(az.Identity("app"), func(c map[string]any) { c["iat"] = c["iat"].(int64) - int64(tt.age.Seconds()) })
			tt.check(t, az, token)
		})
	}
}

// With NotBefore, a token that starts to be valid more than five minutes in the future is
// refused, in either wording, until Azure's clock has reached it.
func TestNotBefore(t *testing.T) {
	const (
		oldText = "The access token is not yet valid. Please acquire a new token and retry."
		newText = "The access token isn't yet valid. Acquire a new token and try again."
	)
	az := emulator.Start(t)
	for _, tt := range []struct {
		name, claim string
		ahead       time.Duration
		notBefore   bool
		newWording  bool
		want        string // part of the refusal; "" means none
	}{
		{"nbf, not checked", "nbf", 2 * time.Hour, false, false, ""},
		{"iat, not checked", "iat", 2 * time.Hour, false, false, ""},
		{"nbf, within the clock skew", "nbf", 4 * time.Minute, true, false, ""},
		{"iat, within the clock skew", "iat", 4 * time.Minute, true, false, ""},
		{"nbf, refused", "nbf", 6 * time.Minute, true, false, oldText},
		{"iat, refused in the new wording", "iat", 6 * time.Minute, true, true, newText},
	} {
		t.Run(tt.name, func(t *testing.T) {
			az.Faults.NotBefore(tt.notBefore)
			az.Faults.NewWording(tt.newWording)
			token := az.Token(az.Identity("app"), func(c map[string]any) { c[tt.claim] = time.Now().Add(tt.ahead).Unix() })
			if tt.want == "" {
				checkAccepted(t, az, token)
			} else {
				_, err := timeSignIn(t, az, token)
				checkPgError(t, err, "28P01", tt.want)
			}
			if tt.ahead >= time.Hour { // by then it has expired
				return
			}
			az.Faults.Clock(tt.ahead)
			defer az.Faults.Clock(0)
			checkAccepted(t, az, token)
		})
	}
}

// FailTokens and RetryAfter apply to Entra and to managed identities, and Counts counts
// both.
func TestFailTokens(t *testing.T) {
	az := emulator.Start(t)
	check := func(request func(*testing.T, *emulator.Azure) (*http.Response, string), status int, retryAfter string) {
		t.Helper()
		resp, _ := request(t, az)
		if resp.StatusCode != status {
			t.Errorf("status = %d, want %d", resp.StatusCode, status)
		}
		if got := resp.Header.Get("Retry-After"); got != retryAfter {
			t.Errorf("Retry-After = %q, want %q", got, retryAfter)
		}
	}
	resp, err := az.Client().Get(az.Authority() + emulator.TenantID + "/v2.0/.well-known/openid-configuration") // not counted
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	az.Token(az.Identity("app"), nil) // not counted
	az.Faults.FailTokens(2, 503)
	check(requestFromEntra, 503, "")
	check(requestFromHost, 503, "")
	check(requestFromEntra, 200, "")
	az.Faults.FailTokens(-1, 429)
	az.Faults.RetryAfter(1500 * time.Millisecond)
	check(requestFromHost, 429, "2")
	check(requestFromEntra, 429, "2")
	check(requestFromHost, 429, "2")
	az.Faults.FailTokens(0, 0)
	check(requestFromHost, 200, "")
	if got, want := az.Counts(), (emulator.Counts{Requests: 7, Tokens: 2}); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
}

// requestFromEntra requests the token of an application with a secret.
func requestFromEntra(t *testing.T, az *emulator.Azure) (resp *http.Response, body string) {
	t.Helper()
	app := az.Add(emulator.Identity{Name: "confidential", Secret: "s"})
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {app.ClientID},
		"client_secret": {"s"},
		"scope":         {emulator.Resource + "/.default"},
	}
	req, err := http.NewRequest("POST", az.Authority()+emulator.TenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return send(t, az, req)
}

// requestFromHost requests the token of App Service's managed identity.
func requestFromHost(t *testing.T, az *emulator.Azure) (resp *http.Response, body string) {
	t.Helper()
	vars := env(t, az, emulator.AppService, emulator.Identity{})
	req, err := http.NewRequest("GET", vars["IDENTITY_ENDPOINT"]+"?resource="+emulator.Resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-IDENTITY-HEADER", vars["IDENTITY_HEADER"])
	return send(t, az, req)
}

// send sends a request and reads the response.
func send(t *testing.T, az *emulator.Azure, req *http.Request) (resp *http.Response, body string) {
	t.Helper()
	resp, err := az.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestSignInDelay(t *testing.T) {
	az := emulator.Start(t)
	const delay = 200 * time.Millisecond
	az.Faults.SignInDelay(delay)
	for _, tt := range []struct{ name, token string }{
		{"accepted", az.Token(az.Identity("app"), nil)},
		{"refused", "not a token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if took, _ := timeSignIn(t, az, tt.token); took < delay {
				t.Errorf("the sign-in took %v, want at least %v", took, delay)
			}
		})
	}
}

// A sign-in takes five round trips: TCP connect, request for TLS, TLS handshake, startup
// packet, password. A refusal arrives although the gateway closes the connection after it.
func TestRoundTrip(t *testing.T) {
	az := emulator.Start(t)
	before := goleak.IgnoreCurrent()
	const roundTrip = 20 * time.Millisecond
	az.Faults.RoundTrip(roundTrip)
	took, err := timeSignIn(t, az, az.Token(az.Identity("app"), nil))
	if err != nil {
		t.Error(err)
	}
	if took < 5*roundTrip {
		t.Errorf("the sign-in took %v, want at least %v", took, 5*roundTrip)
	}
	_, err = timeSignIn(t, az, "not a token")
	checkPgError(t, err, "28P01", "has invalid format")
	goleak.VerifyNone(t, before)
}

func TestHangUp(t *testing.T) {
	az := emulator.Start(t)
	token := az.Token(az.Identity("app"), nil)
	az.Faults.HangUp(true)
	_, err := timeSignIn(t, az, token)
	var pgErr *pgconn.PgError
	if err == nil || errors.As(err, &pgErr) {
		t.Errorf("sign-in: %v, want an error because the connection is closed", err)
	}
	az.Faults.HangUp(false)
	checkAccepted(t, az, token)
}
