package azure

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// secretsOf are what no report may have in it.
type secretsOf []string

// emulated starts an emulator and returns it with settings, as a run on Azure has them, and
// with what the report may not name.
func emulated(t *testing.T, opts ...emulator.Option) (*emulator.Azure, Settings, secretsOf) {
	t.Helper()
	// azidentity has one cache of managed identities' tokens for the whole process.
	adminName := "db-admins-" + rand.Text()[:6]
	members := emulator.Identity{Name: "Prod DB Readonly", Kind: emulator.Group}
	opts = append([]emulator.Option{
		emulator.WithAdmin(emulator.Identity{Name: adminName}),
		emulator.WithIdentity(members),
		emulator.WithIdentity(emulator.Identity{Name: "app"}),
		emulator.WithIdentity(emulator.Identity{Name: "billing", Kind: emulator.ServicePrincipal, Secret: "the secret of billing"}),
	}, opts...)
	az := emulator.Start(t, opts...)
	az.Setenv(t)
	admin, app, billing := az.Identity(adminName), az.Identity("app"), az.Identity("billing")
	person := az.Add(emulator.Identity{Name: "Kim.Lee@contoso.example", Kind: emulator.User, Groups: []string{az.Identity(members.Name).ObjectID}})
	if err := az.Grant(t.Context(), person); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "person.jwt")
	personToken := az.Token(person, nil)
	if err := os.WriteFile(file, []byte(personToken), 0o600); err != nil {
		t.Fatal(err)
	}
	file = strings.ReplaceAll(file, `\`, `\\`)
	s := Settings{
		Target: "emulator",
		DSN:    az.DSN(),
		Identities: map[Identity]string{
			Admin:            "user=" + adminName + " aad_auth=managed-identity aad_client_id=" + admin.ClientID,
			Person:           "user=Kim.Lee@contoso.example aad_auth=access-token aad_token_file='" + file + "'",
			Group:            "user='Prod DB Readonly' aad_auth=access-token aad_token_file='" + file + "'",
			ManagedIdentity:  "user=app aad_auth=managed-identity aad_client_id=" + app.ClientID,
			ServicePrincipal: "user=billing aad_disable_instance_discovery=true aad_auth=client-secret aad_client_secret='the secret of billing' aad_tenant_id=" + emulator.TenantID + " aad_client_id=" + billing.ClientID + " aad_authority_host=" + az.Authority(),
		},
		Failover: func(ctx context.Context) error { return endSessions(ctx, az) },
		Options:  []driver.Option{driver.WithTransport(az.Client())},
	}
	secrets := secretsOf{"127.0.0.1", "eyJ", emulator.TenantID, "the secret of billing", "db-admins", "Kim.Lee", "contoso", "Prod DB", "billing", personToken}
	for _, id := range []emulator.Identity{admin, app, billing, person, az.Identity(members.Name)} {
		secrets = append(secrets, id.ClientID, id.ObjectID)
		if id.ResourceID != "" {
			secrets = append(secrets, id.ResourceID)
		}
	}
	return az, s, secrets
}

// endSessions ends all sessions, as a failover does.
func endSessions(ctx context.Context, az *emulator.Azure) error {
	conn, err := pgx.Connect(ctx, az.PostgresDSN())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND usename <> current_user")
	return err
}

// check fails the test if a report has a secret in it.
func (secrets secretsOf) check(t *testing.T, text string) {
	t.Helper()
	text = strings.ToLower(text)
	for _, secret := range secrets {
		if strings.Contains(text, strings.ToLower(secret)) {
			t.Errorf("the report has %q in it, want a placeholder", secret)
		}
	}
}

// contradictedByEmulator are the claims that the emulator contradicts, in order: it has not
// those functions.
var contradictedByEmulator = []string{"role-functions", "server-authentication-timeout", "server-authentication-types"}

// The claims are tried on the emulator as on Azure. It does as claimed, but for what is
// listed.
func TestEmulator(t *testing.T) {
	_, s, secrets := emulated(t)
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	text := report.Markdown()
	t.Log("\n" + text)
	secrets.check(t, text)
	if got := report.IDs(Contradicted); !slices.Equal(got, contradictedByEmulator) {
		t.Errorf("contradicted = %q, want %q", got, contradictedByEmulator)
	}
	want := []string{"cloud-usgov", "cloud-china", "cloud-usnat", "cloud-ussec", "sign-in-pgbouncer", "tls-system-roots", "token-outlived", "refused-expired"}
	if got := report.IDs(NotTried); !slices.Equal(got, want) {
		t.Errorf("not tried = %q, want %q", got, want)
	}
	if !strings.Contains(text, "Target: **emulator**") || strings.Contains(text, "confirmed.txt") {
		t.Error("the report does not say that it is the emulator's, or has lines for confirmed.txt")
	}
}

// The claims that wait for a token to expire.
func TestEmulatorWait(t *testing.T) {
	az, s, secrets := emulated(t)
	az.Faults.TokenLife(3 * time.Second)
	s.Wait = 20 * time.Second
	s.Only = regexp.MustCompile("^(token-outlived|refused-expired)$")
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := report.IDs(Confirmed), []string{"token-outlived", "refused-expired"}; !slices.Equal(got, want) {
		t.Errorf("confirmed = %q, want %q", got, want)
		t.Log("\n" + report.Markdown())
	}
	secrets.check(t, report.Markdown())
}

func connectSuperuser(t *testing.T, az *emulator.Azure) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
