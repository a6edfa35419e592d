package integration

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// diagnose runs the doctor and returns its checks by name.
func diagnose(t *testing.T, dsn string, opts ...driver.Option) map[string]driver.Check {
	t.Helper()
	checks := map[string]driver.Check{}
	for c := range driver.Diagnose(t.Context(), dsn, opts...) {
		if _, exists := checks[c.Name]; exists {
			t.Errorf("check %s exists twice: %+v", c.Name, c)
		}
		if strings.ContainsAny(c.Found+c.Hint, "\n\t") {
			t.Errorf("check = %+v, want one line", c)
		}
		checks[c.Name] = c
	}
	return checks
}

// TestDoctorCosts checks that a diagnosis makes one token request and one connection,
// whatever it finds.
func TestDoctorCosts(t *testing.T) {
	_, dsn := newIdentity(t, "patient")
	before := az.Counts()
	checks := diagnose(t, dsn)
	for _, name := range []string{"options", "cloud", "credential", "token", "claims", "user", "dns", "tcp", "tls", "sign-in", "role"} {
		if c := checks[name]; c.Status != driver.StatusOK || c.Found == "" || c.Hint != "" || c.Err != nil {
			t.Errorf("%s = %+v, want %s with a finding and no hint", name, c, driver.StatusOK)
		}
	}
	healthy := az.Counts()
	if got := healthy.Tokens - before.Tokens; got != 1 {
		t.Errorf("tokens = %d, want 1", got)
	}
	if got := healthy.SignIns - before.SignIns; got != 1 {
		t.Errorf("sign-ins = %d, want 1", got)
	}
	if got := healthy.Refused - before.Refused; got != 0 {
		t.Errorf("refused sign-ins = %d, want 0", got)
	}
	diagnose(t, dsn+" user=nobody-here")
	failing := az.Counts()
	if got := failing.Tokens - healthy.Tokens; got != 0 {
		t.Errorf("without a role: tokens = %d, want 0: one is cached", got)
	}
	if got := failing.SignIns - healthy.SignIns; got != 0 {
		t.Errorf("without a role: sign-ins = %d, want 0", got)
	}
}

// TestDoctorTimes checks that each check reports its own time: a slow step does not make
// another look slow.
func TestDoctorTimes(t *testing.T) {
	const delay = 300 * time.Millisecond
	for _, tt := range []struct {
		check string
		slow  func(time.Duration)
	}{
		{"token", az.Faults.TokenDelay},
		{"sign-in", az.Faults.SignInDelay},
	} {
		t.Run(tt.check, func(t *testing.T) {
			_, dsn := newIdentity(t, "slow "+tt.check)
			tt.slow(delay)
			defer tt.slow(0)
			for _, c := range diagnose(t, dsn) {
				if slow := c.Took >= delay; slow != (c.Name == tt.check) {
					t.Errorf("%s took %s, want at least %s: %t", c.Name, c.Took, delay, c.Name == tt.check)
				}
			}
		})
	}
}

