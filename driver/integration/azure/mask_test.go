package azure

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

const (
	jwt = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl"
	oid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
)

// Names and IDs have placeholders, the same one each time. Azure's own names, and what
// makes a text useful, stay.
func TestMask(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"token", "got " + jwt, "got " + redact.Mask},
		{"half a token", "got eyJhbGciOiJSUzI1NiJ9", "got " + redact.Mask},
		{"object ID, twice", "oid " + oid + " is not " + strings.ToUpper(oid), "oid <ID> is not <ID>"},
		{"ID without hyphens", strings.ReplaceAll(oid, "-", ""), "<ID>"},
		{"known role", `role "app" does not exist`, `role "<role of the managed identity>" does not exist`},
		{"known role in brackets", "mismatch for role[app]", "mismatch for role[<role of the managed identity>]"},
		{"known role is a part of a word", "application", "application"},
		{"a role that is known in another case", "APP is not there", "<role of the managed identity> is not there"},
		{"unknown role", `role "Prod DB" does not exist`, `role "<name>" does not exist`},
		{"unknown role in single quotes", "role 'Prod DB' does not exist", "role '<name>' does not exist"},
		{"a name with a known one in it", `role "app of Kim" exists`, `role "<role of the managed identity>" exists`},
		{"apostrophes", "The access token doesn't have a valid audience claim, it isn't ours", "The access token doesn't have a valid audience claim, it isn't ours"},
		{"the current mismatch", `for role "The oid in the security label [` + oid + `] does not match the appid [app] or oid [1] in the token."`,
			`for role "The oid in the security label [<ID>] does not match the appid [<role of the managed identity>] or oid [1] in the token."`},
		{"account", "no user kim.lee_contoso.com#EXT#@contoso.onmicrosoft.com", "no user <account>"},
		{"known host", "dial db1.postgres.database.azure.com:5432", "dial <host>:5432"},
		{"unknown host", "dial db2.postgres.database.azure.com:5432", "dial <host 2>:5432"},
		{"address", "dial tcp 10.1.2.3:5432 from [2001:db8::1:2:3]", "dial tcp <address>:5432 from [<address 2>]"},
		{"resource", `for the resource "https://ossrdbms-aad.database.windows.net".`, `for the resource "https://ossrdbms-aad.database.windows.net".`},
		{"resource with a slash", `for resource "https://ossrdbms-aad.database.usgovcloudapi.net/"`, `for resource "https://ossrdbms-aad.database.usgovcloudapi.net/"`},
		{"the resource's application", "aud is 123cd850-d9df-40bd-94d5-c9f07b7fa203", "aud is 123cd850-d9df-40bd-94d5-c9f07b7fa203"},
		{"another URL", "GET https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2", "GET <URL>"},
		{"resource ID", "of /subscriptions/1/resourcegroups/rg/providers/x/app", "of <resource ID>"},
		{"secret", "secret hunter2hunter2", "secret <secret>"},
		{"lines and escapes", "a\nb\x1b[31mc", "a b [31mc"},
		{"a role that is called as a placeholder's word", "role tenant", "role <role of the group>"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := newMask()
			m.add("host", "db1.postgres.database.azure.com")
			m.add("role of the managed identity", "app")
			m.add("role of the group", "tenant")
			m.add("secret", "hunter2hunter2")
			got := m.text(row.text)
			if got != row.want {
				t.Errorf("text(%q) = %q, want %q", row.text, got, row.want)
			}
			if leaked := m.leaks([]string{got}); leaked != "" {
				t.Errorf("leaks(%q) = %q, want none", got, leaked)
			}
			if again := m.text(got); again != got {
				t.Errorf("text(%q) = %q, want it unchanged", got, again)
			}
		})
	}
}

// The last check finds what no mask was applied to.
func TestLeaks(t *testing.T) {
	m := newMask()
	m.add("role of the person", "kim")
	m.text("dial db2.postgres.database.azure.com")
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "password authentication failed for user <name>", ""},
		{"placeholder", "<role of the person>", ""},
		{"a known value", "user KIM", "<role of the person>"},
		{"found by its form before", "db2.postgres.database.azure.com", "<host>"},
		{"a token", "x " + jwt, "<token>"},
		{"an ID", oid, "<ID>"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := m.leaks([]string{"first", row.text}); got != row.want {
				t.Errorf("leaks(%q) = %q, want %q", row.text, got, row.want)
			}
		})
	}
}
