// Package hint holds the one table of hints: what to do about a failure, chosen by the
// text of its cause and by the facts that are known. [Find] reads the table, and so does
// the test that prints it as driver/TROUBLESHOOTING.md.
package hint

import (
	"regexp"
	"slices"
	"strings"
)

// The steps of a sign-in that have rules. The last two are not steps of a connect: Role
// is the making of a role, Diagnosis has what works but deserves a warning.
const (
	DSN        = "dsn"
	Credential = "credential"
	Token      = "token"
	Network    = "network"
	TLS        = "tls"
	SignIn     = "sign-in"
	Role       = "role"
	Diagnosis  = "diagnosis"
)

// A Source says how a rule is known. Only what is documented, or was seen in a run, is
// stated in a hint; the hints of other rules say "check".
type Source string

// The sources of rules.
const (
	Documented Source = "documented"
	Seen       Source = "seen in a run" // of the library that says it, not of Azure
	Reported   Source = "reported by users"
	Inferred   Source = "inferred"
	Ours       Source = "this driver's own" // an error that this module raises itself
)

// confirmed begins the sources of rules whose text was seen on Azure.
const confirmed = "confirmed on Azure"

// ConfirmedBy is the source of a rule whose text was seen on Azure, as the claim of that ID
// in driver/integration/azure says.
func ConfirmedBy(claim string) Source { return Source(confirmed + " (" + claim + ")") }

// A Rule is a row of the table.
type Rule struct {
	Step   string
	Text   string // wordings of the cause in lower case, separated by |; * stands for any text
	Facts  string // names of facts that must be known, beside those in Hint; separated by spaces
	Hint   string // names of facts stand in braces, and must be known
	Source Source
}

// Facts are what is known about a failure, by name. What is not known is absent or
// empty. A fact that a hint prints is complete as it is, such as a quoted name or a
// setting; of the others any value will do.
type Facts map[string]string

// Rules returns the table, in the order in which it is read.
func Rules() []Rule { return slices.Clone(rules) }

// Find returns the hint for a text at one of the steps, with its facts filled in, and
// its step. The first rule whose text matches and whose facts are all known is taken.
// Both are "" if there is none.
func Find(text string, facts Facts, steps ...string) (hint, step string) {
	text = lower(text)
	said := withoutNames(text)
	for _, r := range rules {
		text := text
		if r.quotesNames() {
			text = said
		}
		if slices.Contains(steps, r.Step) && r.matches(text) && r.holds(facts) {
			return r.fill(facts), r.Step
		}
	}
	return "", ""
}

// Wordings returns the texts that r matches, with " ... " where any text may stand.
func (r Rule) Wordings() []string {
	return strings.Split(strings.ReplaceAll(r.Text, "*", " ... "), "|")
}

// Matches reports whether r has a wording of text, as [Find] matches it. It does not look
// at facts.
func (r Rule) Matches(text string) bool {
	text = lower(text)
	if r.quotesNames() {
		text = withoutNames(text)
	}
	return r.matches(text)
}

// quotesNames reports whether the texts that r is for are those of peers, which quote names.
// No rule is about a name.
func (r Rule) quotesNames() bool { return r.Step == SignIn || r.Step == TLS || r.Step == Network }

func (r Rule) matches(text string) bool {
	for wording := range strings.SplitSeq(r.Text, "|") {
		if contains(text, wording) {
			return true
		}
	}
	return false
}

var brace = regexp.MustCompile(`\{(\w+)\}`)

// Needs returns the names of the facts that r needs: those in Facts, then those in Hint.
func (r Rule) Needs() []string {
	names := strings.Fields(r.Facts)
	for _, m := range brace.FindAllStringSubmatch(r.Hint, -1) {
		names = append(names, m[1])
	}
	return names
}

func (r Rule) holds(facts Facts) bool {
	for _, name := range r.Needs() {
		if facts[name] == "" {
			return false
		}
	}
	return true
}

func (r Rule) fill(facts Facts) string {
	return brace.ReplaceAllStringFunc(r.Hint, func(s string) string { return facts[s[1:len(s)-1]] })
}
