package driver

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// givesRole matches what would give a role to a principal: SQL, and the command that makes
// it. SQL by name gives the role to the principal of that name.
var givesRole = regexp.MustCompile(`(?i)pgaadauth|security\s+label\s+for|create\s+(role|user)|azure_ad_user|password\s+'|aadpostgres role \S+ NAME|-(object|client)-id`)

// reassigns matches SQL that takes an existing role from its principal.
var reassigns = regexp.MustCompile(`(?i)security\s+label\s+for|alter\s+role\s+\S+\s+password|(grant|revoke)\s+azure_ad_user`)

const (
	cameApp    = "00000000-0000-0000-0000-0000000000a1"
	cameObject = "00000000-0000-0000-0000-0000000000a2"
	cameTenant = "00000000-0000-0000-0000-0000000000a3"
	otherID    = "00000000-0000-0000-0000-0000000000b1"
	armPrefix  = "/subscriptions/s/resourcegroups/g/providers/"
	nodeMI     = armPrefix + "Microsoft.ManagedIdentity/userAssignedIdentities/node-mi"
)

// A cameToken is a token, and in plain words whose it is.
type cameToken struct {
	name   string
	claims token.Claims
	app    bool
	opaque bool
	guest  bool
	own    string   // the role that is named like it
	names  []string // of the person
}

var cameTokens = []cameToken{
	{name: "opaque", opaque: true},
	{name: "managed identity", app: true, own: "node-mi", claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, ManagedIdentity: nodeMI}},
	{name: "slot", app: true, own: "shop/slots/staging", claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, Type: "app", ManagedIdentity: armPrefix + "Microsoft.Web/sites/shop/slots/staging"}},
	{name: "unknown resource", app: true, claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, ManagedIdentity: armPrefix + "Contoso.X/a/b/c/d"}},
	{name: "service principal", app: true, claims: token.Claims{AuthorizedParty: cameApp, ObjectID: cameObject, Tenant: cameTenant}},
	{name: "person", own: "me@contoso.com", names: []string{"me@contoso.com"}, claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, UPN: "me@contoso.com"}},
	{name: "guest", guest: true, names: []string{"me@home.com"}, claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, UPN: "me@home.com", IdentityProvider: "live.com", Issuer: "https://sts.windows.net/t/"}},
	{name: "guest without a name", guest: true, claims: token.Claims{AppID: cameApp, ObjectID: cameObject, Tenant: cameTenant, IdentityProvider: "live.com", Issuer: "https://sts.windows.net/t/"}},
}

// A situation is what a hint is chosen by, as a person would tell it.
type situation struct {
	modes      []dsn.Mode // nil: the program's own credential
	cfg        dsn.Config
	env        map[string]string
	token      cameToken
	role       string
	givenUser  bool
	serverType string
}

func (s situation) errContext() errContext {
	cfg := s.cfg
	cfg.Auth = s.modes
	cfg.Params = map[string]string{}
	if s.givenUser {
		cfg.Params["user"] = s.role
	}
	if s.modes == nil {
		cfg.Auth = []dsn.Mode{dsn.Default}
	}
	return errContext{
		cloud:       credential.Cloud{ServerType: s.serverType},
		host:        "srv.postgres.database.azure.com",
		role:        s.role,
		claims:      s.token.claims,
		staticToken: slices.Contains(s.modes, dsn.AccessToken),
		intent:      intentOf(&cfg, func(name string) string { return s.env[name] }, s.modes == nil),
	}
}

