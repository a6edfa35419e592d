package migrate

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// options are the URL options of golang-migrate's pgx/v5 driver. Their values are
// parsed as it parses them.
var options = []struct {
	name    string
	expects string // what to write, for errors
	set     func(config *pgx.Config, value string) error
}{
	{"x-migrations-table", "a name", func(c *pgx.Config, v string) error {
		c.MigrationsTable = v
		return nil
	}},
	{"x-migrations-table-quoted", "true or false", func(c *pgx.Config, v string) (err error) {
		c.MigrationsTableQuoted, err = strconv.ParseBool(v)
		return err
	}},
	{"x-statement-timeout", "milliseconds, as in 5000", func(c *pgx.Config, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		c.StatementTimeout = time.Duration(n) * time.Millisecond
		return err
	}},
	{"x-multi-statement", "true or false", func(c *pgx.Config, v string) (err error) {
		c.MultiStatementEnabled, err = strconv.ParseBool(v)
		return err
	}},
	{"x-multi-statement-max-size", "bytes, as in 1048576", func(c *pgx.Config, v string) error {
		n, err := strconv.Atoi(v)
		if n > 0 {
			c.MultiStatementMaxSize = n
		}
		return err
	}},
}

// quotedTable is a table as x-migrations-table-quoted requires it. golang-migrate
// panics if the quotes are missing.
var quotedTable = regexp.MustCompile(`^("[^"]+"\.)?"[^"]+"$`)

// splitURL removes the options of golang-migrate from a URL. Everything else stays in the
// DSN as it was written. golang-migrate's own drivers encode the query again and turn
// %20 into +, which libpq and pgx read as a plus sign.
func splitURL(s string) (dsn string, config *pgx.Config, err error) {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", nil, fmt.Errorf("the database's URL has no ://; write it as %s://host/database", driver.Name)
	}
	// A password may contain a ?, so the user comes off first.
	user := ""
	i := strings.IndexAny(rest, "@/")
	if i >= 0 && rest[i] == '@' {
		user = rest[:i]
		rest = rest[i:]
	}
	address, query, _ := strings.Cut(rest, "?")
	config, others, err := parseQuery(query)
	if err != nil {
		return "", nil, err
	}
	// The slash stays: it is in the name of the lock that golang-migrate's own drivers
	// take.
	i = strings.IndexByte(address, '/')
	if i >= 0 {
		config.DatabaseName, _ = url.PathUnescape(address[i:]) // the driver reports a bad escape
	}
	return driver.Name + "://" + user + address + "?" + others, config, nil
}

// parseQuery reads the options of golang-migrate and returns all other parameters
// unread.
func parseQuery(query string) (config *pgx.Config, others string, err error) {
	config = &pgx.Config{MultiStatementMaxSize: pgx.DefaultMultiStatementMaxSize}
	seen := map[string]bool{}
	var kept []string
	for param := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(param, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || !strings.HasPrefix(name, "x-") {
			kept = append(kept, param) // the driver reports what is wrong with it
			continue
		}
		if !isOption(name) {
			continue
		}
		if seen[name] {
			return nil, "", fmt.Errorf("%s is given twice; keep one", name)
		}
		seen[name] = true
		err = setOption(config, name, value)
		if err != nil {
			return nil, "", err
		}
	}
	if config.MigrationsTableQuoted && !quotedTable.MatchString(config.MigrationsTable) {
		return nil, "", fmt.Errorf("x-migrations-table is %q, but x-migrations-table-quoted is true; write %%22table%%22 or %%22schema%%22.%%22table%%22", config.MigrationsTable)
	}
	return config, strings.Join(kept, "&"), nil
}

// isOption reports whether the pgx/v5 driver has that option. golang-migrate's drivers
// ignore any other that begins with x-: a URL may serve several tools, or several of the
// drivers, as with x-lock-strategy of the pgx/v4 driver.
func isOption(name string) bool {
	for _, o := range options {
		if o.name == name {
			return true
		}
	}
	return false
}

// setOption sets one of the options.
func setOption(config *pgx.Config, name, value string) error {
	for _, o := range options {
		if o.name != name {
			continue
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return fmt.Errorf("%s in the URL has an invalid %% escape; write %% as %%25", name)
		}
		if strings.Contains(value, "#") { // a URL's query ends there
			return fmt.Errorf("%s in the URL contains a #; write it as %%23", name)
		}
		if v != "" && o.set(config, v) != nil {
			return fmt.Errorf("%s is %q; write %s", name, v, o.expects)
		}
		return nil
	}
	return nil
}
