package emulator_test

import (
	"crypto/rand"
	"database/sql"
	"strings"
	"testing"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// checkSessionUser checks the role that a database/sql driver signs in as.
func checkSessionUser(t *testing.T, driverName, dsn, want string) {
	t.Helper()
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRow("select session_user").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("session_user = %q, want %q", got, want)
	}
}

// The environment in which tests are run has no effect after SetenvOn, and the program has
// the identity of the host that was requested.
func TestSetenvOn(t *testing.T) {
	az := emulator.Start(t,
		emulator.WithIdentity(emulator.Identity{Name: "billing"}),
		emulator.WithIdentity(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	for _, kv := range []string{"PGUSER=someone", "PGSSLMODE=disable", "PGHOST=h.invalid", "PGPASSWORD=x", "PGSERVICE=none", "IDENTITY_SERVER_THUMBPRINT=x", "AZURE_CLIENT_ID=x", "MSI_ENDPOINT=http://h.invalid"} {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	t.Run("Setenv", func(t *testing.T) {
		az.Setenv(t)
		checkSessionUser(t, "aadpostgres", az.DSN("aad_auth=managed-identity"), "app")
	})
	for _, tt := range []struct {
		host emulator.Host
		id   string
		auth string
	}{
		{emulator.AppService, "app", "default"},
		{emulator.AppService, "billing", "default"},
		{emulator.MachineLearning, "billing", "default"},
		{emulator.Workstation, "me@contoso.com", "azure-cli"},
	} {
		t.Run(string(tt.host)+" "+tt.id, func(t *testing.T) {
			if tt.host == emulator.Workstation {
				need.Program(t, "bash")
			}
			az.SetenvOn(t, tt.host, az.Identity(tt.id))
			checkSessionUser(t, "aadpostgres", az.DSN("aad_auth="+tt.auth), tt.id)
		})
	}
	t.Run("logged out after the test", func(t *testing.T) {
		az.SetenvOn(t, emulator.Workstation, emulator.Identity{})
		c, err := driver.NewConnector(az.DSN("user=me@contoso.com aad_auth=azure-cli aad_token_timeout=10s"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Credentials(t.Context()); err == nil {
			t.Error("Credentials() succeeded, want an error because nobody is logged in")
		}
	})
}

// An option can replace the identity "app".
func TestReplaceApp(t *testing.T) {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "app", Secret: "other"}))
	if got := az.Identity("app").Secret; got != "other" {
		t.Errorf("Secret = %q, want %q", got, "other")
	}
}

func TestEnvironRefused(t *testing.T) {
	az := emulator.Start(t)
	user := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	for _, tt := range []struct {
		name string
		host emulator.Host
		id   emulator.Identity
		want string
	}{
		{"unknown host", "kubernets", user, `unknown host "kubernets"; choose one of app-service,`},
		{"user with managed identities only", emulator.AppService, user, "run a user on a workstation and an application on kubernetes, pipelines or on-premises"},
		{"user in Kubernetes", emulator.Kubernetes, user, "me@contoso.com is a user and cannot run on kubernetes"},
		{"second identity in Cloud Shell", emulator.CloudShell, az.Add(emulator.Identity{Name: "other"}), "has only one identity, app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, err := az.Environ(tt.host, tt.id)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Environ() = %q, %v, want %q in the error", env, err, tt.want)
			}
		})
	}
}

func TestGrantRefused(t *testing.T) {
	az := emulator.Start(t)
	for _, tt := range []struct {
		name string
		id   emulator.Identity
	}{
		{"not added", emulator.Identity{Name: "x"}},
		{"unknown kind", emulator.Identity{Name: "x", Kind: "ServicePrincipal"}},
		{"unknown kind, added", az.Add(emulator.Identity{Name: "x", Kind: "ServicePrincipal"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := az.Grant(t.Context(), tt.id)
			if want := "grant what Add has returned"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Grant() = %v, want %q in it", err, want)
			}
		})
	}
}

// Parallel tests that share an emulator can open a driver by name, without environment
// variables.
func TestRegisteredDriver(t *testing.T) {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}))
	emulated := "emulated " + rand.Text() // unique, because tests may run more than once
	driver.Register(emulated, driver.WithTransport(az.Client()))
	for _, tt := range []struct {
		name, driver string
		params       []string
		want         string
	}{
		{"managed identity", emulated, []string{"aad_auth=managed-identity"}, "app"},
		{"another managed identity", emulated, []string{"aad_auth=managed-identity", "aad_client_id=" + az.Identity("billing").ClientID}, "billing"},
		{"token in the DSN", "aadpostgres", []string{"user=app aad_auth=access-token", "password=" + az.Token(az.Identity("app"), nil)}, "app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkSessionUser(t, tt.driver, az.Database(t).DSN(tt.params...), tt.want)
		})
	}
}
