package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// pgVariables maps connection parameters to the environment variables that libpq reads.
// https://www.postgresql.org/docs/current/libpq-envars.html
var pgVariables = map[string]string{
	"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD",
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslsni": "PGSSLSNI",
	"sslnegotiation": "PGSSLNEGOTIATION", "require_auth": "PGREQUIREAUTH", "connect_timeout": "PGCONNECT_TIMEOUT",
	"application_name": "PGAPPNAME", "options": "PGOPTIONS", "target_session_attrs": "PGTARGETSESSIONATTRS", "client_encoding": "PGCLIENTENCODING",
	"channel_binding": "PGCHANNELBINDING", "sslcertmode": "PGSSLCERTMODE", "min_protocol_version": "PGMINPROTOCOLVERSION",
	"max_protocol_version": "PGMAXPROTOCOLVERSION", "passfile": "PGPASSFILE", "krbsrvname": "PGKRBSRVNAME",
	// libpq sends these three after PGOPTIONS, so the server lets them win.
	"timezone": "PGTZ", "datestyle": "PGDATESTYLE", "geqo": "PGGEQO",
}

// clientParams are the parameters without a variable that pgx does not send to the
// server. It sends all others as settings.
var clientParams = []string{"service", "servicefile", "sslpassword", "sslinline", "krbspn", "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity"}

// programEnv returns the environment of this process, changed so that libpq connects
// with cred as the driver would with config.
func programEnv(config *dsn.Config, cred driver.Credentials) ([]string, error) {
	vars := map[string]string{}
	for name, value := range config.Params {
		variable := pgVariables[strings.ToLower(name)]
		if name == "sslnegotiation" && value == "auto" {
			value = "postgres" // libpq does not know auto
		}
		if variable != "" && value != "" {
			vars[variable] = value
		}
	}
	options := serverOptions(config, cmp.Or(vars["PGOPTIONS"], os.Getenv("PGOPTIONS")))
	if options != "" {
		vars["PGOPTIONS"] = options
	}
	vars["PGUSER"] = cred.User
	vars["PGPASSWORD"] = cred.Password.Value()
	err := secureTLS(config, vars)
	if err != nil {
		return nil, err
	}
	err = checkVars(vars)
	if err != nil {
		return nil, err
	}
	env := []string{}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		_, replaced := vars[name]
		// libpq reads these two and the driver does not. The section of PGSERVICE is in
		// config already. PGHOSTADDR would lead to a host that was not checked.
		if replaced || name == "PGSERVICE" || name == "PGHOSTADDR" || isDriverDSN(value) {
			continue
		}
		env = append(env, kv)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env, nil
}

// checkVars rejects values that do not reach the server as they are.
func checkVars(vars map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if strings.Contains(vars[name], "\x00") {
			return fmt.Errorf("aadpostgres exec: the value of %s contains a zero byte, which no variable can hold; remove it from the DSN", name)
		}
	}
	// vacuumdb and others parse such a name as a connection string, which could send the
	// password to another host. Without a name they take the user's.
	database := cmp.Or(vars["PGDATABASE"], os.Getenv("PGDATABASE"), vars["PGUSER"])
	if strings.Contains(database, "=") || strings.Contains(database, "://") {
		return errors.New("aadpostgres exec: libpq programs read the database's name as a connection string; name a database without = and ://")
	}
	return nil
}

// isSpace reports whether PostgreSQL separates options at b.
func isSpace(b byte) bool {
	return b == ' ' || (b >= '\t' && b <= '\r')
}

// serverOptions returns the server's command-line options: those of options, followed by
// the settings that pgx would send to the server, such as search_path. In options, white
// space separates arguments, unless a backslash stands before it.
func serverOptions(config *dsn.Config, options string) string {
	trailing := len(options) - len(strings.TrimRight(options, `\`))
	if trailing%2 == 1 {
		options = options[:len(options)-1] // at the end it has no effect; before a space it would have one
	}
	for _, name := range slices.Sorted(maps.Keys(config.Params)) {
		if pgVariables[strings.ToLower(name)] != "" || slices.Contains(clientParams, name) {
			continue
		}
		if options != "" {
			options += " "
		}
		options += "-c " + escapeOption(name+"="+config.Params[name])
	}
	return options
}

// escapeOption makes s one argument of the options.
func escapeOption(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '\\' || isSpace(s[i]) {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// driverScheme and driverKey match what only a DSN of this driver has.
var (
	dsnStart     = regexp.MustCompile(`^(?i)["']?\s*(\w+://|[\w.]+\s*=)`)
	driverScheme = regexp.MustCompile(`^(?i)["']?\s*aadpostgres://`)
	driverKey    = regexp.MustCompile(`(?i)(^|[^\w.])aad_\w+\s*=`)
)

// isDriverDSN reports whether value is a DSN that this driver reads and libpq does not,
// even if it is invalid.
func isDriverDSN(value string) bool {
	value = strings.TrimSpace(value)
	if !dsnStart.MatchString(value) {
		return false
	}
	if driverScheme.MatchString(value) || driverKey.MatchString(value) {
		return true
	}
	decoded, err := url.PathUnescape(value)
	return err == nil && strings.Contains(value, "://") && driverKey.MatchString(decoded)
}
