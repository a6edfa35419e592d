package hint

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// normalize makes one text of several wordings: it has no contractions and one of
// Entra's names. Its argument is in lower case.
var normalize = strings.NewReplacer("doesn't", "does not", "isn't", "is not", "hasn't", "has not", "please ", "", "azure ad ", "microsoft entra ").Replace

// lower returns the beginning of a text as rules are matched with it.
func lower(text string) string {
	const longest = 8 << 10 // bytes; a hostile server may send a gigabyte
	text = space.ReplaceAllString(text[:min(len(text), longest)], " ")
	return normalize(strings.ToLower(text))
}

var space = regexp.MustCompile(`\s+`)

// name matches the names that a server puts into a text, from the first quotation mark or
// bracket to the last: a role's name may hold such a mark itself.
var name = regexp.MustCompile(`"[^\n]*"|\[[^\n]*\]`)

// withoutNames takes the names of roles and databases out of a server's text: they may be
// words of a rule.
func withoutNames(text string) string { return name.ReplaceAllString(text, `""`) }

// contains reports whether the parts of a wording stand in text, in their order.
func contains(text, wording string) bool {
	for part := range strings.SplitSeq(wording, "*") {
		end := indexWords(text, part)
		if end < 0 {
			return false
		}
		text = text[end:]
	}
	return true
}

// indexWords returns where the first occurrence of part in text ends, or -1. A part of one
// word must be a whole word there: a host may be named geoffrey, which has "eof" in it.
func indexWords(text, part string) int {
	for from := 0; ; from++ {
		i := strings.Index(text[from:], part)
		if i < 0 {
			return -1
		}
		from += i
		end := from + len(part)
		before, _ := utf8.DecodeLastRuneInString(text[:from])
		after, _ := utf8.DecodeRuneInString(text[end:])
		first, _ := utf8.DecodeRuneInString(part)
		last, _ := utf8.DecodeLastRuneInString(part)
		within := !strings.Contains(part, " ") && ((unicode.IsLetter(before) && unicode.IsLetter(first)) || (unicode.IsLetter(last) && unicode.IsLetter(after)))
		if !within {
			return end
		}
	}
}

// rejectedToken has the refusals that are about the token itself, so that another token may
// be accepted.
const rejectedToken = "access token has expired|access token is not yet valid|access token has invalid format|valid audience claim|valid oid claim|" +
	"error occurred while validating the access token|access token not valid for role|oauth authentication failed: invalid_token"

// existingRole has the refusals of which it follows that the role exists.
const existingRole = "oid mismatch|cannot generate aad_auth_tokentype_app_user|neither an aad_auth_tokentype_app|not valid for role|is not permitted to log in"

// SaysTokenRejected reports whether a server's refusal is about the token itself. Names in
// the text do not count.
func SaysTokenRejected(text string) bool { return says(text, rejectedToken) }

// SaysRoleExists reports whether a server's refusal means that the role exists.
func SaysRoleExists(text string) bool { return says(text, existingRole) }

func says(text, wordings string) bool {
	return Rule{Text: wordings}.matches(withoutNames(lower(text)))
}
