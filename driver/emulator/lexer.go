package emulator

import (
	"regexp"
	"strconv"
	"strings"
)

// A sqlToken is a word, a quoted identifier, a string or a single character of SQL.
type sqlToken struct {
	text   string
	offset int // in the SQL text
}

// name returns the identifier that a token is, as PostgreSQL reads it.
func (t sqlToken) name() string {
	if unicodeIdentifier.MatchString(t.text) {
		quoted := sqlToken{text: t.text[len("U&"):]}
		return unicodeEscape.ReplaceAllStringFunc(quoted.name(), unescape)
	}
	if len(t.text) > 1 && t.text[0] == '"' { // a quote alone begins an identifier that never ends
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return strings.ToLower(t.text)
}

func unescape(s string) string {
	if s == `\\` {
		return `\`
	}
	code, _ := strconv.ParseInt(strings.TrimLeft(s, `\+`), 16, 32) // unicodeEscape matches hexadecimal digits only
	return string(rune(code))
}

// startsWith reports whether a statement starts with those names. "" matches every token.
func startsWith(s []sqlToken, names ...string) bool {
	if len(s) < len(names) {
		return false
	}
	for i, name := range names {
		if name != "" && strings.Trim(s[i].name(), "'") != name {
			return false
		}
	}
	return true
}

var (
	whitespace    = regexp.MustCompile(`^(?s:\s+|--[^\n]*|/\*.*?\*/)`)
	dollarTag     = regexp.MustCompile(`^\$[\pL_]?[\pL_\d]*\$`)
	unicodeEscape = regexp.MustCompile(`\\(?:\\|\+[0-9a-fA-F]{6}|[0-9a-fA-F]{4})`)
	// unicodeIdentifier has the default escape character: UESCAPE is not supported.
	unicodeIdentifier = regexp.MustCompile(`^(?s:[uU]&"(?:[^"]|"")*")$`)
	lexeme            = regexp.MustCompile(`^(?s:[uU]&"(?:[^"]|"")*"|[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\pL_][\pL_\d$]*|.)`)
)

// statements returns the tokens of each statement. It is precise enough to find where
// statements end and to recognize those of a rewriter, but no SQL parser.
func statements(sql string) (all [][]sqlToken) {
	var statement []sqlToken
	for offset := 0; offset < len(sql); {
		rest := sql[offset:]
		if s := whitespace.FindString(rest); s != "" {
			offset += len(s)
			continue
		}
		text := nextLexeme(rest)
		if text == ";" {
			all = append(all, statement)
			statement = nil
		} else {
			statement = append(statement, sqlToken{text, offset})
		}
		offset += len(text)
	}
	return append(all, statement)
}

// nextLexeme returns the token at the start of sql. A dollar-quoted string that does not
// end extends to the end of sql.
func nextLexeme(sql string) string {
	tag := dollarTag.FindString(sql)
	if tag == "" {
		return lexeme.FindString(sql)
	}
	i := strings.Index(sql[len(tag):], tag)
	if i < 0 {
		return sql
	}
	return sql[:i+2*len(tag)]
}

// quoteLiteral quotes a string for SQL with any value of standard_conforming_strings.
func quoteLiteral(s string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}
