package main

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/dsn"
)

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
