package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Refuse sends an error with all its fields unchanged, to Entra roles and to native ones.
func TestRefuse(t *testing.T) {
	az := emulator.Start(t)
	token := az.Token(az.Identity("app"), nil)
	allBytes := make([]byte, 0, 255) // but 0, which ends a field
	for b := 1; b < 256; b++ {
		allBytes = append(allBytes, byte(b))
	}
	full := pgconn.PgError{Severity: "PANIC", SeverityUnlocalized: "PANIC", Code: "XX000", Message: string(allBytes), Detail: strings.Repeat(string(allBytes), 1<<14), Hint: "h",
		Position: 3, InternalPosition: 4, InternalQuery: "q", Where: "w", SchemaName: "s", TableName: "t", ColumnName: "c",
		DataTypeName: "d", ConstraintName: "n", File: "f", Line: 5, Routine: "r"}
	for _, tt := range []struct {
		name      string
		set, want pgconn.PgError
	}{
		{"severity by default",
			pgconn.PgError{Code: "53300", Message: "sorry, too many clients already."},
			pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "53300", Message: "sorry, too many clients already."}},
		{"every field", full, full},
	} {
		for _, user := range []string{"app", "postgres"} {
			t.Run(tt.name+", "+user, func(t *testing.T) {
				az.Faults.Refuse(&tt.set)
				_, err := connectAs(t, az, user, token)
				var got *pgconn.PgError
				if !errors.As(err, &got) {
					t.Fatalf("got error %v, want %v", err, &tt.want)
				}
				if *got != tt.want {
					t.Errorf("got error %+v, want %+v", *got, tt.want)
				}
			})
		}
	}
	t.Run("none", func(t *testing.T) {
		az.Faults.Refuse(nil)
		checkAccepted(t, az, token)
	})
}

func TestCertificate(t *testing.T) {
	az := emulator.Start(t)
	token := az.Token(az.Identity("app"), nil)
	for _, tt := range []struct {
		name        string
		certificate emulator.Certificate
		matches     func(error) bool
	}{
		{"expired", emulator.ExpiredCertificate, func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}},
		{"wrong host", emulator.WrongHostCertificate, func(err error) bool {
			var hostname x509.HostnameError
			return errors.As(err, &hostname)
		}},
		{"untrusted", emulator.UntrustedCertificate, func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			az.Faults.Certificate(tt.certificate)
			_, err := timeSignIn(t, az, token)
			var verification *tls.CertificateVerificationError
			if !errors.As(err, &verification) {
				t.Errorf("sign-in: %v, want a certificate verification error", err)
			}
			if !tt.matches(err) {
				t.Errorf("sign-in: %v, want the error of this certificate", err)
			}
		})
	}
	t.Run("valid", func(t *testing.T) {
		az.Faults.Certificate(emulator.ValidCertificate)
		checkAccepted(t, az, token)
	})
}

