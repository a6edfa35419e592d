package azure

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A report of Azure ends in the lines for confirmed.txt, which are as that file wants them.
func TestReportOfAzure(t *testing.T) {
	r := &Report{Target: "Azure", Server: "17.6", Day: "2026-12-01", Results: []Result{
		{Claim: Claim{ID: "a-a", Text: "A | is so."}, Verdict: Confirmed, Seen: []string{"seen ``` <role>"}},
		{Claim: Claim{ID: "b-b", Text: "B is so."}, Verdict: Contradicted, Why: []string{"<role> is | other"}},
		{Claim: Claim{ID: "c-c", Text: "C is so."}, Verdict: NotTried, Why: []string{"no server"}},
	}}
	text := r.Markdown()
	for _, want := range []string{
		"Target: **Azure**, PostgreSQL 17.6, 2026-12-01",
		"3 claims: 1 confirmed, 1 contradicted, 1 not tried.",
		`| ` + "`a-a`" + ` | A \| is so. |`,
		`| &lt;role&gt; is \| other |`,
		"a-a: seen ''' <role>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Markdown() = %q, want %q in it", text, want)
		}
	}
	_, lines, _ := strings.Cut(text, "confirmed.txt")
	lines = strings.ReplaceAll(regexp.MustCompile("(?m)^[a-z]-[a-z] .*$").FindString(lines), "LINK", "https://example.com/1")
	confirmed, err := parseConfirmations(lines)
	if err != nil || len(confirmed) != 1 || confirmed[0].Claim != "a-a" {
		t.Errorf("parseConfirmations(%q) = %v, %v, want the confirmed claim", lines, confirmed, err)
	}
}

// A run whose administrator cannot sign in has no report, and its error names nobody.
func TestRunWithoutAdministrator(t *testing.T) {
	az, s, secrets := emulated(t)
	az.Faults.DenyIdentity(400, `{"error":"invalid_request","error_description":"Identity not found"}`)
	report, err := Run(t.Context(), s)
	if report != nil || err == nil {
		t.Fatalf("Run() = %v, %v, want no report and an error", report, err)
	}
	secrets.check(t, err.Error())
}

// A report that would name somebody, because a trial has not masked its text, is not
// written.
func TestReportThatLeaks(t *testing.T) {
	_, s, _ := emulated(t)
	s.table = []Claim{{ID: "a-a", try: func(_ context.Context, t *trial) {
		t.seen = append(t.seen, "host "+t.base.Params["host"])
	}}}
	report, err := Run(t.Context(), s)
	if report != nil || err == nil || !strings.Contains(err.Error(), "would name <host>") {
		t.Errorf("Run() = %v, %v, want no report, and an error that says why", report, err)
	}
}

// The newer wordings of Azure's texts have the same verdicts.
func TestEmulatorNewWording(t *testing.T) {
	az, s, secrets := emulated(t)
	az.Faults.NewWording(true)
	s.Only = regexp.MustCompile("^refused-")
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	secrets.check(t, report.Markdown())
	if got := report.IDs(Contradicted); len(got) > 0 {
		t.Errorf("contradicted = %q, want none", got)
	}
}

// What the server says differently than claimed is a contradiction.
func TestEmulatorContradicts(t *testing.T) {
	_, s, _ := emulated(t)
	s.Only = regexp.MustCompile("^(sign-in-managed-identity|sign-in-managed-identity-name)$")
	s.Identities[ManagedIdentity] = strings.Replace(s.Identities[ManagedIdentity], "user=app", "user=billing", 1)
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Count(Contradicted); got != 2 {
		t.Errorf("contradicted = %d, want 2: the role is another identity's", got)
		t.Log(report.Markdown())
	}
}

// The run drops what it creates.
func TestRunDropsRoles(t *testing.T) {
	az, s, _ := emulated(t)
	s.Only = regexp.MustCompile("^(role-|refused-|token-revoked)")
	if _, err := Run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := leftOver(t, az); got != 0 {
		t.Errorf("roles and databases left = %d, want 0", got)
	}
}

func leftOver(t *testing.T, az *emulator.Azure) (n int) {
	t.Helper()
	conn := connectSuperuser(t, az)
	err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'aadpostgres\_%') + (SELECT count(*) FROM pg_database WHERE datname LIKE 'aadpostgres\_%')`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
