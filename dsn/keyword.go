package dsn

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// space separates keyword/value pairs, as in pgx and libpq.
const space = " \t\n\r\v\f"

// splitKeywords splits "name = value name = 'quoted value'" into pairs. A backslash
// makes the next character literal, inside and outside of quotes.
func splitKeywords(s string) ([]pair, error) {
	var pairs []pair
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		name, rest, ok := strings.Cut(s, "=")
		name = strings.Trim(name, space)
		if !ok || name == "" || strings.ContainsAny(name, space) {
			// The text may be part of a password: do not quote it.
			return nil, errors.New("the DSN is neither a URL nor name=value pairs; quote a value that contains spaces, as in password='a b'")
		}
		raw := strings.TrimLeft(rest, space)
		value, after, err := cutValue(raw)
		if err != nil {
			return nil, fmt.Errorf("the value of %s %w", label(name), err)
		}
		if isPath(name) && losesBackslash(raw[:len(raw)-len(after)]) {
			return nil, fmt.Errorf(`%s contains a backslash, which escapes the next character in key=value pairs; write \\ for each \ of a path, or /`, subject(name))
		}
		if !strings.HasPrefix(raw, "'") {
			if err := checkUnquoted(name, raw, len(raw)-len(after), len(raw) < len(rest)); err != nil {
				return nil, err
			}
		}
		pairs = append(pairs, pair{name, value})
		s = after
	}
	return pairs, nil
}

// checkUnquoted rejects a value without quotes, the first n bytes of raw, that is more or
// less than a value. spaced says that spaces are between the = and raw.
func checkUnquoted(name, raw string, n int, spaced bool) error {
	value := strings.TrimRight(raw[:n], space)
	next, _, assigns := strings.Cut(value, "=")
	if spaced && assigns && (isKnown(next) || looksSecret(next)) {
		return fmt.Errorf("%s is empty, and the next pair follows; set a value or remove the key", subject(name))
	}
	if continues(raw, n) {
		if err := checkName(name); err != nil {
			return err
		}
		return fmt.Errorf("a semicolon follows the value of %s; separate the pairs by spaces, or quote a value that contains ;", label(name))
	}
	if strings.HasSuffix(value, ",") && n < len(raw) && (name == "user" || name == "dbname" || name == "database" || name == "sslmode") {
		return fmt.Errorf("a comma follows the value of %s; separate the pairs by spaces", label(name))
	}
	return nil
}

// losesBackslash reports whether a value as written is a path of Windows whose backslashes
// are not escaped, so that cutValue would drop them and another file be looked for. A
// backslash before punctuation or a space is meant to escape it.
func losesBackslash(raw string) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		next, _ := utf8.DecodeRuneInString(raw[i:])
		if unicode.IsLetter(next) || unicode.IsDigit(next) || strings.ContainsRune("._%", next) {
			return true
		}
	}
	return false
}

// cutValue splits s after its first value, which it returns unescaped.
func cutValue(s string) (value, rest string, err error) {
	end := space
	if strings.HasPrefix(s, "'") {
		s = s[1:]
		end = "'"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '\\':
			// libpq drops a backslash at the end of the DSN
		case strings.IndexByte(end, s[i]) >= 0:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	if end == "'" {
		return "", "", errors.New("has an opening ' but no closing one; add it, or write a literal ' as \\'")
	}
	return b.String(), "", nil
}

// quote is the inverse of cutValue. A value that could be read as the beginning of a list
// is quoted too.
func quote(v string) string {
	isList := strings.Contains(v, ";") || (strings.HasSuffix(v, ",") && strings.Trim(v, "0123456789,") != "")
	if v != "" && !isList && !strings.ContainsAny(v, space+`'\`) {
		return v
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}
