package main

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// secureTLS makes libpq verify TLS as the driver does, and send a token only to a server
// that asks for a password inside TLS.
func secureTLS(config *dsn.Config, vars map[string]string) error {
	roots := cmp.Or(vars["PGSSLROOTCERT"], os.Getenv("PGSSLROOTCERT"))
	mode := vars["PGSSLMODE"]
	if config.Auth[0] != dsn.Password {
		mode = requiredSSLMode(config.Insecure, mode, roots)
		if vars["PGREQUIREAUTH"] == "" {
			vars["PGREQUIREAUTH"] = "password" // libpq 16 and later read it
		}
	}
	if roots == "system" {
		mode = "verify-full" // as in pgx, whatever sslmode is
	}
	if mode != "" {
		vars["PGSSLMODE"] = mode
	}
	vars["PGGSSENCMODE"] = "disable" // libpq accepts GSS encryption in place of TLS, whatever sslmode is
	if !strings.HasPrefix(mode, "verify-") {
		return nil
	}
	if roots != "system" && (roots != "" || hasUserRoots()) {
		return nil
	}
	// Before version 16 libpq cannot use the system's roots: it reads sslrootcert=system
	// as the name of a file.
	file := systemRoots()
	if file == "" && roots == "" {
		return errors.New("aadpostgres exec: the system's root certificates were not found; set sslrootcert to a file of root certificates")
	}
	vars["PGSSLROOTCERT"] = cmp.Or(file, roots)
	return nil
}

// requiredSSLMode returns the sslmode with which libpq is as strict with a token as the
// driver.
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
// places are those where Go's crypto/x509 looks. Like it, systemRoots looks nowhere else
// if SSL_CERT_FILE is set.
func systemRoots() string {
	files := []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
	chosen := os.Getenv("SSL_CERT_FILE")
	if chosen != "" {
		files = []string{chosen}
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}
