package dsn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A pair is one setting as written in a DSN or a service file.
type pair struct{ name, value string }

// split splits a DSN of either form into its pairs, in order.
func split(s string) ([]pair, error) {
	s = trim(s)
	if err := checkForm(s); err != nil {
		return nil, err
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return splitKeywords(s)
	}
	switch scheme {
	case "postgres", "postgresql", "aadpostgres":
		return splitURL(rest)
	}
	if !slices.Contains(foreignSchemes, strings.ToLower(scheme)) {
		return nil, errors.New("the scheme of the URL is not known; use postgres://, postgresql:// or aadpostgres://")
	}
	return nil, fmt.Errorf("scheme %q is not known; use postgres://, postgresql:// or aadpostgres://", scheme+"://")
}

func isScheme(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+.-") == ""
}

// collect checks the names of the pairs and returns the values by name. As in libpq,
// the last of several values applies. A repeated aad_ key is an error, because it is
// unclear which identity is meant.
func collect(pairs []pair) (map[string]string, error) {
	settings := make(map[string]string, len(pairs))
	for _, p := range pairs {
		name := p.name
		if name == "database" {
			name = "dbname"
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		if err := checkValue(subject(name), name, p.value); err != nil {
			return nil, err
		}
		if _, repeated := settings[name]; repeated && lookupKey(name) != nil {
			return nil, fmt.Errorf("key %q is given twice; keep one", name)
		}
		if name == "user" && p.value == "" {
			continue // libpq ignores an empty user
		}
		settings[name] = p.value
	}
	return settings, nil
}
