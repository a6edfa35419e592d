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

// options are those of golang-migrate's driver for pgx/v5, read as it reads them.
var options = []struct {
	name, wants string
	set         func(*pgx.Config, string) error
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

// quoted is a table's name as x-migrations-table-quoted wants it. golang-migrate
// panics at one without quotes.
var quoted = regexp.MustCompile(`^("[^"]+"\.)?"[^"]+"$`)

// split takes golang-migrate's options out of a URL and leaves the rest as it was
// written. golang-migrate's own drivers write the query anew and make a + of %20,
// which to libpq and pgx is no space but a plus.
func split(s string) (dsn string, c *pgx.Config, err error) {
	c = &pgx.Config{MultiStatementMaxSize: pgx.DefaultMultiStatementMaxSize}
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", nil, fmt.Errorf("the database's URL has no ://; write it as in %s://host/database", driver.Name)
	}
	user := "" // may hold a ?
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, rest = rest[:i], rest[i:]
	}
	where, query, _ := strings.Cut(rest, "?")
	if i := strings.IndexByte(where, '/'); i >= 0 {
		// With the slash, so that one lock is for all of golang-migrate's drivers.
		c.DatabaseName, _ = url.PathUnescape(where[i:])
	}
	given := map[string]bool{}
	var others []string
	for one := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(one, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || !ok || !strings.HasPrefix(name, "x-") {
			others = append(others, one) // right or wrong, the driver says
			continue
		}
		if given[name] {
			return "", nil, fmt.Errorf("%s is given twice; keep one", name)
		}
		given[name] = true
		if err := set(c, name, value); err != nil {
			return "", nil, err
		}
	}
	if c.MigrationsTableQuoted && !quoted.MatchString(c.MigrationsTable) {
		return "", nil, fmt.Errorf(`x-migrations-table is %q, but x-migrations-table-quoted wants %%22table%%22 or %%22schema%%22.%%22table%%22`, c.MigrationsTable)
	}
	return driver.Name + "://" + user + where + "?" + strings.Join(others, "&"), c, nil
}

// set sets one option. An unknown one is an error, though golang-migrate's drivers
// pass it over: it may be x-migrations-table misspelled, and without its table
// golang-migrate starts from the first migration; or x-lock-strategy, which only
// the driver for pgx/v4 has.
func set(c *pgx.Config, name, value string) error {
	var names []string
	for _, o := range options {
		names = append(names, o.name)
		if o.name != name {
			continue
		}
		v, err := url.QueryUnescape(value)
		switch {
		case err != nil:
			return fmt.Errorf("%s in the URL holds a bad %%-sequence; write a %% as %%25", name)
		case strings.Contains(value, "#"): // what follows is no part of a URL's query
			return fmt.Errorf("%s in the URL holds a #; write it as %%23", name)
		case v != "" && o.set(c, v) != nil:
			return fmt.Errorf("%s is %q; write %s", name, v, o.wants)
		}
		return nil
	}
	return fmt.Errorf("%s is no option of golang-migrate's driver for pgx/v5; write one of %s", name, strings.Join(names, ", "))
}
