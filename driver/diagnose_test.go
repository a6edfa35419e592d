package driver

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A range over a diagnosis can be left at any check. What follows is not done.
func TestDiagnoseCanBeLeft(t *testing.T) {
	entratest.CleanEnv(t)
	const mostChecks = 11
	for _, tt := range []struct {
		name, params string
		opts         []Option
	}{
		{name: "token", opts: []Option{WithCredential(&entratest.Credential{})}},
		{name: "password", params: "aad_auth=password password=p sslmode=verify-full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28000", "no") })
			for leaveAt := 1; leaveAt <= mostChecks; leaveAt++ {
				n := 0
				for range Diagnose(t.Context(), s.trustedDSN(tt.params), tt.opts...) {
					n++
					if n == leaveAt {
						break
					}
				}
				if got := s.connections(); leaveAt == 1 && got > 0 {
					t.Errorf("connections of a diagnosis left at its first check = %d, want 0", got)
				}
			}
		})
	}
}

// A check prints safely what others chose: the names of a certificate, the label of a role.
func TestChecksArePrintable(t *testing.T) {
	var got Check
	d := &diagnosis{yield: func(c Check) bool {
		got = c
		return true
	}}
	d.report(Check{Found: "a\x1b[31m\nb\u202e" + strings.Repeat("c", 1<<20), Hint: "\x07"})
	if want := "a [31m b"; !strings.HasPrefix(got.Found, want) {
		t.Errorf("Found = %.100q, want it to begin with %q", got.Found, want)
	}
	checkPrintable(t, "Found", got.Found, 5000)
	if want := " "; got.Hint != want {
		t.Errorf("Hint = %q, want %q", got.Hint, want)
	}
	if got.Status != StatusOK {
		t.Errorf("Status = %q, want %q", got.Status, StatusOK)
	}
}

// The check of TLS says how the server was verified. The check of the options warns where
// it is not.
func TestDiagnoseReportsVerification(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("53300", "full") })
	root := "sslrootcert=" + entratest.Quote(s.certFile)
	for _, tt := range []struct {
		name, params string
		tls          string // at the end of the check of TLS
		options      Status
	}{
		{name: "verify-full", params: root, tls: ", verified", options: StatusOK},
		{name: "verify-ca", params: "sslmode=verify-ca " + root, tls: ", verified, by its issuer alone", options: StatusOK},
		{name: "unverified", params: "aad_insecure=unverified", tls: ", not verified", options: StatusWarn},
		{name: "verify-full although unverified is allowed", params: "aad_insecure=unverified sslmode=verify-full " + root, tls: ", verified", options: StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checks := map[string]Check{}
			for c := range Diagnose(t.Context(), s.dsn(tt.params), WithCredential(&entratest.Credential{})) {
				checks[c.Name] = c
			}
			if got := checks["tls"].Found; !strings.HasSuffix(got, tt.tls) {
				t.Errorf("tls: Found = %q, want %q at its end", got, tt.tls)
			}
			if got := checks["options"].Status; got != tt.options {
				t.Errorf("options: Status = %q, want %q", got, tt.options)
			}
		})
	}
}

// Settings that are likely mistakes, although a sign-in may work, are warned of.
func TestDiagnoseWarnsOfMistakes(t *testing.T) {
	entratest.CleanEnv(t)
	const id = "00000000-0000-0000-0000-00000000000A"
	s := newFakeServer(t, nil)
	for _, tt := range []struct{ name, params, password, check, want string }{
		{name: "token in PGPASSWORD", password: entratest.JWT(nil), check: "options", want: "set aad_auth=access-token to present the token of PGPASSWORD"},
		{name: "password in PGPASSWORD", password: "p", check: "options"},
		{name: "name as client ID", params: "aad_auth=managed-identity aad_client_id=billing", check: "options", want: "set aad_client_id to the client ID, which is a GUID"},
		{name: "client ID", params: "aad_auth=managed-identity aad_client_id=" + id, check: "options"},
		{name: "ID as user", params: "user=" + id, check: "user", want: "check the user: it looks like a client ID or an object ID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PGPASSWORD", tt.password)
			checks := map[string]Check{}
			for c := range Diagnose(t.Context(), s.trustedDSN(tt.params), WithCredential(&entratest.Credential{})) {
				checks[c.Name] = c
				if c.Name == tt.check {
					break // the server answers no query
				}
			}
			want := StatusOK
			if tt.want != "" {
				want = StatusWarn
			}
			if got := checks[tt.check]; got.Status != want || !strings.HasPrefix(got.Hint, tt.want) {
				t.Errorf("%s = %+v, want status %s and a hint that begins with %q", tt.check, got, want, tt.want)
			}
		})
	}
}

// A server that is silent at any step ends a diagnosis, although neither its context nor
// the DSN has a bound.
func TestDiagnoseIsBounded(t *testing.T) {
	entratest.CleanEnv(t)
	silentAfter := func(replies ...[]byte) func(*fakeServer, net.Conn) { return send(replies[0], replies[1:]...) }
	for _, tt := range []struct {
		name      string
		misbehave func(*fakeServer, net.Conn)
		dnsHangs  bool
		params    string
		last      string // name of the last check
	}{
		{name: "name server", dnsHangs: true, last: "dns"},
		{name: "before TLS", misbehave: func(s *fakeServer, conn net.Conn) {
			s.readSSLRequest(conn)
			io.Copy(io.Discard, conn)
		}, last: "tls"},
		{name: "after TLS", misbehave: silentAfter(nil), last: "sign-in"},
		{name: "after the token", misbehave: silentAfter(cleartextRequest), last: "sign-in"},
		{name: "after the sign-in", misbehave: silentAfter(cleartextRequest, encode(authOK...)), last: "role"},
		{name: "after the sign-in, target_session_attrs", params: "target_session_attrs=read-write", misbehave: silentAfter(cleartextRequest, encode(authOK...)), last: "sign-in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.misbehave = tt.misbehave })
			dsn := strings.Replace(s.trustedDSN(tt.params), "connect_timeout=5", "", 1)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				hang := WithConnConfig(func(c *pgx.ConnConfig) {
					if tt.dnsHangs {
						c.LookupFunc = func(ctx context.Context, _ string) ([]string, error) {
							<-ctx.Done()
							return nil, ctx.Err()
						}
					}
				})
				var last Check
				for check := range Diagnose(t.Context(), dsn, WithCredential(&entratest.Credential{}), s.overPipe(0), hang) {
					last = check
				}
				if last.Name != tt.last {
					t.Errorf("last check = %+v, want %q", last, tt.last)
				}
				if took, most := time.Since(began), 30*time.Second; took > most {
					t.Errorf("Diagnose() took %s, want %s at most", took, most)
				}
				time.Sleep(time.Minute) // of the bubble: the server notices that the client has gone
			})
		})
	}
}

// pgx closes a connection whose time is up in the background, and dials there to cancel the
// query. The diagnosis goes on meanwhile. The race detector must find nothing.
func TestDiagnoseWhilePgxCancels(t *testing.T) {
	entratest.CleanEnv(t)
	for _, params := range []string{"target_session_attrs=read-write", ""} {
		t.Run(params, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) { s.misbehave = send(cleartextRequest, encode(authOK...)) })
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				for check := range Diagnose(ctx, withHosts(s.trustedDSN(params), 2), WithCredential(&entratest.Credential{})) {
					_ = fmt.Sprintf("%+v", check)
				}
				cancel()
			}
		})
	}
}