// otherMeant tells, in the words of SECURITY.md and without the driver's code, whether a
// setting says that another identity was meant than the token's.
func (s situation) otherMeant() bool {
	t := s.token
	isApp := func(id string) bool { return t.opaque || (t.app && id == cameApp) }
	isPerson := func(name string) bool { return t.opaque || slices.Contains(t.names, name) }
	people := len(s.modes) > 0 && !slices.ContainsFunc(s.modes, func(m dsn.Mode) bool { return m != dsn.DeviceCode && m != dsn.InteractiveBrowser })
	named := false // by the DSN
	chosen := false
	if id := s.cfg.ClientID; id != "" && !people {
		named, chosen = true, t.app && id == cameApp
		if !isApp(id) {
			return true
		}
	}
	if id := s.cfg.ObjectID; id != "" {
		named = true
		if !t.opaque && id != cameObject {
			return true
		}
	}
	if id := s.cfg.ResourceID; id != "" {
		named = true
		if !t.opaque && !strings.EqualFold(id, t.claims.ManagedIdentity) {
			return true
		}
	}
	if name := s.cfg.LoginHint; name != "" {
		named = true
		if !isPerson(name) {
			return true
		}
	}
	clientID := cmp.Or(s.env["AZURE_POSTGRESQL_CLIENTID"], s.env["AZURE_CLIENT_ID"], s.env["AZURESUBSCRIPTION_CLIENT_ID"])
	if !named && s.env["AZURE_USERNAME"] != "" && s.env["AZURE_CLIENT_SECRET"] == "" {
		if !isPerson(s.env["AZURE_USERNAME"]) {
			return true
		}
	} else if !named && clientID != "" {
		chosen = t.app && clientID == cameApp
		ownName := s.givenUser && !t.guest && slices.Contains(t.names, strings.TrimSuffix(s.role, "@srv"))
		if !isApp(clientID) && !ownName {
			return true
		}
	}
	if tenant := cmp.Or(s.cfg.TenantID, s.env["AZURE_TENANT_ID"]); tenant == otherID && !t.opaque {
		return true
	}
	if s.env["AZURE_FEDERATED_TOKEN_FILE"] == "" || slices.Equal(s.modes, []dsn.Mode{dsn.WorkloadIdentity}) {
		return false
	}
	mayBeWorkload := s.modes == nil || s.modes[0] == dsn.Default || slices.Contains(s.modes, dsn.WorkloadIdentity)
	return !mayBeWorkload || !chosen
}

// otherName reports whether the user is a person's name that is not the token's.
func (s situation) otherName() bool {
	if s.token.opaque || !strings.Contains(s.role, "@") {
		return false
	}
	if s.token.app {
		return s.role != s.token.own
	}
	names := slices.Clone(s.token.names)
	if s.token.guest && len(names) > 0 {
		names = append(names, "me_home.com#EXT#@t.onmicrosoft.com")
	}
	return len(names) > 0 && !slices.Contains(names, s.role)
}

// situations are all that can be made of these parts.
func situations(yield func(situation) bool) {
	modes := [][]dsn.Mode{
		nil, {dsn.Default}, {dsn.WorkloadIdentity}, {dsn.ManagedIdentity}, {dsn.ClientSecret}, {dsn.AzureCLI},
		{dsn.DeviceCode}, {dsn.AccessToken}, {dsn.WorkloadIdentity, dsn.AzureCLI},
	}
	settings := []dsn.Config{
		{}, {ClientID: cameApp}, {ClientID: otherID}, {ObjectID: cameObject}, {ObjectID: otherID}, {ResourceID: strings.ToUpper(nodeMI)}, {ResourceID: nodeMI + "-2"},
		{LoginHint: "me@contoso.com"}, {LoginHint: "boss@contoso.com"}, {TenantID: otherID},
	}
	envs := []map[string]string{
		nil,
		{"AZURE_CLIENT_ID": cameApp}, {"AZURE_CLIENT_ID": otherID}, {"AZURE_CLIENT_ID": "a secret in the wrong place"},
		{"AZURE_FEDERATED_TOKEN_FILE": "f"}, {"AZURE_FEDERATED_TOKEN_FILE": "f", "AZURE_CLIENT_ID": cameApp}, {"AZURE_FEDERATED_TOKEN_FILE": "f", "AZURE_CLIENT_ID": otherID},
		{"AZURE_POSTGRESQL_CLIENTID": otherID, "AZURE_CLIENT_ID": cameApp}, {"AZURE_POSTGRESQL_CLIENTID": cameApp, "AZURE_CLIENT_ID": otherID},
		{"AZURESUBSCRIPTION_CLIENT_ID": otherID}, {"AZURE_TENANT_ID": otherID},
		{"AZURE_USERNAME": "boss@contoso.com", "AZURE_PASSWORD": "p"}, {"AZURE_USERNAME": "me@contoso.com", "AZURE_PASSWORD": "p", "AZURE_CLIENT_ID": otherID},
	}
	roles := []string{"billing-mi", "Readers", "me@contoso.com", "boss@contoso.com", "me@home.com", "me_home.com#EXT#@t.onmicrosoft.com", "her_home.com#EXT#@t.onmicrosoft.com"}
	n := 0
	for _, mode := range modes {
		for _, cfg := range settings {
			for _, env := range envs {
				for _, came := range cameTokens {
					for _, role := range append(roles, came.own) {
						if strings.Contains(role, "home.com") && !came.guest && !came.app {
							continue // it is another person's, as boss@contoso.com is
						}
						n++
						s := situation{mode, cfg, env, came, role, true, []string{"flexible", "flexible", "single"}[n%3]}
						if role != "" && !yield(s) {
							return
						}
						s.givenUser = false // the name is from the token
						if role != "" && role == came.own && !yield(s) {
							return
						}
					}
				}
			}
		}
	}
}

