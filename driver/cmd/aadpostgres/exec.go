package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

var execute = command{
	name: "exec", args: "[DSN] -- COMMAND [ARGUMENT ...]",
	does: "Run a program that uses libpq or reads the PG variables, signed in",
	about: `PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD (the token), PGSSLMODE and their kind are
set for the program and nobody else. A token lives for an hour or so; a program that
connects anew later than that must be started anew.

  aadpostgres exec 'host=app.postgres.database.azure.com dbname=app aad_auth=azure-cli' -- psql
  aadpostgres exec -- pg_dump --schema-only

`,
	run: func(ctx context.Context, c *call) error {
		if len(c.rest) == 0 {
			return misuse("name a command after --")
		}
		path, err := exec.LookPath(c.rest[0])
		if err != nil {
			return noProgram{err}
		}
		given, err := c.dsn()
		if err != nil {
			return err
		}
		config, err := dsn.ParseEnv(given, dsn.OS)
		if err != nil {
			return &driver.Error{Step: driver.StepDSN, Err: err}
		}
		login, err := c.login(ctx)
		if err != nil {
			return err
		}
		env, err := environ(config, login)
		if err != nil {
			return err
		}
		return replace(path, c.rest, env)
	},
}

// noProgram is what cannot be run; the statuses are a shell's.
type noProgram struct{ error }

func (n noProgram) status() int {
	if errors.Is(n.error, fs.ErrPermission) {
		return 126
	}
	return 127
}

// variables are libpq's names of what a DSN may say. What has none is pgx's own or,
// if it is not in ours, a setting of the server.
// https://www.postgresql.org/docs/current/libpq-envars.html
var variables = map[string]string{
	"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD",
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslsni": "PGSSLSNI",
	"sslnegotiation": "PGSSLNEGOTIATION", "require_auth": "PGREQUIREAUTH", "connect_timeout": "PGCONNECT_TIMEOUT",
	"application_name": "PGAPPNAME", "options": "PGOPTIONS", "target_session_attrs": "PGTARGETSESSIONATTRS", "client_encoding": "PGCLIENTENCODING",
	"channel_binding": "PGCHANNELBINDING", "sslcertmode": "PGSSLCERTMODE", "min_protocol_version": "PGMINPROTOCOLVERSION",
	"max_protocol_version": "PGMAXPROTOCOLVERSION", "passfile": "PGPASSFILE", "krbsrvname": "PGKRBSRVNAME", "timezone": "PGTZ",
}

// ours are the keys of pgx and of its surroundings that mean nothing to others.
var ours = []string{"service", "servicefile", "sslpassword", "sslinline", "krbspn", "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity"}

// environ is this process's environment with the sign-in in it.
func environ(config *dsn.Config, login driver.Credentials) ([]string, error) {
	set := map[string]string{}
	for name, v := range config.Params {
		if variable := variables[strings.ToLower(name)]; variable != "" && v != "" {
			set[variable] = v
		}
	}
	if settings := serverSettings(config); settings != "" {
		set["PGOPTIONS"] = strings.TrimSpace(cmp.Or(set["PGOPTIONS"], os.Getenv("PGOPTIONS")) + settings)
	}
	set["PGUSER"], set["PGPASSWORD"] = login.User, login.Password
	if config.Auth[0] != dsn.Password {
		if err := secure(config, set); err != nil {
			return nil, err
		}
	}
	env := []string{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		// What libpq would follow and the driver does not: a service's section is in the
		// DSN by now, and an address beside the host is not what was checked.
		if _, replaced := set[name]; !replaced && name != "PGSERVICE" && name != "PGHOSTADDR" {
			env = append(env, kv)
		}
	}
	for name, v := range set {
		env = append(env, name+"="+v)
	}
	return env, nil
}

// serverSettings are what pgx would send along, such as search_path, as options of
// the server's command line.
func serverSettings(config *dsn.Config) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(config.Params)) {
		if variables[strings.ToLower(name)] == "" && !slices.Contains(ours, name) {
			b.WriteString(" -c " + strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(name+"="+config.Params[name]))
		}
	}
	return b.String()
}

// secure makes libpq hold to the driver's rules: verified TLS, and a token for who
// asks for a password in the clear, that is inside TLS, only.
func secure(config *dsn.Config, set map[string]string) error {
	roots := cmp.Or(set["PGSSLROOTCERT"], os.Getenv("PGSSLROOTCERT"))
	verified := strings.HasPrefix(set["PGSSLMODE"], "verify-")
	switch {
	case config.Insecure == "plaintext":
	case config.Insecure == "unverified" && !verified:
		set["PGSSLMODE"] = "require"
	case !verified, set["PGSSLMODE"] == "verify-ca" && roots == "":
		set["PGSSLMODE"] = "verify-full"
	}
	set["PGGSSENCMODE"] = "disable" // libpq would take it for TLS, whatever sslmode says
	if set["PGREQUIREAUTH"] == "" {
		set["PGREQUIREAUTH"] = "password" // known to libpq 16 and newer
	}
	home, _ := os.UserHomeDir()
	if _, err := os.Stat(filepath.Join(home, ".postgresql", "root.crt")); err == nil && home != "" {
		return nil // both pgx and libpq take it
	}
	if strings.HasPrefix(set["PGSSLMODE"], "verify-") && roots == "" {
		// libpq reads no system's roots before version 16, and then by a word of its own.
		set["PGSSLROOTCERT"] = systemRoots()
		if set["PGSSLROOTCERT"] == "" {
			return errors.New("aadpostgres exec: the system's root certificates were not found; name a file with sslrootcert")
		}
	}
	return nil
}

// systemRoots finds the file in which systems keep their trusted roots; the places
// are those that Go's crypto/x509 looks in.
func systemRoots() string {
	for _, file := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"} {
		if info, err := os.Stat(file); file != "" && err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}