func TestDeny(t *testing.T) {
	az := emulator.Start(t)
	const (
		text   = "Access has been blocked by Conditional Access policies."
		body   = `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`
		prefix = "AADSTS53003: " + text + "\r\n"
	)
	az.Faults.DenyTokens(53003, text)
	az.Faults.DenyIdentity(400, body)
	t.Run("Entra", func(t *testing.T) {
		resp, body := requestFromEntra(t, az)
		checkStatus(t, resp, body, 400)
		var got struct {
			Codes       []int  `json:"error_codes"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Codes) != 1 || got.Codes[0] != 53003 {
			t.Errorf("error_codes = %v, want [53003]", got.Codes)
		}
		if !strings.HasPrefix(got.Description, prefix) {
			t.Errorf("error_description = %q, want prefix %q", got.Description, prefix)
		}
	})
	t.Run("host", func(t *testing.T) {
		resp, got := requestFromHost(t, az)
		checkStatus(t, resp, got, 400)
		if got != body {
			t.Errorf("body = %s, want %s", got, body)
		}
	})
	t.Run("reverted", func(t *testing.T) {
		az.Faults.DenyTokens(0, "")
		az.Faults.DenyIdentity(0, "")
		resp, body := requestFromEntra(t, az)
		checkStatus(t, resp, body, 200)
		resp, body = requestFromHost(t, az)
		checkStatus(t, resp, body, 200)
	})
	if got, want := az.Counts(), (emulator.Counts{Requests: 4, Tokens: 2}); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
}

func checkStatus(t *testing.T, resp *http.Response, body string, want int) {
	t.Helper()
	if resp.StatusCode != want {
		t.Errorf("status = %d, want %d: %s", resp.StatusCode, want, body)
	}
}

// Azure's clock determines the Date header, the times in tokens and which tokens have
// expired.
func TestClock(t *testing.T) {
	az := emulator.Start(t)
	app := az.Identity("app")
	issuedBefore := az.Token(app, nil)
	for _, tt := range []struct {
		name  string
		ahead time.Duration
		check func(*testing.T, *emulator.Azure, string) // of the token that was issued before
	}{
		{"two hours ahead", 2 * time.Hour, checkExpired},
		{"two hours behind", -2 * time.Hour, checkAccepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			az.Faults.Clock(tt.ahead)
			t.Run("Entra", func(t *testing.T) {
				resp, body := requestFromEntra(t, az)
				checkClock(t, resp, body, tt.ahead)
			})
			t.Run("host", func(t *testing.T) {
				resp, body := requestFromHost(t, az)
				checkClock(t, resp, body, tt.ahead)
			})
			checkAccepted(t, az, az.Token(app, nil))
			tt.check(t, az, issuedBefore)
		})
	}
}

// checkClock checks that the times in a response with a token are ahead.
func checkClock(t *testing.T, resp *http.Response, body string, ahead time.Duration) {
	t.Helper()
	checkNear := func(what string, got time.Time) {
		t.Helper()
		if d := time.Until(got) - ahead; d.Abs() > 10*time.Second {
			t.Errorf("%s is %v off, want at most 10s", what, d)
		}
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		t.Fatal(err)
	}
	checkNear("Date", date)
	var response struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(response.Token, claims); err != nil {
		t.Fatal(err)
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		t.Fatalf("exp = %v, %v, want a time", exp, err)
	}
	checkNear("exp", exp.Add(-time.Hour))
}

// The gateway refuses in the words of either version of Azure.
func TestWording(t *testing.T) {
	az := emulator.Start(t)
	app := az.Identity("app")
	user := mustGrant(t, az, emulator.Identity{Name: "me{oid}", Kind: emulator.User})
	mustGrant(t, az, emulator.Identity{Name: "team", Kind: emulator.Group})
	other := az.Add(emulator.Identity{Name: "other"})
	withoutOID := func(c map[string]any) { delete(c, "oid") }
	for _, tt := range []struct{ name, role, token, old, current string }{
		{"invalid format", "app", "x",
			"The access token has invalid format. Please ensure",
			"The access token has invalid format. Ensure the token is passed exactly as returned by the authentication endpoint and try again."},
		{"invalid token", "app", "a.b.c",
			"validating the access token. Please acquire a new token and retry.",
			"validating the access token. Acquire a new token and try again."},
		{"expired", "app", az.Token(app, func(c map[string]any) { c["exp"] = 1 }),
			"has expired. Please acquire a new token and retry.",
			"The access token has expired. Acquire a new token and try again."},
		{"wrong audience", "app", az.Token(app, func(c map[string]any) { c["aud"] = "x"; withoutOID(c) }),
			"does not have a valid audience claim. Please",
			`The access token doesn't have a valid audience claim. Acquire a new token for resource "https://ossrdbms-aad.database.windows.net".`},
		{"no object id", "app", az.Token(app, withoutOID),
			"The access token does not have a valid oid claim. Please acquire a new token and retry.",
			"The access token doesn't have a valid oid claim. Acquire a new token and try again."},
		{"not a member", "team", az.Token(user, nil),
			"Azure AD access token not valid for role team (",
			"Microsoft Entra access token not valid for role team ("},
		{"application as a user", user.Name, az.Token(app, nil),
			"Azure AD user token for role[me{oid}] is neither",
			`Microsoft Entra user token for role "me{oid}" is neither`},
		{"user as an application", "app", az.Token(user, nil),
			"tokens for role[app]",
			`Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role "app"`},
		{"another application", "app", az.Token(other, nil),
			"Service Principal oid mismatch for role[app]",
			`Service principal oid mismatch for role "The oid in the security label [` + app.ObjectID + `] does not match the appid [` + other.ClientID + `] or oid [` + other.ObjectID + `] in the token."`},
	} {
		for _, version := range []struct {
			name string
			on   bool
			want string
		}{
			{"old", false, tt.old},
			{"current", true, tt.current},
		} {
			t.Run(tt.name+", "+version.name, func(t *testing.T) {
				az.Faults.NewWording(version.on)
				_, err := connectAs(t, az, tt.role, tt.token)
				if err == nil || !strings.Contains(err.Error(), version.want) {
					t.Errorf("got  %v\nwant %s", err, version.want)
				}
			})
		}
	}
}
