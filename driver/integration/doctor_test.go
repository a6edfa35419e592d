package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// checks runs the doctor.
func diagnose(t *testing.T, dsn string, opts ...driver.Option) map[string]driver.Check {
	t.Helper()
	found := map[string]driver.Check{}
	for c := range driver.Diagnose(t.Context(), dsn, opts...) {
		if _, twice := found[c.Name]; twice || strings.ContainsAny(c.Found+c.Hint, "\n\t") {
			t.Errorf("%+v", c)
		}
		found[c.Name] = c
	}
	return found
}

// The doctor costs one token request and one connection, whatever it finds.
func TestDoctorCosts(t *testing.T) {
	_, dsn := newIdentity(t, "patient")
	before := az.Counts()
	found := diagnose(t, dsn)
	for _, name := range []string{"options", "cloud", "credential", "token", "claims", "user", "dns", "tcp", "tls", "sign-in", "role"} {
		if c := found[name]; c.Status != driver.StatusOK || c.Found == "" || c.Hint != "" || c.Err != nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	after := az.Counts()
	if after.Tokens-before.Tokens != 1 || after.SignIns-before.SignIns != 1 || after.Refused != before.Refused {
		t.Errorf("%+v, then %+v", before, after)
	}
	diagnose(t, dsn+" user=nobody-here")
	if now := az.Counts(); now.SignIns != after.SignIns || now.Tokens != after.Tokens {
		t.Errorf("%+v, then %+v", after, now)
	}
}

// Each step's time is its own: a slow one does not make another look slow.
func TestDoctorTimes(t *testing.T) {
	const slow = 300 * time.Millisecond
	for name, knob := range map[string]func(time.Duration){"token": az.Faults.TokenDelay, "sign-in": az.Faults.SignInDelay} {
		_, dsn := newIdentity(t, "slow "+name)
		knob(slow)
		found := diagnose(t, dsn)
		knob(0)
		for _, c := range found {
			if c.Name == name && c.Took < slow || c.Name != name && c.Took >= slow {
				t.Errorf("slow %s: %s took %s", name, c.Name, c.Took)
			}
		}
	}
}

// What works but may not be meant is a warning, at the step that it is about.
func TestDoctorWarns(t *testing.T) {
	fx := newFixture(t)
	grant := func(name string) { grant(t, fx, emulator.Identity{Name: name, ObjectID: fx.app.ObjectID}) }
	long := strings.Repeat("long-", 13)
	grant("ops@contoso.com")
	grant("ops@emulator")
	grant(long[:63])
	fx.execAsSuperuser(t, "CREATE ROLE native LOGIN PASSWORD 'p'")
	for _, tt := range []struct {
		name, dsn   string
		token       string
		set         func() (undo func())
		check, hint string // of the warning; none: there is none
		found       string // by that check, or by options if there is no warning
	}{
		{name: "unverified", dsn: secretDSN + "user=billing aad_insecure=unverified", check: "options", hint: "drop aad_insecure outside of tests"},
		{name: "clock", dsn: managedDSN + "user=billing aad_scope=https://ossrdbms-aad.database.windows.net//.default", set: func() func() {
			fx.az.Faults.Clock(10 * time.Minute)
			return func() { fx.az.Faults.Clock(0) }
		}, check: "token", hint: "behind the authority's"},
		{name: "a person's name for an application", dsn: secretDSN + "user=ops@contoso.com", check: "user", hint: "the name looks like a person's", found: `"ops@contoso.com", as given`},
		{name: "the server's name at the end", dsn: azureHost + secretDSN + "user=ops@emulator", check: "user", hint: "only single server wants @emulator after the name"},
		{name: "a long name", dsn: secretDSN + "user=" + long, check: "user", hint: "PostgreSQL keeps 63 bytes of a name; this one has 65"},
		{name: "a dead host in the list", dsn: fmt.Sprintf("host=127.0.0.1,localhost port=1,%d %suser=billing", fx.az.Port(), secretDSN), check: "tcp", hint: "check the host that failed: dial tcp 127.0.0.1:1: connect: connection refused", found: fmt.Sprintf("127.0.0.1:%d", fx.az.Port())},
		{name: "catalogs are shut", dsn: secretDSN + "user=billing", set: func() func() {
			fx.execAsSuperuser(t, "REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC")
			return func() { fx.execAsSuperuser(t, "GRANT SELECT ON pg_catalog.pg_auth_members TO PUBLIC") }
		}, check: "role", hint: "look at the role with an administrator's rights", found: "not to be read: permission denied for table pg_auth_members"},
		{name: "a host with another's certificate in the list", dsn: fmt.Sprintf("host=nobody.example,localhost port=%d %suser=billing", fx.az.Port(), secretDSN), check: "tls", hint: "certificate is valid for", found: "TLS 1.3, certificate for localhost"},
		{name: "no Entra, TLS", dsn: "aad_auth=password user=native password=p sslmode=verify-full", found: "password=xxxxx"},
		{name: "no Entra", dsn: "aad_auth=password user=native password=p sslmode=verify-full", found: "password=xxxxx"},
	} {
		fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
		undo := func() {}
		if tt.set != nil {
			undo = tt.set()
		}
		dsn := fx.dsn(tt.dsn)
		if strings.HasPrefix(tt.dsn, "host=127") || strings.HasPrefix(tt.dsn, "host=nobody") {
			dsn = strings.Replace(dsn, fmt.Sprintf("port=%d ", fx.az.Port()), "", 1)
		}
		if tt.name == "unverified" { // with a root, pgx would hold require to it
			dsn = strings.Replace(dsn, "sslrootcert="+fx.az.CertFile(), "", 1)
		}
		found := diagnose(t, dsn, fx.newTransport(), resolveToEmulator)
		undo()
		if c, ok := found["role"]; !ok || c.Status == driver.StatusFail {
			t.Errorf("%s: it does not sign in: %+v", tt.name, found)
		}
		for name, c := range found {
			if (c.Status == driver.StatusWarn) != (name == tt.check) || (name == tt.check && !strings.Contains(c.Hint, tt.hint)) {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
		if tls := found["tls"].Found; !strings.HasPrefix(tls, "TLS 1.3, certificate for ") {
			t.Errorf("%s: TLS is said to be %q", tt.name, tls)
		}
		at := tt.check
		if at == "" {
			at = "options"
		}
		if !strings.Contains(found[at].Found, tt.found) {
			t.Errorf("%s: %+v, want %s", tt.name, found[at], tt.found)
		}
		if _, entra := found["token"]; entra != strings.Contains(found["options"].Found, "aad_client_id") {
			t.Errorf("%s: %+v", tt.name, found)
		}
	}
}

// BenchmarkDoctor sets a whole diagnosis beside one connect of a connector's own.
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
