package emulator

import (
	"regexp"
	"strconv"
	"strings"
)

// A token is a word, a quoted name, a string or a sign of SQL.
type token struct {
	text string
	at   int
}

// name is the name that a token is, as PostgreSQL understands it.
func (t token) name() string {
	if unicoded.MatchString(t.text) {
		return escape.ReplaceAllStringFunc(token{text: t.text[2:]}.name(), func(s string) string {
			if s == `\\` {
				return `\`
			}
			code, _ := strconv.ParseInt(strings.TrimLeft(s, `\+`), 16, 32) // the pattern has hexadecimal digits
			return string(rune(code))
		})
	}
	if len(t.text) > 1 && t.text[0] == '"' { // alone it begins a name that never ends
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return strings.ToLower(t.text)
}

// says tells that a statement begins with those names; "" is any.
func says(s []token, names ...string) bool {
	for i, name := range names {
		if i >= len(s) || name != "" && strings.Trim(s[i].name(), "'") != name {
			return false
		}
	}
	return true
}

var (
	blank  = regexp.MustCompile(`^(?s:\s+|--[^\n]*|/\*.*?\*/)`)
	dollar = regexp.MustCompile(`^\$[\pL_]?[\pL_\d]*\$`)
	// A name in Unicode escapes, with the usual escape character.
	unicoded = regexp.MustCompile(`^(?s:[uU]&"(?:[^"]|"")*")$`)
	escape   = regexp.MustCompile(`\\(?:\\|\+[0-9a-fA-F]{6}|[0-9a-fA-F]{4})`)
	lexeme   = regexp.MustCompile(`^(?s:[uU]&"(?:[^"]|"")*"|[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\pL_][\pL_\d$]*|.)`)
)

// statements finds the tokens of each statement. It need not understand the
// others than those to be rewritten, only where they end.
func statements(sql string) (all [][]token) {
	var s []token
	for at := 0; at < len(sql); {
		rest := sql[at:]
		if b := blank.FindString(rest); b != "" {
			at += len(b)
			continue
		}
		text := lexeme.FindString(rest)
		if tag := dollar.FindString(rest); tag != "" {
			text = rest
			if i := strings.Index(rest[len(tag):], tag); i >= 0 {
				text = rest[:i+2*len(tag)]
			}
		}
		if text == ";" {
			all, s = append(all, s), nil
		} else {
			s = append(s, token{text, at})
		}
		at += len(text)
	}
	return append(all, s)
}

// literal quotes a string for SQL, whatever standard_conforming_strings is.
func literal(s string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}
