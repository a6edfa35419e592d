package hint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// factsOf returns facts of these names, each with a value that no other has.
func factsOf(names []string) Facts {
	facts := Facts{}
	for _, name := range names {
		facts[name] = "<" + name + ">"
	}
	return facts
}

// label names a rule among the subtests.
func label(r Rule) string {
	return strings.Join(append([]string{r.Step, r.Text}, r.Needs()...), " ")
}

// hiding returns the first rule before rule i that has the same hint and matches too, so
// that the hint does not tell them apart.
func hiding(i int, text string, facts Facts) *Rule {
	for j, r := range rules[:i] {
		if r.Step == rules[i].Step && r.Hint == rules[i].Hint && r.matches(text) && r.holds(facts) {
			return &rules[j]
		}
	}
	return nil
}

// Each rule is found by each of its wordings, in any case, given exactly the facts that it
// needs: no rule hides another.
func TestHints(t *testing.T) {
	for i, r := range Rules() {
		t.Run(label(r), func(t *testing.T) {
			facts := factsOf(r.Needs())
			want := r.fill(facts)
			for _, wording := range r.Wordings() {
				got, step := Find(strings.ToUpper(wording), facts, r.Step)
				if got != want {
					t.Errorf("Find(%q) = %q, want %q", wording, got, want)
				}
				if step != r.Step {
					t.Errorf("Find(%q) finds step %q, want %q", wording, step, r.Step)
				}
				if other := hiding(i, wording, facts); other != nil {
					t.Errorf("%q is found by the rule %+v before %+v", wording, *other, r)
				}
			}
		})
	}
}

// A rule that needs a fact is chosen only if that fact is known: its hint would state
// what may be false.
func TestNoHintWithoutItsFacts(t *testing.T) {
	for _, r := range Rules() {
		needs := r.Needs()
		for _, absent := range needs {
			t.Run(label(r)+" without "+absent, func(t *testing.T) {
				for _, value := range []string{"absent", "empty"} {
					facts := factsOf(needs)
					delete(facts, absent)
					if value == "empty" {
						facts[absent] = ""
					}
					for _, wording := range r.Wordings() {
						got, _ := Find(wording, facts, r.Step)
						unwanted := r.fill(factsOf(needs))
						if got == unwanted || got == r.fill(facts) {
							t.Errorf("Find(%q) = %q with %s %s, want another hint or none", wording, got, absent, value)
						}
					}
				}
			})
		}
	}
}

// The table is written as texts are matched, and says no more than is known.
func TestRules(t *testing.T) {
	steps := []string{DSN, Credential, Token, Network, TLS, SignIn, Role, Diagnosis}
	sources := []Source{Documented, Seen, Reported, Inferred, Ours}
	const yaml = "{SYSTEM_ACCESSTOKEN: $(System.AccessToken)}" // the only braces that are part of a hint
	for _, r := range Rules() {
		t.Run(label(r), func(t *testing.T) {
			if !slices.Contains(steps, r.Step) {
				t.Errorf("step is %q, want one of %q", r.Step, steps)
			}
			if !slices.Contains(sources, r.Source) && !strings.HasPrefix(string(r.Source), confirmed+" (") {
				t.Errorf("source is %q, want one of %q, or ConfirmedBy a claim", r.Source, sources)
			}
			if got := strings.ToLower(r.Text); got != r.Text {
				t.Errorf("text is %q, want %q: texts are matched in lower case", r.Text, got)
			}
			if got := normalize(r.Text); got != r.Text {
				t.Errorf("text is %q, want %q: texts are matched normalized", r.Text, got)
			}
			for _, wording := range r.Wordings() {
				if strings.TrimSpace(strings.ReplaceAll(wording, " ... ", "")) == "" {
					t.Errorf("text is %q, want wordings that do not match every text", r.Text)
				}
			}
			if (r.Source == Reported || r.Source == Inferred) && !strings.Contains(r.Hint, "check") {
				t.Errorf("hint is %q, want it to say check: its source is %q", r.Hint, r.Source)
			}
			filled := strings.ReplaceAll(r.fill(factsOf(r.Needs())), yaml, "")
			if strings.TrimSpace(filled) == "" {
				t.Errorf("hint is %q, want some text", r.Hint)
			}
			if strings.ContainsAny(filled, "{}") {
				t.Errorf("hint is %q when filled, want no braces left", filled)
			}
		})
	}
}

