package emulator_test

import (
	"crypto/rand"
	"database/sql"
	"strings"
	"testing"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Whoever has signed in by the DSN.
func sessionUser(t *testing.T, name, dsn string) string {
	t.Helper()
	db, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var who string
	if err := db.QueryRow("select session_user").Scan(&who); err != nil {
		t.Error(err)
	}
	return who
}

// What the shell says that a test is run in does not lead it elsewhere, and on each
// host it is the identity that was asked for.
func TestSetenvOn(t *testing.T) {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}), emulator.WithIdentity(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	for _, kv := range []string{"PGUSER=someone", "PGSSLMODE=disable", "PGHOST=h.invalid", "PGPASSWORD=x", "PGSERVICE=none", "IDENTITY_SERVER_THUMBPRINT=x", "AZURE_CLIENT_ID=x", "MSI_ENDPOINT=http://h.invalid"} {
		name, v, _ := strings.Cut(kv, "=")
		t.Setenv(name, v)
	}
	az.Setenv(t)
	if got := sessionUser(t, "aadpostgres", az.DSN("aad_auth=managed-identity")); got != "app" {
		t.Errorf("signed in as %q", got)
	}
	for _, on := range []struct {
		host emulator.Host
		name string
		auth string
	}{{emulator.AppService, "app", "default"}, {emulator.AppService, "billing", "default"}, {emulator.MachineLearning, "billing", "default"}, {emulator.Workstation, "me@contoso.com", "azure-cli"}} {
		t.Run(string(on.host)+" "+on.name, func(t *testing.T) {
			az.SetenvOn(t, on.host, az.Identity(on.name))
			if got := sessionUser(t, "aadpostgres", az.DSN("aad_auth="+on.auth)); got != on.name {
				t.Errorf("signed in as %q", got)
			}
		})
	}
	az.SetenvOn(t, emulator.Workstation, emulator.Identity{})
	if c, err := driver.NewConnector(az.DSN("user=me@contoso.com aad_auth=azure-cli aad_token_timeout=10s")); err != nil {
		t.Error(err)
	} else if _, err := c.Credentials(t.Context()); err == nil {
		t.Error("somebody is signed in to the tools after the test")
	}
}

func TestNobodyRunsThere(t *testing.T) {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "app", Secret: "renamed"}))
	if az.Identity("app").Secret != "renamed" {
		t.Error("the identity app cannot be given")
	}
	person := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	for _, on := range []struct {
		host emulator.Host
		id   emulator.Identity
		want string
	}{
		{"kubernets", person, `unknown host "kubernets"; choose one of app-service,`},
		{emulator.AppService, person, "run a user on a workstation and an application on kubernetes or pipelines"},
		{emulator.Kubernetes, person, "me@contoso.com is a user and cannot run on kubernetes"},
		{emulator.CloudShell, az.Add(emulator.Identity{Name: "other"}), "has only one identity, app"},
	} {
		if env, err := az.Environ(on.host, on.id); err == nil || !strings.Contains(err.Error(), on.want) {
			t.Errorf("%s: %q, %v", on.host, env, err)
		}
	}
	for _, id := range []emulator.Identity{{Name: "x"}, {Name: "x", Kind: "ServicePrincipal"}, az.Add(emulator.Identity{Name: "x", Kind: "ServicePrincipal"})} {
		if err := az.Grant(t.Context(), id); err == nil || !strings.Contains(err.Error(), "grant what Add has returned") {
			t.Errorf("%+v: %v", id, err)
		}
	}
}

// Tests that share an emulator open by name without a variable of the environment.
func TestByName(t *testing.T) {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}))
	emulated := "emulated " + rand.Text() // tests may run more than once
	driver.Register(emulated, driver.WithTransport(az.Client()))
	for _, tt := range []struct{ name, dsn, want string }{
		{emulated, az.Database(t).DSN("aad_auth=managed-identity"), "app"},
		{emulated, az.Database(t).DSN("aad_auth=managed-identity", "aad_client_id="+az.Identity("billing").ClientID), "billing"},
		{"aadpostgres", az.Database(t).DSN("user=app aad_auth=access-token", "password="+az.Token(az.Identity("app"), nil)), "app"},
	} {
		t.Run(tt.name+" "+tt.want, func(t *testing.T) {
			t.Parallel()
			if got := sessionUser(t, tt.name, tt.dsn); got != tt.want {
				t.Errorf("signed in as %q", got)
			}
		})
	}
}
