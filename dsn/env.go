package dsn

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Env gives [ParseEnv] access to environment variables and files. Both functions must
// be set. [OS] has those of the process.
type Env struct {
	// Getenv returns the value of an environment variable, or "" if it is not set, as
	// os.Getenv does.
	Getenv func(name string) string

	// ReadFile returns the content of a file, as os.ReadFile does.
	ReadFile func(path string) ([]byte, error)
}

// OS is the environment and the file system of the process.
var OS = Env{Getenv: os.Getenv, ReadFile: os.ReadFile}

// envParams maps environment variables to the parameters that they set. Only
// parameters that affect authentication or TLS are here, because pgx reads the others.
var envParams = []struct{ variable, param string }{
	{"PGHOST", "host"},
	{"PGUSER", "user"},
	{"PGSSLMODE", "sslmode"},
	{"PGSSLNEGOTIATION", "sslnegotiation"},
	{"PGSERVICE", "service"},
	{"PGSERVICEFILE", "servicefile"},
}

// pgxVariables are the other environment variables that pgx reads. None of them is a
// secret.
var pgxVariables = []string{
	"PGPORT", "PGDATABASE", "PGPASSFILE", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGSSLKEY", "PGSSLCERT", "PGSSLCERTMODE", "PGSSLSNI", "PGSSLROOTCERT",
	"PGTARGETSESSIONATTRS", "PGTZ", "PGOPTIONS", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGCHANNELBINDING", "PGREQUIREAUTH",
}

// merge returns the settings of a DSN with those of the service and the environment
// for what the DSN does not set.
func (e *Env) merge(settings map[string]string) (map[string]string, error) {
	merged := map[string]string{}
	for _, p := range envParams {
		v := e.Getenv(p.variable)
		if v == "" {
			continue
		}
		if err := checkValue(p.variable, p.param, v); err != nil {
			return nil, err
		}
		merged[p.param] = v
	}
	for _, variable := range pgxVariables {
		if err := checkControl(variable, e.Getenv(variable)); err != nil {
			return nil, err
		}
	}
	maps.Copy(merged, settings)
	service := merged["service"]
	if service == "" {
		return merged, nil
	}
	text, err := e.readServiceFile(merged["servicefile"])
	if err != nil {
		return nil, fmt.Errorf("service %q has no connection service file; set PGSERVICEFILE to a readable file", service)
	}
	pairs, err := parseService(text, service)
	if err != nil {
		return nil, err
	}
	section, err := collect(pairs)
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", service, err)
	}
	maps.Copy(merged, section)
	maps.Copy(merged, settings) // again, because the section replaces only the environment
	return merged, nil
}

// readServiceFile reads the connection service file, by default the one of serviceFiles.
func (e *Env) readServiceFile(path string) (text []byte, err error) {
	if path != "" {
		return e.ReadFile(path)
	}
	err = os.ErrNotExist
	for _, path := range e.serviceFiles() {
		if !filepath.IsAbs(path) {
			continue // the variable is not set
		}
		text, err = e.ReadFile(path)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return text, err
}

// serviceFiles returns where pgx looks for the connection service file, which it reads too.
// The first that exists applies.
func (e *Env) serviceFiles() []string {
	const name = ".pg_service.conf"
	if runtime.GOOS != "windows" {
		return []string{filepath.Join(e.Getenv("HOME"), name)}
	}
	return []string{
		filepath.Join(e.Getenv("APPDATA"), "postgresql", name), // libpq's
		filepath.Join(e.Getenv("USERPROFILE"), name),
	}
}

// parseService returns the pairs of one section of a connection service file, with the
// grammar of pgx: the last of two sections with one name applies.
func parseService(text []byte, service string) ([]pair, error) {
	var pairs []pair
	inSection := false
	found := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			inSection = line[1:len(line)-1] == service
			if inSection {
				found = true
				pairs = nil
			}
			continue
		}
		if !inSection {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("service %q has a line without =; write name=value", service)
		}
		pairs = append(pairs, pair{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	if !found {
		return nil, fmt.Errorf("service %q is not in the connection service file; check its name", service)
	}
	return pairs, nil
}

// checkVariables checks the variables that pgx reads, by what the modes do with them.
func (c *Config) checkVariables(getenv func(string) string) error {
	if c.Auth[0] == Password {
		return checkControl("PGPASSWORD", getenv("PGPASSWORD"))
	}
	if c.Params["channel_binding"] == "" && getenv("PGCHANNELBINDING") == "require" {
		return errChannelBinding("PGCHANNELBINDING")
	}
	return nil
}

// resolveRequired sets the keys that the modes require and the DSN does not set, from
// the environment. The password of a certificate is taken only if its path is: for
// another path it would be the wrong password.
func (c *Config) resolveRequired(getenv func(string) string) error {
	for _, m := range c.Auth {
		info := lookupMode(string(m))
		for _, name := range info.Required {
			k := lookupKey(name)
			if k.get(c) != "" {
				continue
			}
			v, variable := info.fromEnv(k, getenv)
			if v == "" {
				return fmt.Errorf("aad_auth=%s needs %s; set it in the DSN, or set %s in the environment", m, name, variable)
			}
			if err := checkValue(variable, name, v); err != nil {
				return err
			}
			if err := k.set(c, v); err != nil {
				return err
			}
			if name == "aad_client_certificate" && c.ClientCertificatePassword == (Secret{}) {
				password, _ := info.fromEnv(lookupKey("aad_client_certificate_password"), getenv)
				c.ClientCertificatePassword = NewSecret(password)
			}
		}
	}
	return nil
}

// fromEnv returns the value of k in the environment, and the variable that is best set
// for this mode.
func (m *ModeInfo) fromEnv(k *Key, getenv func(string) string) (value, variable string) {
	variable = k.Env
	if m.Env != "" {
		variable = m.Env + strings.TrimPrefix(k.Env, "AZURE_")
	}
	return cmp.Or(getenv(variable), getenv(k.Env)), variable
}