// What a hint prints of its own gives no role to anybody: that is in facts alone.
func TestNoRuleGivesARole(t *testing.T) {
	for _, r := range hint.Rules() {
		hint := strings.NewReplacer("{principal_kind}", "", "{principal_flags}", "").Replace(r.Hint)
		if m := givesRole.FindString(hint); m != "" {
			t.Errorf("the hint of %q has %q in it: %s", r.Text, m, hint)
		}
	}
}

// A hint gives no role to an identity that was not meant, whatever rule it is of: the facts
// that rules print hold no SQL then. It never takes a role from its principal. SQL by the
// token's own ID is for the role of the token's own name.
func TestHintsGiveNoRoleAway(t *testing.T) {
	missing := `password authentication failed for user "x"`
	exists := []string{
		"Service Principal oid mismatch for role[x]",
		`Service principal oid mismatch for role "The oid in the security label [a] does not match the appid [b] or oid [c] in the token."`,
		"Azure AD access token not valid for role x (does not contain group ID y)",
		`Microsoft Entra user token for role "x" is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.`,
		"Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[x]",
		`role "x" is not permitted to log in`,
	}
	known := hint.FactNames()
	var n, withSQL, withheld int
	i := 0
	for s := range situations {
		i++
		if raceDetector && i%23 != 0 {
			continue // all of them are tried without it
		}
		x := s.errContext()
		facts := x.facts(missing, nil)
		other := s.otherMeant()
		if got := facts["meant_by"] != ""; got != other {
			t.Fatalf("%+v: meant_by = %q, want %t", s, facts["meant_by"], other)
		}
		if other && (facts["came_identity"] == "" || facts["meant_identity"] == "") {
			t.Fatalf("%+v: facts = %q, want the identities", s, facts)
		}
		if other && facts["role_sql"] != "" {
			t.Fatalf("%+v: role_sql = %q, want none: a GRANT would be for another identity's role", s, facts["role_sql"])
		}
		ownID := strings.Contains(facts["create_sql"], cameObject) || strings.Contains(facts["create_sql"], cameApp)
		ownName := s.role == s.token.own || (s.token.guest && strings.Contains(s.role, "@"))
		for name, value := range facts {
			if !slices.Contains(known, name) {
				t.Fatalf("fact %q is not one of hint.FactNames()", name)
			}
			if reassigns.MatchString(value) {
				t.Fatalf("%+v: %s = %q, want no SQL that reassigns a role", s, name, value)
			}
			if (other || s.otherName()) && (givesRole.MatchString(value) || name == "principal_flags") {
				t.Fatalf("%+v: %s = %q, want none: another identity was meant", s, name, value)
			}
		}
		if ownID && !ownName {
			t.Fatalf("%+v: create_sql = %q, want none by the token's own ID", s, facts["create_sql"])
		}
		if other {
			withheld++
		} else if facts["create_sql"] != "" {
			withSQL++
		}
		n++
		if n%3 > 0 {
			continue // the words of each text are tried in a third of the situations
		}
		text := exists[n/3%len(exists)]
		for name, value := range x.facts(text, nil) {
			if givesRole.MatchString(value) {
				t.Fatalf("%+v: %s = %q at %q, want none: the role exists", s, name, value, text)
			}
		}
	}
	if withSQL == 0 || withheld == 0 {
		t.Errorf("situations with SQL = %d, without = %d, want both", withSQL, withheld)
	}
}

