package dsn

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// splitURL splits what follows the scheme of a connection URI into pairs. The grammar
// is libpq's (conninfo_uri_parse_options in fe-connect.c), not RFC 3986: several hosts
// are allowed, + is literal, and the first @ before a slash ends the user.
func splitURL(s string) ([]pair, error) {
	var raw []pair // percent-encoded
	if i := strings.IndexAny(s, "@/"); i >= 0 && s[i] == '@' {
		user, password, _ := strings.Cut(s[:i], ":")
		if err := checkUserInfo(user, password); err != nil {
			return nil, err
		}
		raw = append(raw, pair{"user", user}, pair{"password", password})
		s = s[i+1:]
	}
	hosts, ports, rest, err := splitHosts(s)
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(rest, "?")
	raw = append(raw, pair{"host", hosts}, pair{"port", ports}, pair{"dbname", strings.TrimPrefix(path, "/")})
	var pairs []pair
	for _, p := range raw {
		if p.value == "" {
			continue
		}
		value, err := decode(p.name, p.value)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{p.name, value})
	}
	params, err := splitQuery(query)
	if err != nil {
		return nil, err
	}
	return append(pairs, params...), nil
}

// checkUserInfo rejects what stands before the first @, percent-encoded, if it may be the
// host and the query of a URL in which an @ is not encoded. The text after that @ would be
// the host, and receive the token.
func checkUserInfo(user, password string) error {
	hint := "write each @ of a value as %40, and a / between the host and the ?"
	if strings.ContainsAny(user, "?&;#=\\") {
		return errors.New("the text before the first @ of the URL is no user name; " + hint)
	}
	if strings.Contains(strings.ToLower(user), "aad_") {
		return errors.New("the text before the first @ of the URL contains aad_, as a key does; " + hint + ", or a user name that contains aad_ as user= after the ?")
	}
	if queryInPassword.MatchString(password) || strings.Contains(strings.ToLower(password), "aad_") {
		return errors.New("the text before the first @ of the URL is no user name and password; " + hint)
	}
	if CloudOf(user) != "" {
		return errors.New("the text before the first @ of the URL is a server's name; " + hint)
	}
	if strings.Contains(strings.ToLower(user), "%3a") {
		return errors.New("the user of the URL contains %3A; write : between user and password, and a user name that contains a colon as user= after the ?")
	}
	return nil
}

// queryInPassword matches a query, or a parameter of one.
var queryInPassword = regexp.MustCompile(`[?&;#][A-Za-z_][A-Za-z0-9_.-]*=|^[0-9]*[?/#]`)

// splitHosts splits s into host[:port],... and the path and query after it. It returns
// hosts and ports as comma-separated lists of equal length, in which an empty element
// stands for the default.
func splitHosts(s string) (hosts, ports, rest string, err error) {
	for {
		var host string
		host, s, err = cutHost(s)
		if err != nil {
			return "", "", "", err
		}
		hosts += host
		if strings.HasPrefix(s, ":") {
			end := indexAnyOrLen(s, "/?,")
			ports += s[1:end]
			s = s[end:]
		}
		if !strings.HasPrefix(s, ",") {
			return hosts, ports, s, nil
		}
		hosts += ","
		ports += ","
		s = s[1:]
	}
}

// cutHost splits s after its first host. An IPv6 address is returned without brackets.
func cutHost(s string) (host, rest string, err error) {
	const delimiters = ":/?,"
	if !strings.HasPrefix(s, "[") {
		end := indexAnyOrLen(s, delimiters)
		return s[:end], s[end:], nil
	}
	end := strings.IndexByte(s, ']')
	if end < 2 {
		return "", "", errors.New("the host has an unclosed or empty [ ]; write an IPv6 address as [::1]")
	}
	rest = s[end+1:]
	if rest != "" && !strings.ContainsRune(delimiters, rune(rest[0])) {
		return "", "", errors.New("text follows the ] of an IPv6 host; write a port, path or query there, as in [::1]:5432")
	}
	return s[1:end], rest, nil
}

// indexAnyOrLen is strings.IndexAny, but returns len(s) if none of chars is in s.
func indexAnyOrLen(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// escaped matches what follows the & of an & that is escaped for HTML.
var escaped = regexp.MustCompile(`^(?i:amp|#38|#x26);`)

func splitQuery(query string) ([]pair, error) {
	var pairs []pair
	lastSSL := -1 // index of the last ssl=..., which is JDBC's spelling of sslmode
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		if escaped.MatchString(param) {
			return nil, errors.New("the URL is escaped for HTML; write & in place of &amp;")
		}
		rawName, rawValue, ok := strings.Cut(param, "=")
		name, err := decode("", rawName)
		if err != nil {
			return nil, err
		}
		if !ok { // it may be part of a password: do not quote it
			return nil, errors.New("a parameter of the URL has no =; write name=value, and & in a value as %26")
		}
		if strings.Contains(rawValue, "=") {
			return nil, fmt.Errorf("%s in the URL has a second =; write it as %%3D, and & between parameters", subject(name))
		}
		value, err := decode(name, rawValue)
		if err != nil {
			return nil, err
		}
		if name == "ssl" {
			lastSSL = len(pairs)
		}
		pairs = append(pairs, pair{name, value})
	}
	if lastSSL < 0 || pairs[lastSSL].value != "true" {
		return pairs, nil
	}
	// As in libpq, ssl=true means sslmode=require. Earlier values of ssl are replaced
	// too: otherwise they would be sent to the server.
	for i := range pairs[:lastSSL+1] {
		if pairs[i].name == "ssl" {
			pairs[i] = pair{"sslmode", "require"}
		}
	}
	return pairs, nil
}

// decode decodes percent-encoding as libpq's conninfo_uri_decode does: it trims spaces
// at both ends and rejects others, and rejects %00. name labels errors.
func decode(name, raw string) (string, error) {
	what := "a parameter name of the URL"
	if name != "" {
		what = subject(name) + " in the URL"
	}
	raw = strings.Trim(raw, " ")
	if strings.Contains(raw, " ") {
		return "", fmt.Errorf("%s contains a space; write it as %%20", what)
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", fmt.Errorf("%s ends in an incomplete %%-sequence; write a literal %% as %%25", what)
		}
		c, err := strconv.ParseUint(raw[i+1:i+3], 16, 8)
		if err != nil || c == 0 {
			return "", fmt.Errorf("%s has an invalid %%-sequence; write a literal %% as %%25", what)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}
