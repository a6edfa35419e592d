package entratest

import (
	"fmt"
	"html"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// A Notation is a connection string as another driver, a shell or a configuration file
// would have it, with [Marker] in the place of a secret. Its fields are indexes of the
// tables below, modulo their lengths, so that a fuzzer can choose any.
type Notation struct {
	Form, Key, Assign, Quote, Case, Escape uint8
	Before, After                          string // around the secret, in the form that is free
}

// forms have the secret with its key in place of {}. The last one is free.
var forms = []string{
	"host=h dbname=app {}",
	"{} host=h",
	"{}",
	"aad_auth=client-secret host=h aad_tenant_id=t aad_client_id=c {}",
	"aad_auth=client-certificate host=h {}",
	"aad_auth=password host=h {}",
	"aad_auth=access-token host=h user=u {}",
	"database=app;User Id=me;{}",
	"Host=h;Username=me;{};Database=app",
	"Server=tcp:h,5432;Initial Catalog=app;{};Encrypt=true",
	"user=app;{};host=h",
	"aad_auth=client-secret;{}",
	"aad_cloud=public;{}",
	"aad_token_timeout=30s;{}",
	"sslmode=require;{}",
	"port=5432;{}",
	"connect_timeout=5;{}",
	"service=s;{}",
	"host=h, port=5432, {}",
	"host=h user=u,{}",
	"host=h user=u|{}",
	"host=h user='u {}'",
	"host=h user='u; {}'",
	"host=h options='-c app.{}'",
	"host=h application_name=a&{}",
	"host=h sslkey='{}'",
	"host=h aad_scope=x?{}",
	"aad_authority_host=https://h/;{}",
	"postgres://u@h/db?{}",
	"postgres://u@h/db?sslmode=require&{}",
	"postgres://u@h/db?sslmode=require&amp;{}",
	"postgres://u@h/db?aad_auth=client-secret&aad_tenant_id=t&aad_client_id=c&{}",
	"postgres://u@h/db;{}",
	"postgres://u@h/db?sslmode=require;{}",
	"postgres://u@h:5432;{}/db",
	"postgres://h?user=me@b&{}",
	"postgres://h:5432?{}&user=me@contoso.com",
	"postgres://{}@h/db",
	"postgres://u:{}@h/db",
	"postgres://u@h/{}",
	"postgres://{}/db",
	"jdbc:postgresql://h/d?user=u&{}",
	"postgresql+psycopg2://u@h/db?{}",
	"sqlserver://u@h?database=d&{}",
	"u@tcp(h:3306)/db?{}",
	`{"host":"h",{}}`,
	"{'ENGINE': 'django.db.backends.postgresql', 'HOST': 'h', {}}",
	"host: h\n{}\n",
	"host=h\n{}\nuser=u",
	"export {}",
	"DATABASE_URL=postgres://u@h/db?{}",
	"DSN=host=h {}",
	`DSN="host=h {}"`,
	`psql "host=h {}"`,
	"psql -h h --{}",
	"PGHOST=h {} psql",
	"<add name='x' connectionString='Host=h;{}'/>",
	"'host=h {}'",
	"",
}

var secretKeys = []string{
	"password", "passwd", "pwd", "pass", "passphrase", "userPassword", "db_password", "PGPASSWORD", "sslpassword", "aad_client_certificate_password",
	"secret", "client_secret", "ClientSecret", "aad_client_secret", "aad-client-secret", "AZURE_CLIENT_SECRET", "oauth_client_secret",
	"token", "access_token", "AccessToken", "id-token", "jwt", "app.jwt_token", "bearer",
	"apikey", "api-key", "x-api-key", "AccountKey", "SharedAccessKey", "Access Key", "private_key", "key", "sig", "sas", "credentials", "pasword",
}

var (
	assigns = []string{"=", " = ", "= ", " =", ":", ": ", "=>", " => ", ":=", "%3D", "%3d"}
	quotes  = []string{"%s", "'%s'", `"%s"`, `\'%s\'`, `\"%s\"`, "{%s}", "`%s`", "(%s)", "<%s>"}
	cases   = []func(string) string{
		func(s string) string { return s },
		strings.ToUpper,
		strings.ToLower,
		func(s string) string { return strings.ToUpper(s[:1]) + s[1:] },
		func(s string) string { return `"` + s + `"` }, // as keys of JSON
		func(s string) string { return "'" + s + "'" },
	}
	escapes = []func(string) string{
		func(s string) string { return s },
		url.PathEscape,
		url.QueryEscape,
		func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
		html.EscapeString,
		func(s string) string { return strings.Trim(strconv.Quote(s), `"`) }, // in a string of JSON
		func(s string) string { return strings.ReplaceAll(s, `'`, `''`) },    // in a string of SQL or YAML
	}
)

func pick[T any](table []T, i uint8) T { return table[int(i)%len(table)] }

// DSN returns the connection string.
func (n Notation) DSN() string {
	secret := pick(cases, n.Case)(pick(secretKeys, n.Key)) + pick(assigns, n.Assign) + fmt.Sprintf(pick(quotes, n.Quote), Marker)
	form := pick(forms, n.Form)
	escape := pick(escapes, n.Escape)
	if form == "" {
		return n.Before + escape(secret) + n.After
	}
	if n.Form >= uint8(len(forms)) { // the whole string is escaped
		return escape(strings.Replace(form, "{}", secret, 1))
	}
	return strings.Replace(form, "{}", escape(secret), 1)
}

// freeSeparators stand between free text and a secret's key. Without one, the text would be
// part of the key.
var freeSeparators = []string{" ", ";", "&", "?", ",", "|", "\n", "'", `"`, "{", "/", "#", "@", "://", "=", " user='", " host=", "%20", "&amp;"}

// Notations yields each form with each key, and each of the other fields at least once with
// each form.
func Notations() iter.Seq[string] {
	return func(yield func(string) bool) {
		for form := range uint8(2 * len(forms)) {
			for key := range uint8(len(secretKeys)) {
				if !yield(Notation{Form: form, Key: key}.DSN()) {
					return
				}
			}
			for i := range uint8(len(assigns)) {
				before := []string{"host=h", "postgres://u@h/d?x=y"}[i%2] + pick(freeSeparators, i)
				if !yield(Notation{Form: form, Key: i, Assign: i, Quote: i + 1, Case: i, Escape: i, Before: before, After: " user=u"}.DSN()) ||
					!yield(Notation{Form: form, Assign: i, Escape: i, Before: before, After: "@x"}.DSN()) {
					return
				}
			}
		}
	}
}

// FuzzNotations calls check with what the fuzzer makes of notations.
func FuzzNotations(f *testing.F, check func(*testing.T, string)) {
	for form := range uint8(2 * len(forms)) {
		f.Add(form, form, form, form, form, form, "host=h", form, " user=u")
	}
	f.Fuzz(func(t *testing.T, form, key, assign, quote, spelling, escape uint8, before string, separator uint8, after string) {
		if strings.Contains(before+after, Marker) || strings.Contains(before+after, "/dev/") || strings.Contains(before+after, "/proc/") {
			t.Skip("the marker stands elsewhere too, or a file without end is named")
		}
		n := Notation{Form: form, Key: key, Assign: assign, Quote: quote, Case: spelling, Escape: escape, Before: before + pick(freeSeparators, separator), After: after}
		check(t, n.DSN())
	})
}