// Where a setting says that another identity was meant, the hint names the identity that
// came, the one that was meant and what chooses it.
func TestHintsNameTheIdentityThatWasMeant(t *testing.T) {
	mi := cameTokens[1]
	sp := cameTokens[4]
	person := cameTokens[5]
	live := cameTokens[6]
	live.claims.UPN = ""
	live.claims.UniqueName = "live.com#me@home.com"
	inTenant := cameTokens[6]
	inTenant.claims.UPN = "me_home.com#EXT#@t.onmicrosoft.com"
	const (
		missing  = `password authentication failed for user "billing-mi"`
		mismatch = "Service Principal oid mismatch for role[billing-mi]"
	)
	fed := map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "f"}
	fedOther := map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "f", "AZURE_CLIENT_ID": otherID}
	other := map[string]string{"AZURE_CLIENT_ID": otherID}
	system := []dsn.Mode{dsn.ManagedIdentity}
	for _, tt := range []struct {
		name string
		situation
		message string
		want    []string // in the hint
		reject  string
	}{
		{name: "managed-identity does not read AZURE_CLIENT_ID", situation: situation{modes: system, env: other, token: mi, role: "billing-mi"}, message: mismatch,
			want: []string{`application "` + cameApp + `" ("node-mi")`, `AZURE_CLIENT_ID names application "` + otherID + `"`, "set aad_client_id=" + otherID}},
		{name: "AZURE_CLIENT_ID, role missing", situation: situation{modes: system, env: other, token: mi, role: "Readers"}, message: missing, want: []string{"set aad_client_id=" + otherID}},
		{name: "AZURE_CLIENT_ID, own role missing", situation: situation{modes: system, env: other, token: mi, role: "node-mi"}, message: missing, want: []string{"set aad_client_id=" + otherID}},
		{name: "AZURE_CLIENT_ID that is no ID", situation: situation{modes: system, env: map[string]string{"AZURE_CLIENT_ID": "hunter2"}, token: mi, role: "billing-mi"}, message: mismatch,
			want: []string{"AZURE_CLIENT_ID names another application", "set aad_client_id,"}, reject: "hunter2"},
		{name: "pod", situation: situation{modes: system, env: fed, token: mi, role: "billing-mi"}, message: missing, want: []string{"AZURE_FEDERATED_TOKEN_FILE names a workload identity", "set aad_auth=workload-identity"}},
		{name: "pod with its client ID", situation: situation{modes: system, env: fedOther, token: mi, role: "billing-mi"}, message: mismatch, want: []string{`application "` + otherID + `"`, "set aad_auth=workload-identity"}},
		{name: "pod, default without a client ID", situation: situation{modes: []dsn.Mode{dsn.Default}, env: fed, token: mi, role: "billing-mi"}, message: missing, want: []string{"set aad_auth=workload-identity"}},
		{name: "a person came", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, env: other, token: person, role: "billing-mi"}, message: missing,
			want: []string{`person "me@contoso.com"`, "set aad_auth=managed-identity aad_client_id=" + otherID}},
		{name: "own credential", situation: situation{env: other, token: sp, role: "billing-mi"}, message: missing, want: []string{`give WithCredential a credential of application "` + otherID + `"`}},
		{name: "given token", situation: situation{modes: []dsn.Mode{dsn.AccessToken}, env: other, token: sp, role: "billing-mi"}, message: missing, want: []string{`pass a token of application "` + otherID + `"`}},
		{name: "DSN's ID, and another mode answered", situation: situation{modes: []dsn.Mode{dsn.ManagedIdentity, dsn.AzureCLI}, cfg: dsn.Config{ClientID: otherID}, token: person, role: "billing-mi"}, message: missing,
			want: []string{"aad_client_id names application", "correct aad_client_id, or set aad_auth to the one mode"}},
		{name: "another person signed in in the browser", situation: situation{modes: []dsn.Mode{dsn.InteractiveBrowser}, cfg: dsn.Config{LoginHint: "boss@contoso.com"}, token: person, role: "boss@contoso.com"}, message: missing, want: []string{"aad_login_hint names another person"}},
		{name: "another tenant", situation: situation{modes: system, cfg: dsn.Config{TenantID: otherID}, token: mi, role: "node-mi"}, message: missing, want: []string{`aad_tenant_id names tenant "` + otherID + `"`}},
		{name: "GRANT to the role of another identity", situation: situation{modes: system, env: other, token: mi, role: "node-mi"}, message: "permission denied for database app", want: []string{"set aad_client_id=" + otherID}, reject: "GRANT"},
		{name: "role without LOGIN of another identity", situation: situation{modes: system, env: other, token: mi, role: "node-mi"}, message: `role "node-mi" is not permitted to log in`, want: []string{"set aad_client_id=" + otherID}, reject: "ALTER"},
		{name: "guest by the name in the tenant, with that in the token", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: inTenant, role: "me@home.com"}, message: missing, want: []string{"create_principal_with_oid('me@home.com', '" + cameObject + "', 'user', false, false)"}},
		{name: "no setting, another name", situation: situation{modes: system, token: mi, role: "billing-mi"}, message: missing, want: []string{`check that role "billing-mi" exists`, "Or set user=node-mi", "pgaadauth_create_principal('billing-mi', false"}, reject: "create_principal_with_oid"},
		{name: "no setting, own name", situation: situation{modes: system, token: mi, role: "node-mi"}, message: missing, want: []string{"create_principal_with_oid('node-mi', '" + cameObject + "', 'service'"}},
		{name: "slot's own name", situation: situation{modes: system, token: cameTokens[2], role: "shop/slots/staging"}, message: missing, want: []string{"create_principal_with_oid('shop/slots/staging', '" + cameObject + "', 'service'"}},
		{name: "role of another object ID", situation: situation{modes: system, token: mi, role: "billing-mi"}, message: mismatch, want: []string{"created for another object ID", "set user=node-mi"}},
		{name: "another person's name", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: person, role: "boss@contoso.com"}, message: missing, want: []string{"another person's name", "set user=me@contoso.com"}, reject: "pgaadauth"},
		{name: "guest", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[6], role: "me@home.com"}, message: missing, want: []string{"create_principal_with_oid('me@home.com', '" + cameObject + "', 'user', false, false)"}},
		{name: "guest with a Microsoft account", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: live, role: "me@home.com"}, message: missing, want: []string{"create_principal_with_oid('me@home.com', '" + cameObject + "', 'user', false, false)"}},
		{name: "guest without a name", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[7], role: "me@home.com"}, message: missing, want: []string{"create_principal_with_oid('me@home.com', '" + cameObject + "', 'user', false, false)"}},
		{name: "guest by the name in the tenant", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[6], role: "me_home.com#EXT#@t.onmicrosoft.com"}, message: missing, want: []string{"_with_oid('me_home.com#EXT#@t.onmicrosoft.com', '" + cameObject + "', 'user'"}},
		{name: "guest with another guest's name", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[6], role: "her@home.com"}, message: missing, want: []string{"another person's name"}, reject: "pgaadauth"},
		{name: "guest in a group", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[6], role: "Readers"}, message: missing, want: []string{"pgaadauth_create_principal('Readers', false, false)"}, reject: cameObject + "', 'user'"},
		{name: "application's token for an application's role", situation: situation{modes: system, token: mi, role: "node-mi"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[node-mi]",
			want: []string{"check the security label", "the token is an application's"}, reject: "a person's"},
		{name: "person's token for an application's role", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: person, role: "app"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[app]",
			want: []string{"the token is a person's", "set user=me@contoso.com"}},
		{name: "person's token for an application's role of the person's name", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: person, role: "me@contoso.com"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[me@contoso.com]",
			want: []string{"the token is a person's"}, reject: "set user=me@contoso.com"},
		{name: "guest's token for an application's role", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[7], role: "app"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[app]",
			want: []string{"the token is a person's"}},
		{name: "opaque token of an application's mode", situation: situation{modes: system, token: cameTokens[0], role: "app"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[app]",
			want: []string{"the token is an application's"}},
		{name: "opaque token", situation: situation{modes: []dsn.Mode{dsn.AzureCLI}, token: cameTokens[0], role: "app"}, message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[app]",
			want: []string{`role "app" is an application's`}, reject: "the token is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.givenUser = true
			var e *Error
			if err := tt.errContext().explain(&pgconn.PgError{Code: "28P01", Message: tt.message}); !errors.As(err, &e) {
				t.Fatalf("explain() = %v, want an *Error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(e.Hint, want) {
					t.Errorf("hint = %q, want %q in it", e.Hint, want)
				}
			}
			if tt.reject != "" && strings.Contains(e.Hint, tt.reject) {
				t.Errorf("hint = %q, want no %q in it", e.Hint, tt.reject)
			}
			if tt.otherMeant() && givesRole.MatchString(e.Hint) {
				t.Errorf("hint = %q, want no SQL", e.Hint)
			}
		})
	}
}

