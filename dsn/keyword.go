package dsn

import (
	"errors"
	"fmt"
	"strings"
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
		value, rest, err := cutValue(strings.TrimLeft(rest, space))
		if err != nil {
			return nil, fmt.Errorf("the value of %s %w", label(name), err)
		}
		pairs = append(pairs, pair{name, value})
		s = rest
	}
	return pairs, nil
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

// quote is the inverse of cutValue.
func quote(v string) string {
	if v != "" && !strings.ContainsAny(v, space+`'\`) {
		return v
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}
