package emulator_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

func TestRefuse(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	every := make([]byte, 0, 255) // byte but the one that ends a field
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	for _, e := range []*pgconn.PgError{
		{Code: "53300", Message: "sorry, too many clients already."},
		{Severity: "PANIC", SeverityUnlocalized: "PANIC", Code: "XX000", Message: string(every), Detail: strings.Repeat(string(every), 1<<14), Hint: "h",
			Position: 3, InternalPosition: 4, InternalQuery: "q", Where: "w", SchemaName: "s", TableName: "t", ColumnName: "c",
			DataTypeName: "d", ConstraintName: "n", File: "f", Line: 5, Routine: "r"},
	} {
		az.Faults.Refuse(e)
		want := *e
		if want.Severity == "" {
			want.Severity, want.SeverityUnlocalized = "FATAL", "FATAL"
		}
		for _, user := range []string{"app", "postgres"} {
			_, err := connectAs(t, az, user, az.Token(app, nil))
			var got *pgconn.PgError
			if !errors.As(err, &got) || *got != want {
				t.Errorf("%s as %s: not as it was set", e.Code, user)
			}
		}
	}
	az.Faults.Refuse(nil)
	if _, err := timeSignIn(t, az, az.Token(app, nil)); err != nil {
		t.Error(err)
	}
}

func TestHangUp(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	az.Faults.HangUp(true)
	var pg *pgconn.PgError
	if _, err := timeSignIn(t, az, az.Token(app, nil)); err == nil || errors.As(err, &pg) {
		t.Errorf("got %v, want a connection that ends", err)
	}
	az.Faults.HangUp(false)
	if _, err := timeSignIn(t, az, az.Token(app, nil)); err != nil {
		t.Error(err)
	}
}

