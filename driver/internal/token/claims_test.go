package token

import (
	"encoding/base64"
	"reflect"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

func jwtOf(payload string) string {
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".sig"
}

func TestParseClaims(t *testing.T) {
	rows := []struct {
		name, value string
		want        Claims
	}{
		{"empty", "", Claims{}},
		{"opaque", "opaque", Claims{}},
		{"two parts", "eyJhbGciOiJub25lIn0.e30", Claims{}},
		{"four parts", jwtOf(`{"oid":"o"}`) + ".x", Claims{}},
		{"not base64", "a.!.c", Claims{}},
		{"not JSON", jwtOf(`{"oid":`), Claims{}},
		{"another type", jwtOf(`{"oid":1,"upn":"u"}`), Claims{}},
		{"no claims", jwtOf(`{}`), Claims{}},
		{"one audience", jwtOf(`{"aud":"a","oid":"o"}`), Claims{Audience: Audience{"a"}, ObjectID: "o"}},
		{"several audiences", jwtOf(`{"aud":["a","b"],"oid":"o"}`), Claims{Audience: Audience{"a", "b"}, ObjectID: "o"}},
		{"an audience of another type", jwtOf(`{"aud":{"a":1},"oid":"o"}`), Claims{ObjectID: "o"}},
		{"audiences of several types", jwtOf(`{"aud":["a",1],"oid":"o"}`), Claims{ObjectID: "o"}},
		{"all that are read", jwtOf(`{"aud":"a","iat":1,"exp":2.5,"iss":"i","idp":"p","oid":"o","tid":"t","idtyp":"app","appid":"1","azp":"2",` +
			`"upn":"u","preferred_username":"v","unique_name":"w","xms_mirid":"/m","other":{}}`),
			Claims{Audience{"a"}, 1, 2.5, "i", "p", "o", "t", "app", "1", "2", "u", "v", "w", "/m"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := ParseClaims(row.value)
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("ParseClaims(%q) = %+v, want %+v", row.value, got, row.want)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	rows := []struct {
		name        string
		claims      Claims
		appOnly     bool
		guest       bool
		person      string
		application string
	}{
		{"none", Claims{}, false, false, "", ""},
		{"object ID alone", Claims{ObjectID: "o"}, false, false, "", ""},
		{"application by its type", Claims{Type: "app", ObjectID: "o"}, true, false, "", ""},
		{"application of version 1", Claims{AppID: "a", ObjectID: "o"}, true, false, "", "a"},
		{"application of version 2", Claims{AuthorizedParty: "a"}, true, false, "", "a"},
		{"managed identity", Claims{ManagedIdentity: "/x/y"}, true, false, "", ""},
		{"person of version 1", Claims{AppID: "azure cli", UPN: "me@contoso.com"}, false, false, "me@contoso.com", "azure cli"},
		{"person of version 2", Claims{AuthorizedParty: "azure cli", PreferredUsername: "me@contoso.com"}, false, false, "me@contoso.com", "azure cli"},
		{"person by unique name", Claims{AppID: "azure cli", UniqueName: "me@contoso.com"}, false, false, "me@contoso.com", "azure cli"},
		{"person with three names", Claims{UPN: "u", PreferredUsername: "p", UniqueName: "n"}, false, false, "u", ""},
		{"guest", Claims{AppID: "azure cli", IdentityProvider: "home", Issuer: "here"}, false, true, "", "azure cli"},
		{"home in this tenant", Claims{IdentityProvider: "here", Issuer: "here", UPN: "u"}, false, false, "u", ""},
		{"no issuer", Claims{IdentityProvider: "home", UPN: "u"}, false, false, "u", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := row.claims.AppOnly(); got != row.appOnly {
				t.Errorf("AppOnly() = %t, want %t", got, row.appOnly)
			}
			if got := row.claims.Guest(); got != row.guest {
				t.Errorf("Guest() = %t, want %t", got, row.guest)
			}
			if got := row.claims.Person(); got != row.person {
				t.Errorf("Person() = %q, want %q", got, row.person)
			}
			if got := row.claims.Application(); got != row.application {
				t.Errorf("Application() = %q, want %q", got, row.application)
			}
		})
	}
}

// The name of a managed identity is its resource's own, or the path where Azure documents
// that. Of nothing else is a name made up.
func TestManagedIdentityName(t *testing.T) {
	const (
		group = "/subscriptions/s/resourcegroups/g"
		web   = group + "/providers/Microsoft.Web/sites/shop"
	)
	for _, tt := range []struct{ name, id, want string }{
		{"none", "", ""},
		{"user-assigned", group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/my-app", "my-app"},
		{"in other case", "/SUBSCRIPTIONS/s/resourceGroups/g/PROVIDERS/microsoft.managedidentity/userassignedidentities/My-App", "My-App"},
		{"virtual machine", group + "/providers/Microsoft.Compute/virtualMachines/vm1", "vm1"},
		{"without a group", "/subscriptions/s/providers/Microsoft.Web/sites/shop", "shop"},
		{"web app", web, "shop"},
		{"deployment slot", web + "/slots/staging", "shop/slots/staging"},
		{"deployment slot in other case", group + "/providers/microsoft.web/Sites/Shop/Slots/Staging", "Shop/Slots/Staging"},
		{"compute of a workspace", group + "/providers/Microsoft.MachineLearningServices/workspaces/w/computes/c", "w/computes/c"},
		{"machine of a scale set", group + "/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/3", ""},
		{"nested in a slot", web + "/slots/staging/functions/f", ""},
		{"slots of another provider", group + "/providers/Contoso.Web/sites/shop/slots/staging", ""},
		{"extension of a resource", web + "/providers/Microsoft.Insights/components/c", ""},
		{"nested in a user-assigned one", group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/a/federatedIdentityCredentials/b", ""},
		{"no name", web[:len(web)-len("/shop")], ""},
		{"type without a name", web + "/slots", ""},
		{"empty part", web + "//staging", ""},
		{"slash at the end", web + "/", ""},
		{"provider alone", group + "/providers/Microsoft.Web", ""},
		{"no provider", "/x/y/z", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Claims{ManagedIdentity: tt.id}).ManagedIdentityName(); got != tt.want {
				t.Errorf("ManagedIdentityName() of %q = %q, want %q", tt.id, got, tt.want)
			}
		})
	}
}

func TestClaimedTimes(t *testing.T) {
	rows := []struct {
		name    string
		seconds float64
		want    time.Time
	}{
		{"absent", 0, time.Time{}},
		{"negative", -1, time.Time{}},
		{"beyond any clock", 1 << 41, time.Time{}},
		{"a date", 1764000000, time.Unix(1764000000, 0)},
		{"with a fraction", 1764000000.9, time.Unix(1764000000, 0)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := ParseClaims(entratest.JWT(map[string]any{"iat": row.seconds, "exp": row.seconds}))
			if got := c.IssuedTime(); !got.Equal(row.want) {
				t.Errorf("IssuedTime() = %s, want %s", got, row.want)
			}
			if got := c.ExpiresTime(); !got.Equal(row.want) {
				t.Errorf("ExpiresTime() = %s, want %s", got, row.want)
			}
		})
	}
}
