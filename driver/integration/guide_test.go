package integration

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// The recipes of Azure's troubleshooting guide, on both kinds of server: a user,
// a group and a managed identity sign in as it says, and each wrong turn that it
// warns of is refused in Azure's words.
func TestTroubleshootingGuide(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(map[bool]string{false: "flexible", true: "single"}[single], func(t *testing.T) {
			var opts []emulator.Option
			kind := ""
			if single {
				opts, kind = append(opts, emulator.WithSingleServer()), " aad_server_type=single"
			}
			a, host := emulator.Start(t, opts...), "emulator.postgres.database.azure.com"
			add := func(id emulator.Identity) emulator.Identity {
				id = a.Add(id)
				if err := a.Grant(context.Background(), id); err != nil {
					t.Fatal(err)
				}
				return id
			}
			user := add(emulator.Identity{Name: "user1@yourtenant.onmicrosoft.com", Kind: emulator.User})
			group := add(emulator.Identity{Name: "Prod DB Readonly", Kind: emulator.Group})
			member := a.Add(emulator.Identity{Name: "member@yourtenant.onmicrosoft.com", Kind: emulator.User, Groups: []string{group.ObjectID}})
			app := add(emulator.Identity{Name: "myapp"})
			old := a.Token(user, func(c map[string]any) {
				c["iat"], c["exp"] = time.Now().Add(-16*time.Minute).Unix(), time.Now().Add(44*time.Minute).Unix() // Entra dates back by five
			})
			a.SetenvOn(t, emulator.VirtualMachine, app)
			// The system-assigned identity's token is asked for with a slash more: azidentity
			// keeps it for the whole process, and other tests want to see it fetched.
			const mi, manual = "aad_auth=managed-identity ", "aad_auth=access-token "
			for _, tt := range []struct {
				name, dsn string
				token     string // in the password's place
				want      string // of the error; none: it signs in
				only      string // on that kind of server
			}{
				{name: "user", dsn: manual, token: a.Token(user, nil)},
				{name: "user, named", dsn: manual + "user=user1@yourtenant.onmicrosoft.com", token: a.Token(user, nil)},
				{name: "user, with the suffix written", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator", token: a.Token(user, nil), only: "single"},
				{name: "group, with a member's token", dsn: manual + "user='Prod DB Readonly'", token: a.Token(member, nil)},
				{name: "managed identity", dsn: mi + "aad_client_id=" + app.ClientID},
				{name: "managed identity, named", dsn: mi + "user=myapp aad_client_id=" + app.ClientID},

				{name: "no role", dsn: manual + "require_auth=password,scram-sha-256", token: a.Token(member, nil), want: `password authentication failed for user "member@yourtenant.onmicrosoft.com"`},
				{name: "no role, seen by how the server asks", dsn: manual, token: a.Token(member, nil), want: "server requested scram-sha-256 authentication; check that role"},
				{name: "no suffix", dsn: manual + "aad_server_type=flexible", token: a.Token(user, nil), want: "The Username should be in <username@hostname> format", only: "single"},
				{name: "double suffix", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator@emulator require_auth=password,scram-sha-256", token: a.Token(user, nil), want: "password authentication failed", only: "single"},
				{name: "a suffix where there is none", dsn: manual + "user=user1@yourtenant.onmicrosoft.com@emulator require_auth=password,scram-sha-256", token: a.Token(user, nil), want: "password authentication failed", only: "flexible"},
				{name: "other capitals", dsn: manual + "user=User1@yourtenant.onmicrosoft.com require_auth=password,scram-sha-256", token: a.Token(user, nil), want: "password authentication failed"},
				{name: "system-assigned where user-assigned is needed", dsn: mi + "user=myapp aad_scope=https://ossrdbms-aad.database.windows.net//.default", want: "Service Principal oid mismatch for role[myapp]"},
				{name: "another resource", dsn: mi + "aad_scope=https://vault.azure.net/.default aad_client_id=" + app.ClientID, want: `The access token does not have a valid audience claim. Please acquire a new token for the resource "https://ossrdbms-aad.database.windows.net`},
				{name: "older than ten minutes", dsn: manual + "aad_token_max_age=0", token: old, want: "The access token has expired. Please acquire a new token and retry.", only: "single"},
				{name: "older than ten minutes, seen here", dsn: manual, token: old, want: "the access token is 11m", only: "single"},
				{name: "group that the user is not in", dsn: manual + "user='Prod DB Readonly'", token: a.Token(user, nil), want: "Azure AD access token not valid for role Prod DB Readonly (does not contain group ID " + group.ObjectID + ")"},
				{name: "a password", dsn: manual + "user=myapp", token: "secret", want: "The access token has invalid format"},
				{name: "another person", dsn: manual + "user=user1@yourtenant.onmicrosoft.com", token: a.Token(member, nil), want: "oid mismatch"},
			} {
				if tt.only != "" && (tt.only == "single") != single {
					continue
				}
				t.Run(tt.name, func(t *testing.T) {
					t.Setenv("PGPASSWORD", tt.token)
					params := tt.dsn
					if !strings.Contains(params, "aad_server_type") {
						params += kind
					}
					db, err := connect(t, dsnWithHost(a, host, params), resolveToEmulator, driver.WithTransport(a.Client()))
					switch {
					case tt.want == "" && err != nil:
						t.Error(err)
					case tt.want == "":
						sessionUser(t, db)
					case err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "eyJ"):
						t.Errorf("got  %v\nwant %s", err, tt.want)
					}
				})
			}
		})
	}
}

// What a role is called reaches the server as it was written.
func TestOddNames(t *testing.T) {
	for _, name := range []string{
		"Mixed Case", "me_home.com#EXT#@contoso.onmicrosoft.com", `O"Brien's`, `back\slash`, "Zoë Müller", "команда", "名前", "a=b&c?d", "100% sure", "x;drop role y",
	} {
		name += rand.Text()[:4] // tests may run more than once
		id := az.Add(emulator.Identity{Name: name, Secret: "s"})
		if err := az.Grant(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PGPASSWORD", az.Token(id, nil))
		quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
		for _, given := range []string{"user=" + quoted, "" /* from the token */} {
			db, err := connect(t, az.DSN("aad_auth=access-token", given))
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			if who := sessionUser(t, db); who != name {
				t.Errorf("signed in as %q, want %q", who, name)
			}
			startups := az.Startups()
			if sent := startups[len(startups)-1]["user"]; sent != name {
				t.Errorf("sent %q, want %q", sent, name)
			}
		}
	}
}

// An application's token does not tell a role: the error names who it is.
func TestNoUser(t *testing.T) {
	id := az.Add(emulator.Identity{Name: "nameless", Kind: emulator.ServicePrincipal, Secret: "s"})
	_, err := connect(t, az.DSN(fill("aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret=s", id)), driver.WithTransport(az.Client()))
	if want := `set user to the name of the PostgreSQL role that was made for this identity; the token is of appid "` + id.ClientID + `", oid "` + id.ObjectID + `"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