// While a token is requested it is the modes that say whether it will be an application's.
func TestModesSayWhoseTokenItWillBe(t *testing.T) {
	for _, tt := range []struct {
		name      string
		modes     []dsn.Mode
		app, user bool
	}{
		{"own credential", nil, false, false},
		{"default", []dsn.Mode{dsn.Default}, false, false},
		{"environment", []dsn.Mode{dsn.Environment}, false, false},
		{"client-secret", []dsn.Mode{dsn.ClientSecret}, true, false},
		{"managed-identity, workload-identity", []dsn.Mode{dsn.ManagedIdentity, dsn.WorkloadIdentity}, true, false},
		{"managed-identity, azure-cli", []dsn.Mode{dsn.ManagedIdentity, dsn.AzureCLI}, false, false},
		{"azure-cli", []dsn.Mode{dsn.AzureCLI}, false, false}, // an application can be signed in to it
		{"device-code", []dsn.Mode{dsn.DeviceCode}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts := errContext{intent: intent{modes: tt.modes}}.facts("", nil)
			if got := facts["app_token"] != ""; got != tt.app {
				t.Errorf("app_token = %t, want %t", got, tt.app)
			}
			if got := facts["user_token"] != ""; got != tt.user {
				t.Errorf("user_token = %t, want %t", got, tt.user)
			}
		})
	}
}