// TestDoctorWarns covers what works but may be a mistake: the check that it concerns warns.
func TestDoctorWarns(t *testing.T) {
	fx := newFixture(t)
	longName := strings.Repeat("long-", 13)
	for _, role := range []string{"ops@contoso.com", "ops@emulator", longName[:63]} {
		fx.grant(t, emulator.Identity{Name: role, ObjectID: fx.app.ObjectID})
	}
	fx.execAsSuperuser(t, "CREATE ROLE native LOGIN PASSWORD 'p'")
	for _, tt := range []struct {
		name, dsn   string
		setup       func(t *testing.T)
		noRoot      bool   // without sslrootcert
		check, hint string // of the warning; "": there is none
		found       string // by that check, or by options if there is no warning
	}{
		{name: "aad_insecure", dsn: secretDSN + "user=billing aad_insecure=unverified", noRoot: true, check: "options", hint: "remove aad_insecure outside of tests"},
		{name: "clock skew", dsn: managedDSN + "user=billing aad_scope=https://ossrdbms-aad.database.windows.net//.default", setup: func(t *testing.T) {
			fx.az.Faults.Clock(10 * time.Minute)
			t.Cleanup(func() { fx.az.Faults.Clock(0) })
		}, check: "token", hint: "behind the authority's"},
		{name: "user name for an application", dsn: secretDSN + "user=ops@contoso.com", check: "user", hint: "the name looks like a person's", found: `"ops@contoso.com", as given`},
		{name: "server name suffix", dsn: azureHost + secretDSN + "user=ops@emulator", check: "user", hint: "only a single server needs @emulator after the name"},
		{name: "long name", dsn: secretDSN + "user=" + longName, check: "user", hint: "PostgreSQL keeps 63 bytes of a name, and this one has 65"},
		{name: "unreachable host in the list", dsn: fmt.Sprintf("host=127.0.0.1,localhost port=1,%d %suser=billing", fx.az.Port(), secretDSN), check: "tcp", hint: "check the host that failed: dial tcp 127.0.0.1:1: connect: connection refused", found: fmt.Sprintf("127.0.0.1:%d", fx.az.Port())},
		{name: "catalog not readable", dsn: secretDSN + "user=billing", setup: func(t *testing.T) {
			fx.execAsSuperuser(t, "REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC")
			t.Cleanup(func() { fx.execAsSuperuser(t, "GRANT SELECT ON pg_catalog.pg_auth_members TO PUBLIC") })
		}, check: "role", hint: "look at the role with an administrator's rights", found: "cannot be read: permission denied for table pg_auth_members"},
		{name: "certificate name mismatch in the list", dsn: fmt.Sprintf("host=nobody.example,localhost port=%d %suser=billing", fx.az.Port(), secretDSN), check: "tls", hint: "certificate is valid for", found: "TLS 1.3, certificate for localhost"},
		{name: "password mode", dsn: "aad_auth=password user=native password=p sslmode=verify-full", found: "password=xxxxx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
			if tt.setup != nil {
				tt.setup(t)
			}
			dsn := fx.dsn(tt.dsn)
			if strings.HasPrefix(tt.dsn, "host=127") || strings.HasPrefix(tt.dsn, "host=nobody") { // it has ports of its own
				dsn = strings.Replace(dsn, fmt.Sprintf("port=%d ", fx.az.Port()), "", 1)
			}
			if tt.noRoot { // with one, pgx would verify the certificate against it
				dsn = strings.Replace(dsn, "sslrootcert="+fx.az.CertFile(), "", 1)
			}
			checks := diagnose(t, dsn, fx.newTransport(), resolveToEmulator)
			if c, ok := checks["role"]; !ok || c.Status == driver.StatusFail {
				t.Errorf("role = %+v, want a sign-in that succeeds: %+v", c, checks)
			}
			for name, c := range checks {
				if warns := c.Status == driver.StatusWarn; warns != (name == tt.check) {
					t.Errorf("%s = %+v, want a warning: %t", name, c, name == tt.check)
				}
			}
			if got := checks[tt.check].Hint; !strings.Contains(got, tt.hint) {
				t.Errorf("%s: hint = %q, want %q", tt.check, got, tt.hint)
			}
			if got := checks["tls"].Found; !strings.HasPrefix(got, "TLS 1.3, certificate for ") {
				t.Errorf("tls = %q, want TLS 1.3 and the certificate's names", got)
			}
			if got := checks[cmp.Or(tt.check, "options")].Found; !strings.Contains(got, tt.found) {
				t.Errorf("%s = %q, want %q", cmp.Or(tt.check, "options"), got, tt.found)
			}
			_, hasToken := checks["token"]
			if want := strings.Contains(checks["options"].Found, "aad_client_id"); hasToken != want {
				t.Errorf("a token check: %t, want %t: %+v", hasToken, want, checks)
			}
		})
	}
}

// BenchmarkDoctor compares a diagnosis with one connect of a new connector.
func BenchmarkDoctor(b *testing.B) {
	_, dsn := newIdentity(b, "bench doctor")
	compare(b, "doctor/connect", func() {
		for c := range driver.Diagnose(b.Context(), dsn) {
			if c.Status != driver.StatusOK {
				b.Fatal(c)
			}
		}
	}, func() {
		c, err := driver.NewConnector(dsn)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conn, err := c.Connect(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
	})
}
