package integration

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestTroubleshootingGuide follows Azure's troubleshooting guide on both server types. A
// user, a group and a managed identity sign in as it says. Each mistake that it describes
// is refused with Azure's message.
func TestTroubleshootingGuide(t *testing.T) {
	t.Run("flexible", func(t *testing.T) { testGuide(t, "flexible", "", emulator.Start(t)) })
	t.Run("single", func(t *testing.T) {
		testGuide(t, "single", " aad_server_type=single", emulator.Start(t, emulator.WithSingleServer()))
	})
}

func testGuide(t *testing.T, serverType, serverTypeParam string, az *emulator.Azure) {
	const host = "emulator.postgres.database.azure.com"
	add := func(id emulator.Identity) emulator.Identity {
		id = az.Add(id)
		if err := az.Grant(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	user := add(emulator.Identity{Name: "user1@yourtenant.onmicrosoft.com", Kind: emulator.User})
	group := add(emulator.Identity{Name: "Prod DB Readonly", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "member@yourtenant.onmicrosoft.com", Kind: emulator.User, Groups: []string{group.ObjectID}})
	app := add(emulator.Identity{Name: "myapp"})
	old := az.Token(user, func(claims map[string]any) { // eleven minutes old, for Entra sets iat five minutes back
		claims["iat"] = time.Now().Add(-16 * time.Minute).Unix()
		claims["exp"] = time.Now().Add(44 * time.Minute).Unix()
	})
	az.SetenvOn(t, emulator.VirtualMachine, app)
	const managed, manual = "aad_auth=managed-identity ", "aad_auth=access-token "
	for _, tt := range []struct {
		name, dsn string
		token     string // in place of the password
		want      string // in the error; "": the sign-in succeeds
		only      string // on that server type; "": on both
	}{
		{name: "user", dsn: manual, token: az.Token(user, nil)},
		{name: "user, named", dsn: manual + "user=user1@yourtenant.onmicrosoft.com", token: az.Token(user, nil)},
		{name: "user, named with the server name", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator", token: az.Token(user, nil), only: "single"},
		{name: "group, with a member's token", dsn: manual + "user='Prod DB Readonly'", token: az.Token(member, nil)},
		{name: "managed identity", dsn: managed + "aad_client_id=" + app.ClientID},
		{name: "managed identity, named", dsn: managed + "user=myapp aad_client_id=" + app.ClientID},

		{name: "role missing, password authentication failed", dsn: manual + "require_auth=password,scram-sha-256", token: az.Token(member, nil), want: `password authentication failed for user "member@yourtenant.onmicrosoft.com"`},
		{name: "role missing", dsn: manual, token: az.Token(member, nil), want: "server requested scram-sha-256 authentication; check that role"},
		{name: "server name missing", dsn: manual + "aad_server_type=flexible", token: az.Token(user, nil), want: "The Username should be in <username@hostname> format", only: "single"},
		{name: "server name twice", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator@emulator require_auth=password,scram-sha-256", token: az.Token(user, nil), want: "password authentication failed", only: "single"},
		{name: "server name on a flexible server", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator require_auth=password,scram-sha-256", token: az.Token(user, nil), want: "password authentication failed", only: "flexible"},
		{name: "role name in another case", dsn: manual + "user=User1@yourtenant.onmicrosoft.com require_auth=password,scram-sha-256", token: az.Token(user, nil), want: "password authentication failed"},
		// azidentity caches the token of the system-assigned identity for the whole process. The second
		// slash keeps it apart from the one whose request other tests count.
		{name: "system-assigned identity for a user-assigned one's role", dsn: managed + "user=myapp aad_scope=https://ossrdbms-aad.database.windows.net//.default", want: "Service Principal oid mismatch for role[myapp]"},
		{name: "another resource", dsn: managed + "aad_scope=https://vault.azure.net/.default aad_client_id=" + app.ClientID, want: `The access token does not have a valid audience claim. Please acquire a new token for the resource "https://ossrdbms-aad.database.windows.net`},
		{name: "older than ten minutes", dsn: manual + "aad_token_max_age=0", token: old, want: "The access token has expired. Please acquire a new token and retry.", only: "single"},
		{name: "older than ten minutes, found locally", dsn: manual, token: old, want: "the given access token is 11m", only: "single"},
		{name: "user not in the group", dsn: manual + "user='Prod DB Readonly'", token: az.Token(user, nil), want: "Azure AD access token not valid for role Prod DB Readonly (does not contain group ID " + group.ObjectID + ")"},
		{name: "password in place of a token", dsn: manual + "user=myapp", token: "secret", want: "The access token has invalid format"},
		{name: "another user", dsn: manual + "user=user1@yourtenant.onmicrosoft.com", token: az.Token(member, nil), want: "oid mismatch"},
	} {
		if tt.only != "" && tt.only != serverType {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PGPASSWORD", tt.token)
			params := tt.dsn
			if !strings.Contains(params, "aad_server_type") {
				params += serverTypeParam
			}
			db, err := connect(t, dsnWithHost(az, host, params), resolveToEmulator, driver.WithTransport(az.Client()))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				sessionUser(t, db)
				return
			}
			checkError(t, err, tt.want)
		})
	}
}

// TestUnusualRoleNames checks that the server receives a role's name unchanged.
func TestUnusualRoleNames(t *testing.T) {
	for _, name := range []string{
		"Mixed Case", "me_home.com#EXT#@contoso.onmicrosoft.com", `O"Brien's`, `back\slash`, "Zoë Müller", "команда", "名前", "a=b&c?d", "100% sure", "x;drop role y",
	} {
		t.Run(name, func(t *testing.T) {
			name += rand.Text()[:4] // unique, also with -count
			id := az.Add(emulator.Identity{Name: name, Secret: "s"})
			if err := az.Grant(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PGPASSWORD", az.Token(id, nil))
			quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
			for _, user := range []string{"user=" + quoted, "" /* from the token */} {
				db, err := connect(t, az.DSN("aad_auth=access-token", user))
				if err != nil {
					t.Errorf("connect(%s) = %v", user, err)
					continue
				}
				if got := sessionUser(t, db); got != name {
					t.Errorf("session_user = %q, want %q", got, name)
				}
				startups := az.Startups()
				if got := startups[len(startups)-1]["user"]; got != name {
					t.Errorf("user in the startup packet = %q, want %q", got, name)
				}
			}
		})
	}
}

// TestNoUser checks that the error names the identity: an application's token does not
// name a role.
func TestNoUser(t *testing.T) {
	id := az.Add(emulator.Identity{Name: "nameless", Kind: emulator.ServicePrincipal, Secret: "s"})
	_, err := connect(t, az.DSN(fill("aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret=s", id)), driver.WithTransport(az.Client()))
	checkError(t, err, `the token does not tell its name: it is of appid "`+id.ClientID+`", oid "`+id.ObjectID+`"; set user to the name of the PostgreSQL role that was created for this identity`)
}
