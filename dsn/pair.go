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
	if strings.IndexByte(s, 0) >= 0 {
		return nil, errors.New("the DSN contains a NUL byte; remove it")
	}
	if strings.HasPrefix(s, "jdbc:") {
		return nil, errors.New("the DSN is a JDBC URL; remove jdbc: and write the user before the host, as in postgres://user@host/database")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return splitKeywords(s)
	}
	switch scheme {
	case "postgres", "postgresql", "aadpostgres":
		return splitURL(rest)
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
		if name == "host" && strings.Contains(p.value, ";") {
			return nil, errors.New("the host contains a semicolon; separate the pairs by spaces, as in host=app.postgres.database.azure.com dbname=app")
		}
		if _, repeated := settings[name]; repeated && lookupKey(name) != nil {
			return nil, fmt.Errorf("key %q is given twice; keep one", name)
		}
		if name == "user" && p.value == "" {
			continue // libpq ignores an empty user
		}
		settings[name] = p.value
	}
	// The first @ of a URL ends the user, so a second one is part of the host. The text
	// around it may be a password: do not quote it.
	if strings.Contains(settings["host"], "@") {
		return nil, errors.New("the host contains an @; write each @ of a user name or password as %40, as in me%40contoso.com@host")
	}
	return settings, nil
}

// libpqNames are the names that are often written in upper case by mistake.
var libpqNames = []string{"host", "port", "user", "password", "database", "dbname", "sslmode"}

// checkName rejects names that cannot be a setting, and misspelled aad_ keys: without
// an error they would be sent to the server as run-time parameters.
func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, space+`='"\/:`) {
		return errors.New("a parameter name is empty or contains spaces, quotes or slashes; write name=value")
	}
	lower := strings.ToLower(name)
	if lower == "server" {
		return errors.New(`key "server" is not known; write host, and separate the pairs by spaces, as in host=app.postgres.database.azure.com dbname=app`)
	}
	if lower == "fedauth" {
		return fmt.Errorf("key %q belongs to SQL Server; write aad_auth, which has the same values", name)
	}
	if name != lower && (slices.Contains(libpqNames, lower) || lookupKey(lower) != nil) {
		return fmt.Errorf("key %q is not known; write %s in lower case", name, lower)
	}
	if strings.HasPrefix(lower, "aad") && lookupKey(name) == nil {
		return fmt.Errorf("key %q is not known; %s", name, suggest(name, keyNames()))
	}
	return nil
}

// quotable are the names other than aad_ keys that label quotes.
var quotable = []string{"user", "password", "host", "port", "dbname", "sslmode", "sslpassword", "options", "application_name"}

// label returns a parameter's name for an error text. An unknown name is not quoted,
// because it may be the rest of a password that contains a space or an &.
func label(name string) string {
	if lookupKey(name) == nil && !slices.Contains(quotable, name) {
		return "a parameter"
	}
	return fmt.Sprintf("%q", name)
}