// A rule names only facts that the driver supplies, and each of these has a rule.
func TestRulesNameKnownFacts(t *testing.T) {
	known := FactNames()
	if !slices.IsSorted(known) {
		t.Errorf("FactNames() = %q, want them in order", known)
	}
	used := map[string]bool{}
	for _, r := range Rules() {
		for _, name := range r.Needs() {
			used[name] = true
			if !slices.Contains(known, name) {
				t.Errorf("rule %q needs the fact %q, which the driver does not supply", label(r), name)
			}
		}
	}
	for _, name := range known {
		if !used[name] {
			t.Errorf("no rule needs the fact %q", name)
		}
	}
}

// The names of facts are those that the driver's code has.
func TestFactsAreSupplied(t *testing.T) {
	code := driverCode(t)
	named := regexp.MustCompile(`\b(?:f|facts|hint\.facts)\[("\w+")\]|\bset\(("\w+")|[{,\t ]("\w+"): `)
	supplied := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(code, -1) {
		name := strings.Trim(m[1]+m[2]+m[3], `"`)
		supplied[name] = true
		if m[3] == "" && !slices.Contains(FactNames(), name) {
			t.Errorf("the driver names the fact %q, which is not one of FactNames()", name)
		}
	}
	for _, name := range FactNames() {
		if !supplied[name] {
			t.Errorf("no code of the driver supplies the fact %q", name)
		}
	}
}