// The doctor warns of a variable that names an identity and is not read.
func TestDiagnoseWarnsOfVariables(t *testing.T) {
	s := newFakeServer(t, nil)
	for _, tt := range []struct {
		name, params string
		env          []string
		opts         []Option
		want         string // in the hint; "" for no warning
	}{
		{name: "managed-identity", params: "aad_auth=managed-identity", env: []string{"AZURE_CLIENT_ID", otherID}, want: "set aad_client_id"},
		{name: "managed-identity in a list", params: "aad_auth=environment,managed-identity", env: []string{"AZURE_CLIENT_ID", otherID}, want: "set aad_client_id"},
		{name: "managed-identity with an ID", params: "aad_auth=managed-identity aad_client_id=" + cameApp, env: []string{"AZURE_CLIENT_ID", otherID}},
		{name: "managed-identity with an object ID", params: "aad_auth=managed-identity aad_object_id=" + cameObject, env: []string{"AZURE_CLIENT_ID", otherID}},
		{name: "managed-identity without the variable", params: "aad_auth=managed-identity"},
		{name: "managed-identity in a pod", params: "aad_auth=managed-identity", env: []string{"AZURE_FEDERATED_TOKEN_FILE", "f", "AZURE_CLIENT_ID", otherID}, want: "set aad_auth=workload-identity"},
		{name: "managed-identity with an ID in a pod", params: "aad_auth=managed-identity aad_client_id=" + cameApp, env: []string{"AZURE_FEDERATED_TOKEN_FILE", "f"}, want: "set aad_auth=workload-identity"},
		{name: "azure-cli", params: "aad_auth=azure-cli", env: []string{"AZURE_CLIENT_ID", otherID}, want: "mode azure-cli signs in as another identity"},
		{name: "device-code", params: "aad_auth=device-code aad_client_id=" + cameApp, env: []string{"AZURE_CLIENT_ID", otherID}, want: "mode device-code"},
		{name: "workload-identity", params: "aad_auth=workload-identity,azure-cli", env: []string{"AZURE_CLIENT_ID", otherID}},
		{name: "default", env: []string{"AZURE_CLIENT_ID", otherID}},
		{name: "client-secret", params: "aad_auth=client-secret aad_tenant_id=t aad_client_secret=s", env: []string{"AZURE_CLIENT_ID", otherID}},
		{name: "own credential", env: []string{"AZURE_CLIENT_ID", otherID}, opts: []Option{WithCredential(credentialWith(map[string]any{"oid": "o"}))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			for i := 0; i < len(tt.env); i += 2 {
				t.Setenv(tt.env[i], tt.env[i+1])
			}
			for c := range Diagnose(t.Context(), s.trustedDSN(tt.params), tt.opts...) {
				if c.Name != "credential" {
					continue
				}
				if c.Err != nil {
					t.Fatalf("the check of the credential = %v", c.Err)
				}
				want := StatusOK
				if tt.want != "" {
					want = StatusWarn
				}
				if c.Status != want {
					t.Errorf("status = %q, want %q", c.Status, want)
				}
				if !strings.Contains(c.Hint, tt.want) || (c.Hint == "") != (tt.want == "") {
					t.Errorf("hint = %q, want %q in it", c.Hint, tt.want)
				}
				return
			}
			t.Error("the doctor has no check of the credential")
		})
	}
}

// The modes that read AZURE_CLIENT_ID are azidentity's and those that require an ID.
func TestModesThatReadTheClientID(t *testing.T) {
	var got []string
	for _, m := range dsn.Modes() {
		if readsClientID(m.Name) {
			got = append(got, string(m.Name))
		}
	}
	want := []string{"default", "environment", "workload-identity", "client-secret", "client-certificate", "azure-pipelines"}
	if !slices.Equal(got, want) {
		t.Errorf("modes that read AZURE_CLIENT_ID = %q, want %q", got, want)
	}
}
