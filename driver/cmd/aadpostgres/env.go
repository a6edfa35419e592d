package main

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"path/filepath"
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
	"max_protocol_version": "PGMAXPROTOCOLVERSION", "passfile": "PGPASSFILE", "krbsrvname": "PGKRBSRVNAME", "timezone": "PGTZ",
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
		if variable != "" && value != "" {
			vars[variable] = value
		}
	}
	options := serverOptions(config)
	if options != "" {
		vars["PGOPTIONS"] = strings.TrimSpace(cmp.Or(vars["PGOPTIONS"], os.Getenv("PGOPTIONS")) + options)
	}
	vars["PGUSER"] = cred.User
	vars["PGPASSWORD"] = cred.Password.Value()
	if config.Auth[0] != dsn.Password {
		err := protectToken(config, vars)
		if err != nil {
			return nil, err
		}
	}
	env := []string{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		_, replaced := vars[name]
		// libpq reads these two and the driver does not. The section of PGSERVICE is in
		// config already. PGHOSTADDR would lead to a host that was not checked.
		if replaced || name == "PGSERVICE" || name == "PGHOSTADDR" {
			continue
		}
		env = append(env, kv)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env, nil
}

// serverOptions returns the settings that pgx would send to the server, such as
// search_path, as options of the server's command line.
func serverOptions(config *dsn.Config) string {
	escape := strings.NewReplacer(`\`, `\\`, " ", `\ `)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(config.Params)) {
		if pgVariables[strings.ToLower(name)] == "" && !slices.Contains(clientParams, name) {
			b.WriteString(" -c " + escape.Replace(name+"="+config.Params[name]))
		}
	}
	return b.String()
}

// protectToken makes libpq keep the driver's rules: it verifies TLS, and sends the
// token only to a server that asks for a password inside TLS.
func protectToken(config *dsn.Config, vars map[string]string) error {
	roots := cmp.Or(vars["PGSSLROOTCERT"], os.Getenv("PGSSLROOTCERT"))
	mode := requiredSSLMode(config.Insecure, vars["PGSSLMODE"], roots)
	if mode != "" {
		vars["PGSSLMODE"] = mode
	}
	vars["PGGSSENCMODE"] = "disable" // libpq accepts GSS encryption in place of TLS, whatever sslmode is
	if vars["PGREQUIREAUTH"] == "" {
		vars["PGREQUIREAUTH"] = "password" // libpq 16 and later read it
	}
	if !strings.HasPrefix(mode, "verify-") || roots != "" || hasUserRoots() {
		return nil
	}
	// Before version 16 libpq cannot use the system's roots, and later only if
	// sslrootcert=system is set.
	vars["PGSSLROOTCERT"] = systemRoots()
	if vars["PGSSLROOTCERT"] == "" {
		return errors.New("aadpostgres exec: the system's root certificates were not found; set sslrootcert to a file of root certificates")
	}
	return nil
}

// requiredSSLMode returns the sslmode with which libpq is as strict as the driver.
func requiredSSLMode(insecure, mode, roots string) string {
	if insecure == "plaintext" {
		return mode
	}
	verifies := strings.HasPrefix(mode, "verify-")
	if insecure == "unverified" && !verifies {
		return "require"
	}
	if !verifies || (mode == "verify-ca" && roots == "") {
		return "verify-full"
	}
	return mode
}

// hasUserRoots reports whether the file is there from which both pgx and libpq take
// root certificates by default.
func hasUserRoots() bool {
	home, err := os.UserHomeDir()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(home, ".postgresql", "root.crt"))
	return err == nil
}

// systemRoots returns the file that holds the system's root certificates, or "". The
// places are those where Go's crypto/x509 looks.
func systemRoots() string {
	files := []string{
		os.Getenv("SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}
