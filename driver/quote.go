package driver

import (
	"fmt"
	"strings"
	"unicode"
)

// quoteIdentifier writes an SQL identifier. What does not print is escaped, so that a
// terminal shows all of it.
func quoteIdentifier(s string) string {
	if printable(s) {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"':
			b.WriteString(`""`)
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\+%06X`, r)
		}
	}
	return `U&"` + b.String() + `"`
}

// quoteLiteral writes an SQL string literal that means the same with either value of
// standard_conforming_strings.
func quoteLiteral(s string) string {
	if printable(s) && !strings.Contains(s, `\`) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	return "E'" + b.String() + "'"
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
