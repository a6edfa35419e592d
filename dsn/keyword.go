package dsn

import (
	"errors"
	"fmt"
	"strings"
)

// space is what separates keyword/value pairs, as in pgx and libpq.
const space = " \t\n\r\v\f"

// splitKeywords takes apart "name = value name = 'quoted value'". A backslash
// makes the next character literal, in and out of quotes.
func splitKeywords(s string) ([]pair, error) {
	var said []pair
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		name, rest, ok := strings.Cut(s, "=")
		name = strings.Trim(name, space)
		if !ok || name == "" || strings.ContainsAny(name, space) {
			// What stands here may be half a password: do not quote it.
			return nil, errors.New("the DSN is neither a URL nor name=value pairs; quote a value that holds spaces, as in password='a b'")
		}
		value, rest, err := cutValue(strings.TrimLeft(rest, space))
		if err != nil {
			return nil, fmt.Errorf("the value of %s %w", label(name), err)
		}
		said = append(said, pair{name, value})
		s = rest
	}
	return said, nil
}

// cutValue reads one value and returns it unescaped with what follows it.
func cutValue(s string) (value, rest string, err error) {
	end := space
	if quoted := strings.HasPrefix(s, "'"); quoted {
		s, end = s[1:], "'"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '\\':
			// libpq drops a backslash at the very end
		case strings.IndexByte(end, s[i]) >= 0:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	if end == "'" {
		return "", "", errors.New("has an opening ' without a closing one; add it, or write a literal ' as \\'")
	}
	return b.String(), "", nil
}

// quote writes a value so that cutValue reads it back.
func quote(v string) string {
	if v != "" && !strings.ContainsAny(v, space+`'\`) {
		return v
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// label names a setting in an error. Only a name that is known is told: another
// may be the rest of a password that held a space or an &.
func label(name string) string {
	switch name {
	case "user", "password", "host", "port", "dbname", "sslmode", "sslpassword", "options", "application_name":
	default:
		if lookup(name) == nil {
			return "a parameter"
		}
	}
	return fmt.Sprintf("%q", name)
}

// checkName refuses names that could not be a setting, and anything that looks
// like a key of ours but is none: left alone, it would go to the server.
func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, space+`='"\/:`) {
		return errors.New("a parameter has an empty name or one with spaces, quotes or slashes; write name=value")
	}
	switch lower := strings.ToLower(name); lower {
	case "server":
		return errors.New(`key "server" is not known; write host, and spaces between the pairs: host=app.postgres.database.azure.com dbname=app`)
	case "host", "port", "user", "password", "database", "dbname", "sslmode":
		if name != lower {
			return fmt.Errorf("key %q is not known; keys are lower case: %s", name, lower)
		}
	}
	if strings.EqualFold(name, "fedauth") { // else it would go to the server as a setting
		return fmt.Errorf("key %q is SQL Server's; write aad_auth, which takes the same words", name)
	}
	if lookup(name) != nil || !strings.HasPrefix(strings.ToLower(name), "aad") {
		return nil
	}
	if k := lookup(strings.ToLower(name)); k != nil {
		return fmt.Errorf("key %q is not known; keys are lower case: %s", name, k.Name)
	}
	return fmt.Errorf("key %q is not known; %s", name, suggest(name, keyNames()))
}