func TestFind(t *testing.T) {
	rows := []struct {
		name     string
		text     string
		facts    Facts
		steps    []string
		wantHint string // a part; "" for none
		wantStep string
	}{
		{"no step", "az login", nil, nil, "", ""},
		{"of another step", "az login", nil, []string{SignIn}, "", ""},
		{"no rule", "something else", nil, []string{Token}, "", ""},
		{"no text", "", nil, []string{Token}, "", ""},
		{"capitals", "Please run: AZ LOGIN", nil, []string{Token}, "run az login", Token},
		{"contraction", "database \"d\" doesn't exist", nil, []string{SignIn}, "correct dbname", SignIn},
		{"old name of Entra", "Azure AD access token has expired", nil, []string{SignIn}, "check this machine's clock", SignIn},
		{"parts in their order", "lookup h: i/o timeout", nil, []string{Network}, "name servers", Network},
		{"parts in another order", "i/o timeout at lookup", nil, []string{Network}, "firewall rules", Network},
		{"a refusal in mode default", "ManagedIdentityCredential: Unable to load the proper Managed Identity (requested identity: the host's own)\nDefaultAzureCredential: failed", nil, []string{Token}, "set aad_client_id (AZURE_CLIENT_ID in mode default)", Token},
		{"a refusal of another identity", "Unable to load the proper Managed Identity (requested identity: \"x\")", nil, []string{Token}, "correct its ID", Token},
		{"no credential is available", "none of the credentials is available here: managed-identity: the response of http://h (HTTP 502) is not JSON of a metadata service", nil, []string{Token}, "check which of them this host is to have", Token},
		{"an absent endpoint", "the response of http://h (HTTP 502) is not JSON of a metadata service", Facts{"authority": "https://login"}, []string{Token}, "check that this host has a managed identity", Token},
		{"nobody listens, on Windows", "dial tcp 10.0.0.4:5432: connectex: No connection could be made because the target machine actively refused it.", nil, []string{Network}, "nothing listens there", Network},
		{"no response, on Windows", "dial tcp 10.0.0.4:5432: connectex: A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond.", nil, []string{Network}, "firewall rules", Network},
		{"no route, on Windows", "dial tcp 10.0.0.4:5432: connectex: A socket operation was attempted to an unreachable network.", Facts{"host": `"h"`}, []string{Network}, `between this machine and "h"`, Network},
		{"reset, on Windows", "read tcp 10.0.0.5:50000->10.0.0.4:5432: wsarecv: An existing connection was forcibly closed by the remote host.", nil, []string{Network}, "firewall or proxy", Network},
		{"aborted, on Windows", "write tcp 10.0.0.5:50000->10.0.0.4:5432: wsasend: An established connection was aborted by the software in your host machine.", nil, []string{Network}, "firewall or proxy", Network},
		{"name servers, on Windows", "lookup h: getaddrinfow: This is usually a temporary error during hostname resolution and means that the local server did not receive a response from an authoritative server.", nil, []string{Network}, "name servers", Network},
		{"an authority that refuses, on Windows", "dial tcp 10.0.0.4:443: connectex: No connection could be made because the target machine actively refused it.", Facts{"authority": "https://login"}, []string{Token}, "check the network between this machine and https://login", Token},
		{"several steps", "server refused TLS", nil, []string{SignIn, TLS, Network}, "Azure always offers TLS", TLS},
		{"a refusal that quotes the network", "server did not complete the authentication: unexpected EOF", nil, []string{SignIn, TLS, Network}, "check the host", SignIn},
		{"a refusal that quotes TLS", "server did not complete the authentication: tls: handshake failure", nil, []string{SignIn, TLS, Network}, "check the host", SignIn},
		{"a fact is filled in", "no such host", Facts{"host": `"h"`}, []string{Network}, `check the name "h"`, Network},
		{"the fact is not known", "no such host", nil, []string{Network}, "", ""},
		{"token expired, in its newest wording", "The access token has expired. Acquire a new token and try again.", nil, []string{SignIn}, "present younger tokens", SignIn},
		{"malformed token, in its newest wording", "The access token has invalid format. Try again after making sure that the token is passed exactly as returned by the authentication endpoint.", nil, []string{SignIn}, "passed as it was issued", SignIn},
		{"token not yet valid", "The access token isn't yet valid. Acquire a new token and try again.", nil, []string{SignIn}, "check the clocks", SignIn},
		{"a user named like a wording", `password authentication failed for user "access token has expired"`, nil, []string{SignIn}, "", ""},
		{"a user with quotation marks", `password authentication failed for user "a" access token has expired "b"`, nil, []string{SignIn}, "", ""},
		{"a database named like a wording", `no pg_hba.conf entry for host "h", user "u", database "too many clients", no encryption`, nil, []string{SignIn}, "requires TLS", SignIn},
		{"a role in brackets named like a wording", "Service Principal oid mismatch for role[password too long]", Facts{"role": "r"}, []string{SignIn}, "created for another object ID", SignIn},
		{"a host with a word of a rule in it", "geoffrey.example: something new", nil, []string{Network}, "", ""},
		{"a word of a rule", "unexpected EOF", nil, []string{Network}, "firewall or proxy", Network},
		{"several lines", "password\n\tauthentication  failed", Facts{"role": "r"}, []string{SignIn}, "check that role r", SignIn},
		{"pg_hba.conf rejects", `pg_hba.conf rejects connection for host "h", user "u", database "d", no encryption`, nil, []string{SignIn}, "check pg_hba.conf", SignIn},
		{"PgBouncer's database", "no such database: d", nil, []string{SignIn}, "[databases]", SignIn},
		{"PgBouncer's user", "no such user", Facts{"role": "r"}, []string{SignIn}, "auth_query", SignIn},
		{"validate user", "An unexpected error occurred while trying to validate user (SQLSTATE 0LP01)", nil, []string{Role}, "5657e26c-cc92-45d9-bc47-9da6cfdb4ed9", Role},
		{"a code alone", "something new (SQLSTATE 0LP01)", nil, []string{Role}, "5657e26c-cc92-45d9-bc47-9da6cfdb4ed9", Role},
		{"grant of a role", `permission denied to grant role "azure_pg_admin" (SQLSTATE 42501)`, nil, []string{Role}, "WITH ADMIN OPTION", Role},
		{"grant of a role before PostgreSQL 16", `must have admin option on role "x" (SQLSTATE 42501)`, nil, []string{Role}, "WITH ADMIN OPTION", Role},
		{"creation of a role", "permission denied to create role (SQLSTATE 42501)", nil, []string{Role}, "sign in as the server's Entra administrator", Role},
		{"a short token", "client sent partial pkt in startup phase", Facts{"token_length": "1177"}, []string{SignIn}, "1177 bytes", SignIn},
		{"a long token", "client sent partial pkt in startup phase", Facts{"token_length": "3000", "long_token": "yes"}, []string{SignIn}, "2,047", SignIn},
		{"far into a text", strings.Repeat("x", 9000) + "az login", nil, []string{Token}, "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, step := Find(row.text, row.facts, row.steps...)
			if !strings.Contains(got, row.wantHint) || (got == "") != (row.wantHint == "") {
				t.Errorf("Find(%.100q) = %q, want %q in it", row.text, got, row.wantHint)
			}
			if step != row.wantStep {
				t.Errorf("Find(%.100q) finds step %q, want %q", row.text, step, row.wantStep)
			}
		})
	}
}

