package dsn

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Env is the world around a DSN, handed in so that parsing stays pure. Both
// functions must be set; [OS] is the real world.
type Env struct {
	Getenv   func(name string) string
	ReadFile func(path string) ([]byte, error)
}

// OS is the process's own environment and files.
var OS = Env{Getenv: os.Getenv, ReadFile: os.ReadFile}

// fromEnv are the settings whose absence matters to a sign-in. pgx reads the
// other PG variables.
var fromEnv = map[string]string{
	"PGHOST":        "host",
	"PGUSER":        "user",
	"PGSSLMODE":     "sslmode",
	"PGSERVICE":     "service",
	"PGSERVICEFILE": "servicefile",
}

// below lays the environment and the service's section below what a DSN gives.
func (e *Env) below(given map[string]string) (map[string]string, error) {
	all := map[string]string{}
	for name, key := range fromEnv {
		if v := e.Getenv(name); v != "" {
			all[key] = v
		}
	}
	maps.Copy(all, given)
	if all["service"] == "" {
		return all, nil
	}
	section, err := e.service(all["service"], all["servicefile"])
	if err != nil {
		return nil, err
	}
	said := make([]pair, 0, len(section))
	for name, v := range section {
		said = append(said, pair{name, v})
	}
	if section, err = collect(said); err != nil {
		return nil, fmt.Errorf("service %q: %w", all["service"], err)
	}
	// PGHOST and its kind lie below the section, the DSN above it.
	maps.Copy(all, section)
	maps.Copy(all, given)
	return all, nil
}

// service reads one section of a connection service file, with pgx's grammar.
func (e *Env) service(name, file string) (map[string]string, error) {
	files := []string{file}
	if file == "" { // libpq's places: the first is Windows'
		files = []string{
			filepath.Join(e.Getenv("APPDATA"), "postgresql", ".pg_service.conf"),
			filepath.Join(e.Getenv("HOME"), ".pg_service.conf"),
			filepath.Join(e.Getenv("USERPROFILE"), ".pg_service.conf"),
		}
	}
	var text []byte
	err := os.ErrNotExist
	for _, f := range files {
		if f == "" || !filepath.IsAbs(f) && file == "" {
			continue
		}
		if text, err = e.ReadFile(f); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("service %q needs a connection service file; set PGSERVICEFILE to one that can be read", name)
	}
	var found map[string]string
	in := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch key, v, ok := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			if in = line[1:len(line)-1] == name; in {
				found = map[string]string{} // as in pgx, the last of two sections wins
			}
		case in && !ok:
			return nil, fmt.Errorf("service %q has a line without =; write name=value", name)
		case in:
			key = strings.TrimSpace(key)
			if _, twice := found[key]; twice && lookup(key) != nil {
				return nil, fmt.Errorf("service %q: key %q is given twice; keep one", name, key)
			}
			found[key] = strings.TrimSpace(v)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("service %q is not in the connection service file; check its name", name)
	}
	return found, nil
}

// need takes what a mode cannot do without from the environment, and refuses
// what is not there either. The password of a certificate comes along with its
// path: beside another path it would be another file's.
func (c *Config) need(getenv func(string) string) error {
	for _, m := range c.Auth {
		info := lookupMode(string(m))
		for _, name := range info.Required {
			k := lookup(name)
			if k.get(c) != "" {
				continue
			}
			v, from := info.fromEnv(k, getenv)
			if v == "" {
				return fmt.Errorf("aad_auth=%s needs %s; set it in the DSN or %s in the environment", m, name, from)
			}
			if err := k.set(c, v); err != nil {
				return err
			}
			if name == "aad_client_certificate" && c.ClientCertificatePassword == "" {
				c.ClientCertificatePassword, _ = info.fromEnv(lookup("aad_client_certificate_password"), getenv)
			}
		}
	}
	return nil
}

// fromEnv returns the value of the variable that stands in for k, and the name
// under which it is best set.
func (m *ModeInfo) fromEnv(k *Key, getenv func(string) string) (v, name string) {
	name = k.Env
	if m.Env != "" {
		name = m.Env + strings.TrimPrefix(k.Env, "AZURE_")
	}
	return cmp.Or(getenv(name), getenv(k.Env)), name
}
