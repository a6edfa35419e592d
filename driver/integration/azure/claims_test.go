package azure

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
)

const root = "../../.."

// A claim is complete, and what it names is there: a hint, a cloud or a sentence that is
// changed changes its claim.
func TestClaims(t *testing.T) {
	s, err := readSources(root)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	seen := map[string]bool{}
	for _, c := range Claims() {
		t.Run(c.ID, func(t *testing.T) {
			if !form.MatchString(c.ID) || seen[c.ID] {
				t.Errorf("ID = %q, want small words joined by hyphens, and once", c.ID)
			}
			seen[c.ID] = true
			if !strings.HasSuffix(c.Text, ".") {
				t.Errorf("text = %q, want a sentence", c.Text)
			}
			if !slices.Contains([]Standing{Documented, Reported, Inferred, Unknown}, c.Standing) {
				t.Errorf("standing = %q, want one of the constants", c.Standing)
			}
			if c.How == "" || c.try == nil {
				t.Error("the claim does not say how it is tried, or cannot be tried")
			}
			for _, h := range c.Hints {
				if len(h.Rules()) == 0 {
					t.Errorf("no rule of step %s has the wording %q", h.Step, h.Wording)
				}
			}
			for _, name := range c.Clouds {
				if !slices.ContainsFunc(dsn.Clouds(), func(row dsn.Cloud) bool { return row.Name == name }) {
					t.Errorf("no cloud is named %q", name)
				}
			}
			for _, page := range c.Pages {
				if !strings.Contains(oneLine(s.pages[page.File]), page.Text) {
					t.Errorf("%s does not have %q in it", page.File, page.Text)
				}
			}
		})
	}
}

// oneLine returns a text without line breaks and the marks of Go's comments.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n//", "\n")), " ")
}

// unclaimed are the wordings of reported or inferred refusals of the server that no claim
// tries, and why.
var unclaimed = map[string]string{
	"server login has been failing":                "the user's own PgBouncer",
	"query_wait_timeout":                           "the user's own PgBouncer",
	"unsupported startup parameter":                "the user's own PgBouncer",
	"password too long":                            "the user's own PgBouncer",
	"access token is not yet valid":                "needs a token whose validity has not begun",
	"valid oid claim":                              "needs a token without the claim",
	"invalid username specified":                   "single server, which was retired",
	"username@hostname":                            "single server, which was retired",
	"cannot read pg_class without having selected": "a fault of some servers of PostgreSQL 18",
	"server did not complete":                      "not a text of Azure",
	"oauth authentication failed":                  "the server does not offer OAUTHBEARER",
	"oauth bearer authentication failed":           "the server does not offer OAUTHBEARER",
	"invalid oauth error response":                 "the server does not offer OAUTHBEARER",
	"server requested md5":                         "as SCRAM",
	"no such user":                                 "the user's own PgBouncer",
	"pam authentication failed":                    "the user's own PgBouncer",
	"permission denied for database":               "PostgreSQL's own",
	"no pg_hba.conf entry*ssl off":                 "an older wording of the same",
}

// Each refusal of the server that a hint infers, or takes from users, has a claim, or a
// reason.
func TestRefusalsAreClaimed(t *testing.T) {
	claimed := map[string]bool{}
	for _, c := range Claims() {
		for _, h := range c.Hints {
			claimed[h.Wording] = true
		}
	}
	for _, r := range hint.Rules() {
		if r.Step != hint.SignIn || r.Source != hint.Reported && r.Source != hint.Inferred {
			continue
		}
		for wording := range strings.SplitSeq(r.Text, "|") {
			if !claimed[wording] && unclaimed[wording] == "" {
				t.Errorf("no claim is about %q; add one, or the reason to unclaimed", wording)
			}
		}
	}
}

// What has been confirmed is cited where it is relied on, and nothing else is.
func TestConfirmed(t *testing.T) {
	confirmed, err := Confirmations()
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSources(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range s.check(confirmed) {
		t.Error(problem)
	}
}

func TestConfirmations(t *testing.T) {
	audience := Hint{hint.SignIn, "valid audience claim"}.Rules()[0]
	expired := Hint{hint.SignIn, "access token has expired"}.Rules()[0]
	public := dsn.Clouds()[0]
	cited := func(r hint.Rule, id string) hint.Rule {
		r.Source = hint.ConfirmedBy(id)
		return r
	}
	citedCloud := public
	citedCloud.Source = "documented, and " + Citation("cloud-public")
	const row = "refused-audience 2026-12-01 17.6 https://example.com/1\n"
	rows := []struct {
		name string
		text string // of confirmed.txt
		s    sources
		want []string // parts of the problems, in order
	}{
		{"nothing", "# a comment\n\n", sources{rules: []hint.Rule{audience}}, nil},
		{"confirmed and cited", row, sources{rules: []hint.Rule{audience, cited(audience, "refused-audience")}}, nil},
		{"confirmed and not cited", row, sources{rules: []hint.Rule{audience}}, []string{`write "confirmed on Azure (refused-audience)" in the source of the hint for "valid audience claim"`}},
		{"cited and not confirmed", "", sources{rules: []hint.Rule{cited(audience, "refused-audience")}}, []string{"which confirmed.txt does not have"}},
		{"cited elsewhere", row, sources{rules: []hint.Rule{cited(audience, "refused-audience"), cited(expired, "refused-audience")}}, []string{"which does not name it"}},
		{"unknown claim", "none-such 2026-12-01 17.6 https://example.com/1\n", sources{}, []string{"which does not exist"}},
		{"cloud", "cloud-public 2026-12-01 17.6 https://example.com/1\n", sources{clouds: []dsn.Cloud{citedCloud}}, nil},
		{"cloud not cited", "cloud-public 2026-12-01 17.6 https://example.com/1\n", sources{clouds: []dsn.Cloud{public}}, []string{"in the source of cloud public"}},
		{"page", "token-reused 2026-12-01 17.6 https://example.com/1\n", sources{pages: map[string]string{readme: "share one token (confirmed on Azure (token-reused))"}}, nil},
		{"page not cited", "token-reused 2026-12-01 17.6 https://example.com/1\n", sources{pages: map[string]string{readme: "share one token"}}, []string{"in README.md"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			confirmed, err := parseConfirmations(row.text)
			if err != nil {
				t.Fatal(err)
			}
			got := row.s.check(confirmed)
			if len(got) != len(row.want) {
				t.Fatalf("check() = %q, want %q", got, row.want)
			}
			for i := range got {
				if !strings.Contains(got[i], row.want[i]) {
					t.Errorf("check() = %q, want %q in it", got[i], row.want[i])
				}
			}
		})
	}
}

func TestConfirmationsRefuseOtherLines(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"fields", "refused-audience 2026-12-01 17.6"},
		{"day", "refused-audience yesterday 17.6 https://example.com/1"},
		{"issue", "refused-audience 2026-12-01 17.6 LINK"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, err := parseConfirmations(row.text); err == nil {
				t.Errorf("parseConfirmations(%q) = %v, want an error", row.text, got)
			}
		})
	}
}
