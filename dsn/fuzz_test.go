package dsn

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

var seeds = []string{
	"", "host=h", "postgres://u:p@h:5432/d?sslmode=require&aad_auth=password", "aad_auth=managed-identity aad_client_id=c",
	"postgres://[::1]:5432,h2/d?ssl=true", "user='a b' aad_token_max_age=5m", `host=a\`, "postgres://h/a+b?x=%41",
	"aad_auth=client-secret aad_client_secret=s", "postgres://h1:1,h2:2/d?target_session_attrs=any", "host= dbname=x",
	"aad_server_type=single aad_token_max_age=0", "search_path='' database=d dbname=e",
}

// Parse never panics, DSN is stable and complete, and nothing but DSN
// prints a secret.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		formatted := c.DSN()
		again, err := Parse(formatted)
		if err != nil {
			t.Fatalf("%q formats as %q: %v", s, formatted, err)
		}
		if !reflect.DeepEqual(again, c) || again.DSN() != formatted {
			t.Fatalf("%q formats as %q, and that as %q", s, formatted, again.DSN())
		}
		const marker = "s3cr3t"
		c.Params["password"], c.ClientSecret, c.ClientCertificatePassword = marker, marker, marker
		if !strings.Contains(s, marker) && strings.Contains(c.String(), marker) {
			t.Fatalf("%q prints as %q", s, c)
		}
	})
}

// What pgx makes of a DSN without keys of ours is what it makes of Config.DSN's
// output: this package's grammar is pgx's.
func FuzzLikePgx(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "aad") || strings.Contains(s, "file") || strings.Contains(s, "service") || strings.Contains(s, "cert") {
			return // ours, or one that reads files
		}
		said, err := split(s)
		if err != nil {
			return // a parser may be stricter: what matters is that it reads nothing else than pgx
		}
		given, err := collect(said)
		if err != nil || slices.Contains(said, pair{"user", ""}) {
			return // libpq takes an empty user for none, and so does this package
		}
		c := &Config{Params: given, Auth: []Mode{Default}}
		c.defaults("")
		want, err := pgx.ParseConfig(s)
		got, err2 := pgx.ParseConfig(c.DSN())
		if (err == nil) != (err2 == nil) {
			t.Fatalf("pgx says %v of %q but %v of %q", err, s, err2, c.DSN())
		}
		if err == nil && !same(got, want) {
			t.Fatalf("pgx reads %q and %q differently", s, c.DSN())
		}
	})
}

func same(a, b *pgx.ConnConfig) bool {
	if len(a.Fallbacks) != len(b.Fallbacks) {
		return false
	}
	for i := range a.Fallbacks {
		if a.Fallbacks[i].Host != b.Fallbacks[i].Host || a.Fallbacks[i].Port != b.Fallbacks[i].Port ||
			(a.Fallbacks[i].TLSConfig == nil) != (b.Fallbacks[i].TLSConfig == nil) {
			return false
		}
	}
	return a.Host == b.Host && a.Port == b.Port && a.User == b.User && a.Password == b.Password && a.Database == b.Database &&
		(a.TLSConfig == nil) == (b.TLSConfig == nil) && (a.TLSConfig == nil || a.TLSConfig.InsecureSkipVerify == b.TLSConfig.InsecureSkipVerify) &&
		a.ConnectTimeout == b.ConnectTimeout && reflect.DeepEqual(a.RuntimeParams, b.RuntimeParams)
}
