package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// With the variables libpq keeps the driver's rules.
func TestProgramEnv(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "roots.pem")
	err := os.WriteFile(roots, nil, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		dsn    string
		user   string   // default role
		env    []string // NAME=value, set before
		want   []string // NAME=value
		absent []string // NAME
		err    string
	}{
		{name: "token", dsn: "host=h user=u",
			want: []string{"PGHOST=h", "PGUSER=role", "PGPASSWORD=token", "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + roots, "PGREQUIREAUTH=password", "PGGSSENCMODE=disable"}},
		{name: "direct TLS where the driver has seen it", dsn: "host=h sslnegotiation=auto", env: []string{"PGSSLNEGOTIATION=auto"}, want: []string{"PGSSLNEGOTIATION=postgres"}},
		{name: "token with weaker TLS", dsn: "host=h sslmode=prefer", want: []string{"PGSSLMODE=verify-full"}},
		{name: "token with weaker TLS from the environment", dsn: "host=h", env: []string{"PGSSLMODE=prefer"}, want: []string{"PGSSLMODE=verify-full"}},
		{name: "token with a bare verify-ca", dsn: "host=h sslmode=verify-ca", want: []string{"PGSSLMODE=verify-full"}},
		{name: "token with roots", dsn: "host=h sslmode=verify-ca sslrootcert=r.pem", want: []string{"PGSSLMODE=verify-ca", "PGSSLROOTCERT=r.pem"}},
		{name: "token and the system's roots", dsn: "host=h sslmode=verify-ca sslrootcert=system", want: []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + roots}},
		{name: "token, unverified", dsn: "host=h aad_insecure=unverified", want: []string{"PGSSLMODE=require"}, absent: []string{"PGSSLROOTCERT"}},
		{name: "password", dsn: "host=h aad_auth=password", want: []string{"PGGSSENCMODE=disable"}, absent: []string{"PGSSLMODE", "PGSSLROOTCERT", "PGREQUIREAUTH"}},
		{name: "password, verified", dsn: "host=h aad_auth=password sslmode=verify-full", want: []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + roots}},
		{name: "password and the system's roots", dsn: "host=h aad_auth=password sslrootcert=system sslmode=disable", want: []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + roots}},
		{name: "password and the system's roots from the environment", dsn: "host=h aad_auth=password", env: []string{"PGSSLROOTCERT=system"}, want: []string{"PGSSLMODE=verify-full", "PGSSLROOTCERT=" + roots}},
		{name: "another address", dsn: "host=h", env: []string{"PGHOSTADDR=192.0.2.1", "PGSERVICE="}, absent: []string{"PGHOSTADDR", "PGSERVICE"}},
		{name: "a DSN", dsn: "host=h", env: []string{"DATABASE_URL=host=h aad_client_secret=hunter2", "OTHER=aadpostgres://h", "PLAIN=postgres://h"}, want: []string{"PLAIN=postgres://h"}, absent: []string{"DATABASE_URL", "OTHER"}},
		{name: "white space in a setting", dsn: "host=h my.own='a b'", want: []string{`PGOPTIONS=-c my.own=a\ b`}},
		{name: "settings after options", dsn: "host=h options='-c a=b' search_path=app", want: []string{`PGOPTIONS=-c a=b -c search_path=app`}},
		{name: "settings after those of the environment", dsn: "host=h search_path=app", env: []string{`PGOPTIONS=-c a=b\`}, want: []string{`PGOPTIONS=-c a=b -c search_path=app`}},
		{name: "zone", dsn: "host=h TimeZone=UTC", env: []string{"PGTZ=Asia/Tokyo"}, want: []string{"PGTZ=UTC"}},
		{name: "date style", dsn: "host=h DateStyle=ISO", env: []string{"PGDATESTYLE=German"}, want: []string{"PGDATESTYLE=ISO"}},
		{name: "database with =", dsn: "host=h dbname='host=elsewhere'", err: "as a connection string"},
		{name: "database that is a URL", dsn: "host=h dbname=postgres://elsewhere", err: "as a connection string"},
		{name: "database of the environment", dsn: "host=h", env: []string{"PGDATABASE=host=elsewhere"}, err: "as a connection string"},
		{name: "no database, and a user with =", dsn: "host=h", user: "host=elsewhere", err: "as a connection string"},
		{name: "a user with =", dsn: "host=h dbname=d", user: "a=b", want: []string{"PGUSER=a=b", "PGDATABASE=d"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, name := range []string{"PGSSLMODE", "PGSSLROOTCERT", "PGOPTIONS", "PGDATABASE"} {
				t.Setenv(name, "")
				os.Unsetenv(name)
			}
			t.Setenv("HOME", t.TempDir())
			t.Setenv("SSL_CERT_FILE", roots)
			for _, kv := range row.env {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			config, err := dsn.ParseEnv(row.dsn, dsn.OS)
			if err != nil && row.err != "" {
				return // refused earlier
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := programEnv(config, driver.Credentials{User: cmp.Or(row.user, "role"), Password: dsn.NewSecret("token")})
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error = %v, want %q", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range row.want {
				if !slices.Contains(got, kv) {
					t.Errorf("variables = %q, want %q", got, kv)
				}
			}
			for _, kv := range got {
				name, _, _ := strings.Cut(kv, "=")
				if slices.Contains(row.absent, name) {
					t.Errorf("variables contain %q, want no %s", kv, name)
				}
			}
		})
	}
}

// A value that no variable can hold is an error, which does not quote it.
func TestZeroByte(t *testing.T) {
	config := &dsn.Config{Auth: []dsn.Mode{dsn.Password}, Params: map[string]string{"application_name": "hunter2\x00"}}
	_, err := programEnv(config, driver.Credentials{})
	if err == nil || !strings.Contains(err.Error(), "PGAPPNAME contains a zero byte") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v, want that PGAPPNAME contains a zero byte, and no value", err)
	}
}

// split splits options as PostgreSQL's pg_split_opts does.
func split(options string) []string {
	args := []string{}
	inside := false
	escaped := false
	for i := range len(options) {
		b := options[i]
		if !escaped && strings.IndexByte(" \t\n\v\f\r", b) >= 0 {
			inside = false
			continue
		}
		if !inside {
			args = append(args, "")
			inside = true
		}
		if !escaped && b == '\\' {
			escaped = true
			continue
		}
		escaped = false
		args[len(args)-1] += string([]byte{b})
	}
	return args
}

// A setting is one argument, whatever characters it has.
func FuzzServerOptions(f *testing.F) {
	for _, value := range []string{"plain", "a b", "a\tb", "a\nb", "a\vb\fc\rd", `a\b`, `a\`, `\ -c x=y`, "end ", " start", "", "ä\u00a0b", `'"$`} {
		f.Add(value, "")
		f.Add(value, `-c x=y\`)
		f.Add(value, `-c x=\\`)
	}
	f.Fuzz(func(t *testing.T, value, options string) {
		config := &dsn.Config{Params: map[string]string{"my.own": value, "host": "h", "service": "s"}}
		given := split(options)
		if strings.HasSuffix(options, `\`) && len(given) > 0 && given[len(given)-1] == "" {
			t.Skip("a backslash alone, which the server takes for an empty argument")
		}
		got := split(serverOptions(config, options))
		want := append(given, "-c", "my.own="+value)
		if len(got) != len(want) {
			t.Fatalf("arguments = %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("argument %d = %q, want %q", i, got[i], want[i])
			}
		}
	})
}

func TestIsDriverDSN(t *testing.T) {
	for _, row := range []struct {
		name  string
		value string
		want  bool
	}{
		{"pairs", "host=h aad_auth=azure-cli", true},
		{"key first", "aad_auth=azure-cli", true},
		{"spaces", "host = h aad_auth = azure-cli", true},
		{"lines", "\nhost=h\naad_auth=azure-cli\n", true},
		{"URL", "postgres://h/d?aad_auth=azure-cli", true},
		{"second parameter", "postgresql://h/d?user=u&aad_auth=azure-cli", true},
		{"encoded key", "postgres://h/d?aad%5Fauth=azure-cli", true},
		{"scheme", "aadpostgres://h/d", true},
		{"scheme in another case", "AADPostgres://h/d", true},
		{"in quotes", `'aadpostgres://h/d'`, true},
		{"misspelled key", "host=h aad_aut=azure-cli", true},
		{"semicolons", "Server=h;aad_auth=azure-cli", true},
		{"empty", "", false},
		{"plain URL", "postgres://u:p@h/d", false},
		{"plain pairs", "host=h user=u", false},
		{"key as a value", "postgres://h/d?application_name=aad_auth", false},
		{"a shell function", "() { aadpostgres exec 'host=h aad_auth=azure-cli' -- psql; }", false},
		{"server's option", "-c aad_validate_oids_in_tenant=off", false},
		{"another word", "host=h my.aad_auth=x", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := isDriverDSN(row.value); got != row.want {
				t.Errorf("isDriverDSN(%q) = %t, want %t", row.value, got, row.want)
			}
		})
	}
}
