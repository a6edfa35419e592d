package hint

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write driver/TROUBLESHOOTING.md")

const page = "../../TROUBLESHOOTING.md"

const introduction = `# When a sign-in fails

An error is one line, ` + "`aadpostgres: <step>: <cause>; <what to do>`" + `. Find the step, then the words of the cause: case does not matter, and ` + "`...`" + ` stands
for any text. If a row has a condition, it applies only if the driver knows that the condition holds. ` + "`aadpostgres doctor`" + ` finds the step for
you. This page is the table that the driver itself reads.
`

// sections are the headings of the page, in their order.
var sections = []struct{ step, title string }{
	{DSN, "dsn: the DSN and its environment"},
	{Credential, "credential: creating the credential"},
	{Token, "token: requesting a token"},
	{Network, "network"},
	{TLS, "tls"},
	{SignIn, "sign-in: the server's refusals"},
	{Role, "role: creating a role (aadpostgres role)"},
	{Diagnosis, "diagnosis: warnings of aadpostgres doctor"},
}

// conditions are facts that rules need, in words: all that hints do not print, and some
// that they do, where another rule has the same text.
var conditions = []struct{ fact, words string }{
	{"app_token", "the token is an application's"},
	{"asked", "an authority or endpoint was asked"},
	{"came_identity", "a setting names another identity than the token's"},
	{"certificate_names", "the certificate has names"},
	{"certificate_variable", "SSL_CERT_FILE or SSL_CERT_DIR is set, and there are no root certificates"},
	{"choose_setting", "a variable names it"},
	{"create_sql", "the SQL for the role is known"},
	{"home_root_file", "sslrootcert is not set, and the file root.crt in the home directory is used"},
	{"host_identity", "the mode is managed-identity"},
	{"host_is_address", "the host is not a server's name"},
	{"login_command", "a developer tool was asked"},
	{"long_token", "the token has more than 2,047 bytes"},
	{"no_roots", "there are no root certificates"},
	{"own_credential", "the program uses WithCredential"},
	{"own_roots", "the program sets the roots"},
	{"person_name", "the user name looks like a person's"},
	{"principal_flags", "the role does not have the application's own name"},
	{"rebind_sql", "the SQL for the principal is known"},
	{"root_file", "sslrootcert names a file"},
	{"server_suffix", "the host is a server's name"},
	{"server_suffix_double", "the user name ends in the server's name twice"},
	{"server_suffix_extra", "the user name ends in the server's name, and aad_server_type is not single"},
	{"set_audience", "the server names a resource of Azure Database for PostgreSQL"},
	{"set_own_user", "the token names the identity's role"},
	{"skew", "the clocks differ by a minute or more"},
	{"static_token", "the driver was given the token (aad_auth=access-token)"},
	{"try_command", "a developer tool was asked"},
	{"user_is_id", "the user name looks like a client ID or an object ID"},
	{"user_token", "the token is a person's"},
}

// placeholders stand for the facts that hints print.
var placeholders = []struct{ fact, words string }{
	{"authority", "<authority>"},
	{"came_identity", "<identity of the token>"},
	{"certificate_names", "<names in the certificate>"},
	{"certificate_variable", "<the variable>"},
	{"choose_setting", "<the setting that chooses that identity>"},
	{"create_error", "<why there is none>"},
	{"create_sql", "run as Entra administrator: <SQL that creates the role>"},
	{"database_sql", "<database>"},
	{"failure", "<its failure>"},
	{"file", "<file>"},
	{"home_root_file", "<file>"},
	{"host", "<host>"},
	{"ignoring_mode", "<mode>"},
	{"login_command", "<the tool's login with the server's scope, and the tenant if it is known>"},
	{"max_name", "<limit>"},
	{"meant_by", "<the setting>"},
	{"meant_identity", "<the identity that was meant>"},
	{"mode", "<mode>"},
	{"name_length", "<length>"},
	{"principal_flags", "<flags with its ID>"},
	{"principal_kind", "<kind>"},
	{"rebind_sql", "run as Entra administrator: <SQL that gives the role to the principal>"},
	{"resource", "<resource>"},
	{"role", "<role>"},
	{"role_sql", "<role>"},
	{"root_file", "<file>"},
	{"server_suffix", "@<server>"},
	{"set_audience", "<the key of the DSN that requests that resource>"},
	{"set_own_user", "user=<the identity's name>"},
	{"set_user", "user=<role without @server>"},
	{"skew", "<duration> ahead of or behind"},
	{"token_age", "<age>"},
	{"token_length", "<length>"},
	{"try_command", "<the tool's request for a token>"},
}

func wordsOf(list []struct{ fact, words string }, fact string) string {
	for _, entry := range list {
		if entry.fact == fact {
			return entry.words
		}
	}
	return ""
}

// cells returns a rule as a row of the page.
func cells(r Rule) []string {
	var texts []string
	for _, wording := range r.Wordings() {
		texts = append(texts, "`"+strings.Join(strings.Fields(wording), " ")+"`")
	}
	var known []string
	facts := Facts{}
	for _, fact := range r.Needs() {
		facts[fact] = wordsOf(placeholders, fact)
		words := wordsOf(conditions, fact)
		if words != "" && !slices.Contains(known, words) {
			known = append(known, words)
		}
	}
	escape := strings.NewReplacer("<", "&lt;", ">", "&gt;", "|", `\|`).Replace
	return []string{
		strings.Join(texts, " or "),
		escape(strings.Join(known, ", and ")),
		escape(r.fill(facts)),
		string(r.Source),
	}
}

// The page of hints that people read is the table that the code reads, all of it.
func TestTroubleshooting(t *testing.T) {
	var b strings.Builder
	b.WriteString(introduction)
	rows := 0
	for _, section := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| the cause has | condition | what to do | source |\n|---|---|---|---|\n", section.title)
		for _, r := range Rules() {
			if r.Step != section.step {
				continue
			}
			rows++
			line := "| " + strings.Join(cells(r), " | ") + " |\n"
			b.WriteString(strings.Replace(line, "|  |", "| |", 1))
		}
	}
	if want := len(Rules()); rows != want {
		t.Errorf("the page has %d rows, want %d: a step has no section", rows, want)
	}
	want := b.String()
	got, err := os.ReadFile(page)
	if err == nil && string(got) == want {
		return
	}
	if !*update {
		t.Fatalf("driver/TROUBLESHOOTING.md is not the table of hints (%v); write it with go test -run TestTroubleshooting ./driver/internal/hint -update", err)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The facts that rules need have words, and no other names have.
func TestFactsInWords(t *testing.T) {
	needed := map[string]bool{}
	for _, r := range Rules() {
		for _, fact := range strings.Fields(r.Facts) {
			if wordsOf(conditions, fact) == "" {
				t.Errorf("fact %q of %q has no words among the conditions", fact, r.Text)
			}
		}
		for _, m := range brace.FindAllStringSubmatch(r.Hint, -1) {
			if wordsOf(placeholders, m[1]) == "" {
				t.Errorf("fact %q of %q has no words among the placeholders", m[1], r.Text)
			}
		}
		for _, fact := range r.Needs() {
			needed[fact] = true
		}
	}
	for _, list := range [][]struct{ fact, words string }{conditions, placeholders} {
		for i, entry := range list {
			if !needed[entry.fact] {
				t.Errorf("no rule needs fact %q, which has words", entry.fact)
			}
			if i > 0 && entry.fact <= list[i-1].fact {
				t.Errorf("fact %q comes after %q, want them in order and once", entry.fact, list[i-1].fact)
			}
		}
	}
}
