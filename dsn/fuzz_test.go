package dsn

import (
	"crypto/tls"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func addSeeds(f *testing.F) {
	for _, row := range valid {
		f.Add(row.in)
	}
	for _, row := range invalid {
		f.Add(row.in)
	}
}

// Parse never panics, DSN is stable and complete, and String contains no secret.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		formatted := c.DSN()
		again, err := Parse(formatted)
		if err != nil {
			t.Fatalf("Parse(%q).DSN() = %q, which does not parse: %v", s, formatted, err)
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("Parse(%q) = %#v, want %#v", formatted, again, c)
		}
		if got := again.DSN(); got != formatted {
			t.Fatalf("Parse(%q).DSN() = %q, want the same", formatted, got)
		}
		if strings.Contains(s, secret) {
			return // perhaps where no secret is expected
		}
		c.Params["password"] = secret
		c.SSLPassword = NewSecret(secret)
		c.ClientSecret = NewSecret(secret)
		c.ClientCertificatePassword = NewSecret(secret)
		if got := c.String(); strings.Contains(got, secret) {
			t.Fatalf("String() = %q, want no secret", got)
		}
	})
}

// pgx reads a DSN without aad_ keys and what Config.DSN makes of it alike: the grammar
// of this package is pgx's.
func FuzzLikePgx(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "aad") {
			return // pgx does not know these keys
		}
		if strings.Contains(s, "file") || strings.Contains(s, "service") || strings.Contains(s, "cert") {
			return // pgx might read files
		}
		pairs, err := split(s)
		if err != nil {
			return // this parser may reject more than pgx, but must not read it differently
		}
		settings, err := collect(pairs)
		if err != nil || slices.Contains(pairs, pair{"user", ""}) {
			return // unlike pgx, libpq and this package ignore an empty user
		}
		c, err := newConfig(settings)
		if err != nil {
			t.Fatalf("newConfig(%q): %v", settings, err)
		}
		want, wantErr := pgx.ParseConfig(s)
		got, err := pgx.ParseConfig(c.DSN())
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("pgx.ParseConfig(%q) returns error %v, want %v as for %q", c.DSN(), err, wantErr, s)
		}
		if err != nil {
			return
		}
		if got, want := summary(got), summary(want); got != want {
			t.Fatalf("pgx.ParseConfig(%q) = %s, want %s as for %q", c.DSN(), got, want, s)
		}
	})
}

// summary prints what a DSN can set.
func summary(c *pgx.ConnConfig) string {
	var b strings.Builder
	fmt.Fprintf(&b, "user %q password %q database %q timeout %v parameters %q", c.User, c.Password, c.Database, c.ConnectTimeout, c.RuntimeParams)
	fmt.Fprintf(&b, " host %q port %d %s", c.Host, c.Port, tlsSummary(c.TLSConfig))
	for _, f := range c.Fallbacks {
		fmt.Fprintf(&b, ", or host %q port %d %s", f.Host, f.Port, tlsSummary(f.TLSConfig))
	}
	return b.String()
}

func tlsSummary(c *tls.Config) string {
	if c == nil {
		return "without TLS"
	}
	return fmt.Sprintf("with TLS, unverified: %t", c.InsecureSkipVerify)
}
