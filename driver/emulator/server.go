package emulator

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// pgxEnv are the variables that pgx reads, with the parameters that they set and the values
// that these have without the variable. TestVariables compares the list with pgx.
var pgxEnv = []struct{ variable, param, value string }{
	{"PGHOST", "host", ""},
	{"PGPORT", "port", ""},
	{"PGDATABASE", "dbname", ""},
	{"PGUSER", "user", ""},
	{"PGPASSWORD", "password", ""},
	{"PGPASSFILE", "passfile", passwordFile()},
	{"PGAPPNAME", "application_name", ""},
	{"PGCONNECT_TIMEOUT", "connect_timeout", "0"},
	{"PGSSLMODE", "sslmode", "prefer"},
	{"PGSSLKEY", "sslkey", ""},
	{"PGSSLCERT", "sslcert", ""},
	{"PGSSLCERTMODE", "sslcertmode", "allow"},
	{"PGSSLSNI", "sslsni", "1"},
	{"PGSSLROOTCERT", "sslrootcert", ""},
	{"PGSSLPASSWORD", "sslpassword", ""},
	{"PGSSLNEGOTIATION", "sslnegotiation", "postgres"},
	{"PGTARGETSESSIONATTRS", "target_session_attrs", "any"},
	{"PGSERVICE", "service", emptyService},
	{"PGSERVICEFILE", "servicefile", ""}, // replaced with that of emptyService
	{"PGTZ", "timezone", ""},
	{"PGOPTIONS", "options", ""},
	{"PGMINPROTOCOLVERSION", "min_protocol_version", ""},
	{"PGMAXPROTOCOLVERSION", "max_protocol_version", ""},
	{"PGCHANNELBINDING", "channel_binding", "prefer"},
	{"PGREQUIREAUTH", "require_auth", ""},
}

// emptyService is the only section of the service file that replaces that of PGSERVICE.
const emptyService = "emulator"

func homeDir() string {
	dir, _ := os.UserHomeDir() // without one there is no password file
	return dir
}

// passwordFile returns the file that libpq and pgx read by default.
func passwordFile() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("APPDATA"), "postgresql", "pgpass.conf")
	}
	return filepath.Join(homeDir(), ".pgpass")
}

// connString returns a DSN for the emulator's own connections. No variable of PostgreSQL
// changes what it means, because this process has them for other connections.
func (p *postgres) connString() (string, error) {
	settings, err := parseSettings(p.dsn)
	if err != nil {
		return "", err
	}
	for _, v := range pgxEnv {
		_, isSet := settings[v.param]
		if _, present := os.LookupEnv(v.variable); !present || isSet {
			continue
		}
		settings[v.param] = v.value
	}
	if settings["service"] != "" {
		settings["servicefile"] = p.serviceFile
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		parts = append(parts, name+"="+quote(settings[name]))
	}
	return strings.Join(parts, " "), nil
}

// parseSettings returns the parameters of a DSN and of the service that it names.
func parseSettings(s string) (map[string]string, error) {
	const noEntra = "aad_auth=password" // without it, a password would be an error
	if strings.Contains(s, "://") {
		separator := "?"
		if strings.Contains(s, "?") {
			separator = "&"
		}
		s += separator + noEntra
	} else {
		s += " " + noEntra
	}
	config, err := dsn.ParseEnv(s, dsn.Env{ReadFile: os.ReadFile, Getenv: func(name string) string {
		if strings.HasPrefix(name, "PG") {
			return ""
		}
		return os.Getenv(name)
	}})
	if err != nil {
		return nil, err
	}
	settings := config.Params
	delete(settings, "service") // its settings are among the others
	delete(settings, "servicefile")
	for name, secret := range map[string]dsn.Secret{"password": config.Password, "sslpassword": config.SSLPassword} {
		if v := secret.Value(); v != "" {
			settings[name] = v
		}
	}
	return settings, nil
}

// config returns the configuration of a connection as the superuser.
func (p *postgres) config() (*pgx.ConnConfig, error) {
	s, err := p.connString()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(s)
	if err != nil {
		return nil, err
	}
	removeEmpty(config.RuntimeParams)
	return config, nil
}

// removeEmpty removes the settings that connString has only because of a variable.
func removeEmpty(params map[string]string) {
	maps.DeleteFunc(params, func(_, value string) bool { return value == "" })
}

// minVersion is the oldest major version of PostgreSQL that the emulator's SQL runs on.
const minVersion = 13

// checkVersion checks the version of a server, which it reports itself.
func checkVersion(conn *pgconn.PgConn) error {
	version := conn.ParameterStatus("server_version")
	major, err := strconv.Atoi(versionNumber.FindString(strings.SplitN(version, ".", 2)[0]))
	if err == nil && major < minVersion {
		return fmt.Errorf("emulator: PostgreSQL %s is too old; use version %d or newer", version, minVersion)
	}
	return nil
}

// serverEnv is the environment of the server's programs. PostgreSQL takes defaults of
// sessions from PGCLIENTENCODING and PGDATESTYLE.
func serverEnv(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PG") })
	return append(env, more...)
}

// joinOptions joins two values of the parameter options. The later one takes precedence.
func joinOptions(first, second string) string {
	if first == "" || second == "" {
		return cmp.Or(first, second)
	}
	return first + " " + second
}
