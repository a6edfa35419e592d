package dsn

import (
	"errors"
	"regexp"
	"strings"
)

// trim removes white space around a DSN. A secret that is mounted as a file ends in a line
// break.
func trim(s string) string { return strings.Trim(s, space) }

// forms are notations other than that of a DSN, by how they begin.
var forms = []struct {
	begins *regexp.Regexp
	err    error
}{
	{
		regexp.MustCompile("^[\"'`\u2018\u2019\u201c\u201d\u00ab]"),
		errors.New("the DSN is in quotes; remove the quotes around it"),
	}, {
		regexp.MustCompile(`^[{\[<]|^---`),
		errors.New("the DSN is JSON, YAML or XML; write name=value pairs separated by spaces, or a URL, as in postgres://user@host/database"),
	}, {
		regexp.MustCompile(`(?i)^jdbc:`),
		errors.New("the DSN is a JDBC URL; remove jdbc: and write the user before the host, as in postgres://user@host/database"),
	}, {
		regexp.MustCompile(`(?i)^(\S*[/\\])?(psql|pg_?[a-z]+|(create|drop)(db|user)|vacuumdb|reindexdb|clusterdb)(\.exe)?["']?\s[^=]`),
		errors.New("the DSN is a command line; write its connection string alone, without the program and quotes"),
	}, {
		regexp.MustCompile(`(?i)^(export|setx?|env|declare|local|let|var|const|\$env:\w+)\s+[^=\s]`),
		errors.New("the DSN is a line of a script; write what follows the first = alone, without quotes"),
	}, {
		regexp.MustCompile(`(?i)^[a-z_$][\w.$:-]*\s*[=:]\s*["'(]*(jdbc:)?(postgres|postgresql|aadpostgres)(\+\w+)?:/`),
		errors.New("a name stands before the URL; remove it, so that the DSN begins with postgres://"),
	},
}

// checkForm rejects the notations of shells, other drivers and configuration files. Parts
// of them would be read as names and values, and a secret as neither.
func checkForm(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return errors.New("the DSN contains a NUL byte; remove it")
	}
	if strings.HasPrefix(s, "\ufeff") || strings.HasPrefix(s, "\xff\xfe") || strings.HasPrefix(s, "\xfe\xff") {
		return errors.New("the DSN begins with a byte order mark; save it as UTF-8 without one")
	}
	for _, f := range forms {
		if f.begins.MatchString(s) {
			return f.err
		}
	}
	return nil
}

// foreignSchemes are quoted in errors, because they cannot be secrets.
var foreignSchemes = []string{
	"postgres", "postgresql", "aadpostgres", "pgx", "pgx5", "cockroachdb", "mysql", "mariadb", "mssql", "sqlserver", "oracle", "sqlite",
	"mongodb", "redis", "http", "https", "tcp", "file",
}

// semicolonPair is an element of a list that semicolons separate, as in the connection
// strings of ADO.NET.
var semicolonPair = regexp.MustCompile(`;\s*([A-Za-z][A-Za-z0-9_ .-]*?)\s*=`)

// continues reports whether the first n bytes of s contain a semicolon and a key after it:
// then they are not one value.
func continues(s string, n int) bool {
	for _, m := range semicolonPair.FindAllStringSubmatchIndex(s, -1) {
		if m[0] >= n {
			return false
		}
		name := s[m[2]:m[3]]
		if isKnown(name) || intended(name) != "" || looksSecret(name) {
			return true
		}
	}
	return false
}
