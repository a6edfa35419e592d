package driver

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// The user is the DSN's, with the server's name where Single Server needs it, or else the
// one that the token names.
func TestUserName(t *testing.T) {
	const (
		person          = "me@contoso.com"
		server          = "srv.postgres.database.azure.com"
		managedIdentity = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/my-app"
		webApp          = "/subscriptions/s/resourcegroups/g/providers/Microsoft.Web/sites/site"
		issuer          = "https://sts.windows.net/t/"
	)
	for _, tt := range []struct {
		name       string
		user       user
		host       string
		claims     map[string]any
		want, fail string // the role, or what is in the error
	}{
		{name: "DSN's", user: user{name: "u"}, claims: map[string]any{"upn": "other"}, want: "u"},
		{name: "user-assigned identity", claims: map[string]any{"xms_mirid": managedIdentity, "upn": "other"}, want: "my-app"},
		{name: "system-assigned identity", claims: map[string]any{"xms_mirid": webApp}, want: "site"},
		{name: "identity of a deployment slot", claims: map[string]any{"xms_mirid": webApp + "/slots/staging"}, want: "site/slots/staging"},
		{name: "identity of a slot of Single Server", user: user{"", "single"}, host: server, claims: map[string]any{"xms_mirid": webApp + "/slots/staging"}, want: "site/slots/staging@srv"},
		{name: "identity of an unknown type of resource", claims: map[string]any{"xms_mirid": webApp + "/hosts/staging", "appid": "a", "oid": "o", "upn": "other"}, fail: `not known how Azure names the managed identity of this type of resource: it is of appid "a", oid "o"; set user to the name`},
		{name: "identity of an unknown type of resource, DSN's", user: user{name: "u"}, claims: map[string]any{"xms_mirid": webApp + "/hosts/staging"}, want: "u"},
		{name: "managed identity of another issuer", claims: map[string]any{"xms_mirid": managedIdentity, "iss": issuer, "idp": "x"}, want: "my-app"},
		{name: "upn", claims: map[string]any{"upn": person, "unique_name": "x"}, want: person},
		{name: "preferred_username", claims: map[string]any{"preferred_username": person}, want: person},
		{name: "unique_name", claims: map[string]any{"unique_name": person}, want: person},
		{name: "member by idp", claims: map[string]any{"upn": person, "iss": issuer, "idp": issuer}, want: person},
		{name: "guest", claims: map[string]any{"upn": "me@home.com", "oid": "o", "iss": issuer, "idp": "live.com"}, fail: `created for this guest, as in me_home.com#EXT#@`},
		{name: "application by appid", claims: map[string]any{"appid": "a", "oid": "o"}, fail: `appid "a", oid "o"`},
		{name: "application by azp", claims: map[string]any{"azp": "a"}, fail: `appid "a", oid ""`},
		{name: "Single Server", user: user{"Müller's Team", "single"}, host: server, want: "Müller's Team@srv"},
		{name: "Single Server, person", user: user{person, "single"}, host: server, want: "me@contoso.com@srv"},
		{name: "Single Server, with suffix", user: user{"me@srv", "single"}, host: server, want: "me@srv"},
		{name: "Single Server, by address", user: user{"me@srv", "single"}, host: "127.0.0.1", want: "me@srv"},
		{name: "Flexible Server", user: user{"me@srv", "flexible"}, host: server, want: "me@srv"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			presented := &token.Token{Claims: token.ParseClaims(entratest.JWT(tt.claims))}
			got, err := tt.user.roleFor(presented, tt.host)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Errorf("roleFor() = %q, %v, want %q in the error", got, err, tt.fail)
				}
				return
			}
			if err != nil {
				t.Fatalf("roleFor() = %v, want no error", err)
			}
			if got != tt.want {
				t.Errorf("roleFor() = %q, want %q", got, tt.want)
			}
		})
	}
}

// A token that is not a JWT names no user.
func TestOpaqueTokenNamesNoUser(t *testing.T) {
	for _, tt := range []struct{ name, token string }{
		{"empty", ""},
		{"no dots", "x"},
		{"not base64", "a.!.c"},
		{"not JSON", "a.b.c"},
		{"null", "a." + "bnVsbA" + ".c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tokenUser(token.ParseClaims(tt.token)); got != "" {
				t.Errorf("tokenUser() = %q, want none", got)
			}
		})
	}
}
