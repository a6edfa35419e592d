package dsn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// splitURL takes apart what follows the scheme of a connection URI. The grammar
// is libpq's (conninfo_uri_parse_options in fe-connect.c), not RFC 3986: several
// hosts are allowed, + is literal, and the first @ before a slash ends the user.
func splitURL(s string) ([]pair, error) {
	var said []pair
	add := func(name, raw string) error {
		if raw == "" {
			return nil
		}
		v, err := decode(name, raw)
		if err == nil {
			said = append(said, pair{name, v})
		}
		return err
	}
	if i := strings.IndexAny(s, "@/"); i >= 0 && s[i] == '@' {
		user, password, _ := strings.Cut(s[:i], ":")
		s = s[i+1:]
		if err := add("user", user); err != nil {
			return nil, err
		}
		if err := add("password", password); err != nil {
			return nil, err
		}
	}
	hosts, ports, rest, err := splitHosts(s)
	if err != nil {
		return nil, err
	}
	if err := add("host", hosts); err != nil {
		return nil, err
	}
	if err := add("port", ports); err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(rest, "?")
	if err := add("dbname", strings.TrimPrefix(path, "/")); err != nil {
		return nil, err
	}
	params, err := splitQuery(query)
	return append(said, params...), err
}

// splitHosts reads host[:port],... up to the path or the query. Hosts and ports
// come back as comma lists of equal length, an empty element meaning the default.
func splitHosts(s string) (hosts, ports, rest string, err error) {
	for {
		end := strings.IndexAny(s, ":/?,")
		if strings.HasPrefix(s, "[") {
			end = strings.IndexByte(s, ']')
			if end < 2 {
				return "", "", "", errors.New("the host has an unclosed or empty [ ]; write an IPv6 address as [::1]")
			}
			hosts += s[1:end]
			s = s[end+1:]
			if s != "" && !strings.ContainsRune(":/?,", rune(s[0])) {
				return "", "", "", errors.New("text follows the ] of an IPv6 host; only a port, path or query may")
			}
			end = 0
		} else if end < 0 {
			end = len(s)
		}
		hosts += s[:end]
		s = s[end:]
		if strings.HasPrefix(s, ":") {
			end = strings.IndexAny(s, "/?,")
			if end < 0 {
				end = len(s)
			}
			ports += s[1:end]
			s = s[end:]
		}
		if !strings.HasPrefix(s, ",") {
			return hosts, ports, s, nil
		}
		hosts, ports, s = hosts+",", ports+",", s[1:]
	}
}

func splitQuery(query string) ([]pair, error) {
	var said []pair
	ssl := -1 // index of the last ssl=..., JDBC's word
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		rawName, rawValue, ok := strings.Cut(one, "=")
		name, err := decode("", rawName)
		if err != nil {
			return nil, err
		}
		// Without an = it may be a stray password: tell none of it.
		if !ok {
			return nil, fmt.Errorf("a parameter of the URL has no =; write name=value, and & in a value as %%26")
		}
		if strings.Contains(rawValue, "=") {
			return nil, fmt.Errorf("%s in the URL has a second =; write it as %%3D", label(name))
		}
		v, err := decode(name, rawValue)
		if err != nil {
			return nil, err
		}
		if name == "ssl" {
			ssl = len(said)
		}
		said = append(said, pair{name, v})
	}
	if ssl >= 0 && said[ssl].value == "true" {
		said[ssl] = pair{"sslmode", "require"}
		for i := range said[:ssl] {
			if said[i].name == "ssl" {
				said[i] = said[ssl] // superseded: it must not reach the server
			}
		}
	}
	return said, nil
}

// decode undoes percent-encoding as libpq's conninfo_uri_decode does: spaces
// around are dropped, inside they are an error, %00 is forbidden.
func decode(name, raw string) (string, error) {
	what := "a parameter name of the URL"
	if name != "" {
		what = label(name) + " in the URL"
	}
	raw = strings.Trim(raw, " ")
	if strings.Contains(raw, " ") {
		return "", fmt.Errorf("%s holds a space; write it as %%20", what)
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", fmt.Errorf("%s ends in a half %%-sequence; write a literal %% as %%25", what)
		}
		c, err := strconv.ParseUint(raw[i+1:i+3], 16, 8)
		if err != nil || c == 0 {
			return "", fmt.Errorf("%s holds a bad %%-sequence; write a literal %% as %%25", what)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}
