package azure

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A mask replaces what names a host, a person, an identity or a secret by placeholders. The
// same value has the same placeholder in all of a report. What is known by value is
// replaced wherever it stands; what is not known is found by its form.
type mask struct {
	known  []masked          // longest first
	unseen map[string]string // placeholders of values that were found by form
	counts map[string]int
}

type masked struct {
	value, placeholder string
	pattern            *regexp.Regexp
}

func newMask() *mask { return &mask{unseen: map[string]string{}, counts: map[string]int{}} }

// add makes kind the placeholder of a value. Case does not matter. A value that is known
// already keeps its placeholder.
func (m *mask) add(kind, value string) {
	value = strings.TrimSpace(value)
	if value == "" || slices.ContainsFunc(m.known, func(k masked) bool { return strings.EqualFold(k.value, value) }) {
		return
	}
	pattern := regexp.QuoteMeta(value)
	if wordEnd.MatchString(value) {
		pattern += `\b` // a role may be named as a part of another word
	}
	if wordBegin.MatchString(value) {
		pattern = `\b` + pattern
	}
	m.known = append(m.known, masked{value, m.next(kind), regexp.MustCompile(`(?i)` + pattern)})
	slices.SortStableFunc(m.known, func(a, b masked) int { return cmp.Compare(len(b.value), len(a.value)) })
}

var (
	wordBegin = regexp.MustCompile(`^\w`)
	wordEnd   = regexp.MustCompile(`\w$`)
)

// next returns a placeholder that is not in use yet.
func (m *mask) next(kind string) string {
	m.counts[kind]++
	if n := m.counts[kind]; n > 1 {
		return fmt.Sprintf("<%s %d>", kind, n)
	}
	return "<" + kind + ">"
}

// The forms of names that may be private, and what they are. The order matters: an address
// of mail has a host in it.
var forms = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*`)},
	{"ID", regexp.MustCompile(`(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b[0-9a-f]{32}\b`)},
	{"account", regexp.MustCompile(`[\w.+%#-]+@[\w-]+(?:\.[\w-]+)*`)},
	{"URL", regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>)\]]+`)},
	{"address", regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b|(?i)(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}\b`)},
	{"host", regexp.MustCompile(`(?i)\b(?:[a-z0-9_-]+\.)+(?:com|net|org|io|dev|cn|us|de|fr|sg|gov|scloud|local|internal)\b`)},
	{"name", regexp.MustCompile(`"[^"\n]+"|\[[^\]\n]+\]|(?:^|[\s(=:])'[^'\n]+'`)},
	{"opaque value", regexp.MustCompile(`[A-Za-z0-9+/_=-]{40,}`)},
}

var resourceID = regexp.MustCompile(`(?i)/subscriptions/[^\s"'<>,;]+`)

// publicNames are what a report may name: Azure's own applications and hosts.
var publicNames = []string{
	"123cd850-d9df-40bd-94d5-c9f07b7fa203", // Azure OSSRDBMS Database
	"5657e26c-cc92-45d9-bc47-9da6cfdb4ed9", // Azure OSSRDBMS PostgreSQL Flexible Server AAD Authentication
	"00000000-0000-0000-0000-000000000000",
	"169.254.169.254", "sts.windows.net",
	"client_encoding", "application_name", "server_version", "pgaadauth", "pgaadauth-int",
}

// public reports whether a text that has the form of a name is one of Azure's own.
func public(s string) bool {
	s = strings.Trim(strings.TrimSpace(s), `"'[].,`)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") || slices.Contains(publicNames, strings.ToLower(s)) {
		return true
	}
	bare := strings.TrimSuffix(strings.TrimRight(s, "/"), "/.default")
	for _, c := range dsn.Clouds() {
		resource := strings.TrimRight(c.Resource, "/")
		if strings.EqualFold(bare, resource) || strings.EqualFold(bare, strings.TrimPrefix(resource, "https://")) {
			return true
		}
		authority := strings.TrimRight(c.Authority, "/")
		if strings.EqualFold(bare, authority) || strings.EqualFold(bare, strings.TrimPrefix(authority, "https://")) {
			return true
		}
	}
	return strings.EqualFold(bare, strings.TrimSuffix(dsn.CosmosScope, "/.default"))
}

// text returns s in one printable line, with all names masked.
func (m *mask) text(s string) string {
	s = redact.Printable(s)
	s = resourceID.ReplaceAllStringFunc(s, func(found string) string { return m.placeholder("resource ID", found) }) // it may end in a known name
	for _, k := range m.known {
		s = outside(s, func(part string) string { return k.pattern.ReplaceAllLiteralString(part, k.placeholder) })
	}
	for _, form := range forms {
		if form.kind == "name" {
			s = form.pattern.ReplaceAllStringFunc(s, m.quoted)
			continue
		}
		s = outside(s, func(part string) string {
			return form.pattern.ReplaceAllStringFunc(part, func(found string) string {
				if public(found) {
					return found
				}
				return m.placeholder(form.kind, found)
			})
		})
	}
	return strings.Join(strings.Fields(s), " ")
}

// quoted masks what stands in quotation marks or brackets. What is masked already stays,
// and so does a sentence that has masked names in brackets.
func (m *mask) quoted(found string) string {
	begin := strings.IndexAny(found, `"'[`) + 1
	inner := found[begin : len(found)-1]
	if public(inner) || strings.Contains(inner, "[<") {
		return found
	}
	if known := placeholders.FindString(inner); known != "" {
		inner = known // a part of it may be private still
	} else {
		inner = m.placeholder("name", inner)
	}
	return found[:begin] + inner + found[len(found)-1:]
}

var placeholders = regexp.MustCompile(`<[^<>]*>`)

// outside applies f to what is not a placeholder.
func outside(s string, f func(string) string) string {
	var b strings.Builder
	end := 0
	for _, at := range placeholders.FindAllStringIndex(s, -1) {
		b.WriteString(f(s[end:at[0]]))
		b.WriteString(s[at[0]:at[1]])
		end = at[1]
	}
	b.WriteString(f(s[end:]))
	return b.String()
}

func (m *mask) placeholder(kind, value string) string {
	key := strings.ToLower(value)
	if m.unseen[key] == "" {
		m.unseen[key] = m.next(kind)
	}
	return m.unseen[key]
}

// leaks returns the placeholder of a value that texts still name, or "". It does not rely
// on how the texts were made.
func (m *mask) leaks(texts []string) string {
	for _, text := range texts {
		text = placeholders.ReplaceAllString(text, "")
		for _, k := range m.known {
			if k.pattern.MatchString(text) {
				return k.placeholder
			}
		}
		for value, placeholder := range m.unseen {
			if len(value) >= 6 && strings.Contains(strings.ToLower(text), value) && !public(value) {
				return placeholder
			}
		}
		for _, form := range forms[:2] { // tokens and IDs, whatever they are of
			if found := form.pattern.FindString(text); found != "" && !public(found) {
				return "<" + form.kind + ">"
			}
		}
	}
	return ""
}