// driverCode returns the code that raises errors and supplies facts, in lower case.
func driverCode(t *testing.T) string {
	t.Helper()
	var code strings.Builder
	for _, pattern := range []string{"../../*.go", "../credential/*.go", "../token/*.go", "../direct/*.go"} {
		files, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("Glob(%q) = %q, %v, want files", pattern, files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.WriteString(strings.ToLower(string(b)))
		}
	}
	return code.String()
}

// The texts of this module's own errors are those that its code has: a rule for an error
// that nobody raises any more is never read.
func TestOwnErrorsAreRaised(t *testing.T) {
	code := driverCode(t)
	for _, r := range Rules() {
		if r.Source != Ours {
			continue
		}
		t.Run(label(r), func(t *testing.T) {
			for part := range strings.FieldsFuncSeq(r.Text, func(c rune) bool { return c == '|' || c == '*' }) {
				part = strings.Trim(part, ": ") // what follows may be formatted
				if !strings.Contains(code, part) {
					t.Errorf("no file of the driver has the text %q", part)
				}
			}
		})
	}
}

// A caller cannot change the table.
func TestRulesAreCopied(t *testing.T) {
	want := Rules()[0].Hint
	Rules()[0].Hint = "changed"
	if got := Rules()[0].Hint; got != want {
		t.Errorf("Rules()[0].Hint = %q, want %q", got, want)
	}
}

func TestSaysTokenRejected(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"expired", "The access token has expired. Please acquire a new token and retry.", true},
		{"expired, newest wording", "The access token has expired. Acquire a new token and try again.", true},
		{"expired, on two lines", "The access token\nhas expired", true},
		{"not yet valid", "The access token isn't yet valid.", true},
		{"invalid format", "The access token has invalid format. Ensure the token is passed exactly as returned by the authentication endpoint and try again.", true},
		{"audience", `The access token doesn't have a valid audience claim. Acquire a new token for resource "https://x".`, true},
		{"oid", "The access token does not have a valid oid claim. Please acquire a new token and retry.", true},
		{"validation", "An error occurred while validating the access token. Acquire a new token and try again.", true},
		{"not a member", "Azure AD access token not valid for role token (does not contain group ID x)", true},
		{"bearer", "OAuth authentication failed: invalid_token", true},
		{"bearer, for another reason", "OAuth authentication failed: insufficient_scope", false},
		{"user named token", `password authentication failed for user "token"`, false},
		{"user named like a wording", `password authentication failed for user "access token has expired"`, false},
		{"database named like a wording", `database "the access token has expired" does not exist`, false},
		{"role in brackets", "Service Principal oid mismatch for role[access token has expired]", false},
		{"kind of token", "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[x]", false},
		{"another word of tokens", "too many tokens", false},
		{"none", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SaysTokenRejected(tt.text); got != tt.want {
				t.Errorf("SaysTokenRejected(%q) = %t, want %t", tt.text, got, tt.want)
			}
		})
	}
}

func TestSaysRoleExists(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"another object ID", "Service Principal oid mismatch for role[billing]", true},
		{"not a member", "Azure AD access token not valid for role Readers (does not contain group ID x)", true},
		{"another kind", "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[x]", true},
		{"no login", `role "x" is not permitted to log in`, true},
		{"not known", `password authentication failed for user "x"`, false},
		{"user named like a wording", `password authentication failed for user "oid mismatch"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SaysRoleExists(tt.text); got != tt.want {
				t.Errorf("SaysRoleExists(%q) = %t, want %t", tt.text, got, tt.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	rule := Rule{Step: SignIn, Text: "access token has expired|no such*user", Source: ConfirmedBy("some-claim")}
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"a wording", "The access token\nhas expired", true},
		{"another wording", "no such wonderful user", true},
		{"none", "the token is too old", false},
		{"in a name", `role "access token has expired" does not exist`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := rule.Matches(tt.text); got != tt.want {
				t.Errorf("Matches(%q) = %t, want %t", tt.text, got, tt.want)
			}
		})
	}
	if want := Source("confirmed on Azure (some-claim)"); rule.Source != want {
		t.Errorf("ConfirmedBy() = %q, want %q", rule.Source, want)
	}
}