func TestCertificate(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	for _, kind := range []emulator.Certificate{emulator.ExpiredCertificate, emulator.WrongHostCertificate, emulator.UntrustedCertificate, emulator.ValidCertificate} {
		az.Faults.Certificate(kind)
		_, err := timeSignIn(t, az, az.Token(app, nil))
		var invalid x509.CertificateInvalidError
		var name x509.HostnameError
		var unknown x509.UnknownAuthorityError
		var verify *tls.CertificateVerificationError
		if kind != emulator.ValidCertificate && !errors.As(err, &verify) {
			t.Errorf("%q: %v", kind, err)
		}
		if got := map[emulator.Certificate]bool{
			emulator.ValidCertificate:     err == nil,
			emulator.ExpiredCertificate:   errors.As(err, &invalid) && invalid.Reason == x509.Expired,
			emulator.WrongHostCertificate: errors.As(err, &name),
			emulator.UntrustedCertificate: errors.As(err, &unknown),
		}; !got[kind] {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

// ask gets an answer of Entra, or of the host's managed identity endpoint.
func requestToken(t *testing.T, az *emulator.Azure, host bool) (resp *http.Response, body string) {
	t.Helper()
	app := az.Add(emulator.Identity{Name: "confidential", Secret: "s"})
	req, _ := http.NewRequest("POST", az.Authority()+emulator.TenantID+"/oauth2/v2.0/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"},
		"client_id": {app.ClientID}, "client_secret": {"s"}, "scope": {emulator.Resource + "/.default"}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if host {
		env, _ := az.Environ(emulator.AppService, emulator.Identity{})
		req, _ = http.NewRequest("GET", strings.TrimPrefix(env[0], "IDENTITY_ENDPOINT=")+"?resource="+emulator.Resource, nil)
		req.Header.Set("X-IDENTITY-HEADER", strings.TrimPrefix(env[1], "IDENTITY_HEADER="))
	}
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

func TestDeny(t *testing.T) {
	az := emulator.Start(t)
	const multiple = `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`
	az.Faults.DenyTokens(53003, "Access has been blocked by Conditional Access policies.")
	az.Faults.DenyIdentity(400, multiple)
	resp, body := requestToken(t, az, false)
	var answer struct {
		Error       string `json:"error"`
		Codes       []int  `json:"error_codes"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 400 || len(answer.Codes) != 1 || answer.Codes[0] != 53003 ||
		!strings.HasPrefix(answer.Description, "AADSTS53003: Access has been blocked by Conditional Access policies.\r\n") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := requestToken(t, az, true); resp.StatusCode != 400 || body != multiple {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	az.Faults.DenyTokens(0, "")
	az.Faults.DenyIdentity(0, "")
	for _, host := range []bool{false, true} {
		if resp, body := requestToken(t, az, host); resp.StatusCode != 200 {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	if n, want := az.Counts(), (emulator.Counts{Requests: 4, Tokens: 2}); n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
}

func TestClock(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	earlier := az.Token(app, nil)
	for _, ahead := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		az.Faults.Clock(ahead)
		near := func(what string, at time.Time) {
			t.Helper()
			if d := time.Until(at) - ahead; d < -10*time.Second || d > 10*time.Second {
				t.Errorf("%s is %v off", what, d)
			}
		}
		for _, host := range []bool{false, true} {
			resp, body := requestToken(t, az, host)
			date, err := http.ParseTime(resp.Header.Get("Date"))
			var answer struct {
				Token string `json:"access_token"`
			}
			err = errors.Join(err, json.Unmarshal([]byte(body), &answer))
			claims := jwt.MapClaims{}
			if _, _, err := jwt.NewParser().ParseUnverified(answer.Token, claims); err != nil {
				t.Fatal(err, body)
			}
			exp, _ := claims.GetExpirationTime()
			if err != nil || exp == nil {
				t.Fatal(err, claims)
			}
			near("Date", date)
			near("exp", exp.Add(-time.Hour))
		}
		if _, err := timeSignIn(t, az, az.Token(app, nil)); err != nil { // by Azure's own clock it is new
			t.Error(err)
		}
		if _, err := timeSignIn(t, az, earlier); (ahead > 0) != isExpired(err) {
			t.Errorf("%v ahead, an earlier token: %v", ahead, err)
		}
	}
}

func TestWording(t *testing.T) {
	az := emulator.Start(t)
	ctx := context.Background()
	app := az.Add(emulator.Identity{Name: "app"})
	person := az.Add(emulator.Identity{Name: "me{oid}", Kind: emulator.User})
	team := az.Add(emulator.Identity{Name: "team", Kind: emulator.Group})
	other := az.Add(emulator.Identity{Name: "other"})
	for _, id := range []emulator.Identity{person, team} {
		if err := az.Grant(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	without := func(c map[string]any) { delete(c, "oid") }
	for _, tt := range []struct{ role, token, old, now string }{
		{"app", "x", "The access token has invalid format. Please ensure", "The access token has invalid format. Ensure the token is passed exactly as returned by the authentication endpoint and try again."},
		{"app", "a.b.c", "validating the access token. Please acquire a new token and retry.", "validating the access token. Acquire a new token and try again."},
		{"app", az.Token(app, func(c map[string]any) { c["exp"] = 1 }), "has expired. Please acquire a new token and retry.", "The access token has expired. Acquire a new token and try again."},
		{"app", az.Token(app, func(c map[string]any) { c["aud"] = "x"; without(c) }), "does not have a valid audience claim. Please", `The access token doesn't have a valid audience claim. Acquire a new token for resource "https://ossrdbms-aad.database.windows.net".`},
		{"app", az.Token(app, without), "The access token does not have a valid oid claim. Please acquire a new token and retry.", "The access token doesn't have a valid oid claim. Acquire a new token and try again."},
		{"team", az.Token(person, nil), "Azure AD access token not valid for role team (", "Microsoft Entra access token not valid for role team ("},
		{person.Name, az.Token(app, nil), "Azure AD user token for role[me{oid}] is neither", `Microsoft Entra user token for role "me{oid}" is neither`},
		{"app", az.Token(person, nil), "tokens for role[app]", `Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role "app"`},
		{"app", az.Token(other, nil), "Service Principal oid mismatch for role[app]", `Service principal oid mismatch for role "The oid in the security label [` + app.ObjectID + `] does not match the appid [` + other.ClientID + `] or oid [` + other.ObjectID + `] in the token."`},
	} {
		for _, on := range []bool{false, true} {
			az.Faults.NewWording(on)
			_, err := connectAs(t, az, tt.role, tt.token)
			if want := map[bool]string{false: tt.old, true: tt.now}[on]; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
	}
}

// An administrator's session is read along. It carries everything all the same.
func TestAdministratorsSession(t *testing.T) {
	_, dba := startWithAdmin(t)
	ctx := context.Background()
	if _, err := dba.Exec(ctx, "CREATE TEMP TABLE t (b bytea)"); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 1<<16 - 20, 1 << 16, 3 << 20} {
		big := bytes.Repeat([]byte{0, 'Q', 255, 'P', ';'}, size/5+1)[:size]
		if _, err := dba.Exec(ctx, "INSERT INTO t VALUES ($1)", big); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := dba.QueryRow(ctx, "SELECT length('"+strings.Repeat("é", size)+"') -- pgaadauth").Scan(&n); err != nil || n != size {
			t.Errorf("%d, %v", n, err)
		}
	}
	if _, err := dba.PgConn().CopyFrom(ctx, strings.NewReader(strings.Repeat("pgaadauth\n", 300_000)), "COPY t FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := dba.QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 300_005 {
		t.Errorf("%d rows, %v", n, err)
	}
}
