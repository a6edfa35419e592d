package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// toEmulator leads every name to the emulator's gateway.
var resolveToEmulator = driver.WithConnConfig(func(c *pgx.ConnConfig) {
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
})

// at is the emulator's DSN with a host of that name in place of the address.
func dsnWithHost(a *emulator.Azure, host, params string) string {
	return strings.Replace(a.DSN(params), "host=127.0.0.1", "host="+host, 1)
}

func connect(t *testing.T, dsn string, opts ...driver.Option) (*sql.DB, error) {
	t.Helper()
	c, err := driver.NewConnector(dsn, opts...)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db, db.Ping()
}

// What reaches the wire, cloud by cloud, when nothing is said but the host. The
// names are written out here: they are facts, not this program's choice.
func TestClouds(t *testing.T) {
	id := newApplication(t, "clouds")
	secret := fill("user='{name}' aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'", id)
	tested := map[string]bool{}
	for _, tt := range []struct{ cloud, host, authority, scope, params string }{
		{"public", "emulator.postgres.database.azure.com", "login.microsoftonline.com", "https://ossrdbms-aad.database.windows.net/.default", ""},
		{"usgov", "emulator.postgres.database.usgovcloudapi.net", "login.microsoftonline.us", "https://ossrdbms-aad.database.usgovcloudapi.net/.default", ""},
		{"china", "emulator.postgres.database.chinacloudapi.cn", "login.chinacloudapi.cn", "https://ossrdbms-aad.database.chinacloudapi.cn/.default", ""},
		{"usnat", "emulator.postgres.database.cloudapi.eaglex.ic.gov", "login.microsoftonline.eaglex.ic.gov", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", ""},
		{"ussec", "emulator.postgres.database.cloudapi.microsoft.scloud", "login.microsoftonline.microsoft.scloud", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default", ""},
		{"public", "emulator.postgres.cosmos.azure.com", "login.microsoftonline.com", "https://token.postgres.cosmos.azure.com/.default", ""},
		{"public", "127.0.0.1", "login.microsoftonline.com", "https://ossrdbms-aad.database.windows.net/.default", " aad_cloud=public"},
		{"public", "127.0.0.1", "login.windows.net", "https://ossrdbms-aad.database.windows.net//.default", " aad_authority_host=https://login.windows.net aad_scope=https://ossrdbms-aad.database.windows.net//.default"},
	} {
		tested[tt.cloud] = true
		seen := len(az.Requests())
		db, err := connect(t, dsnWithHost(az, tt.host, secret+tt.params), driver.WithTransport(&testTransport{client: *az.Client()}), resolveToEmulator)
		if err != nil {
			t.Errorf("%s: %v", tt.host, err)
			continue
		}
		if who := sessionUser(t, db); who != id.Name {
			t.Errorf("%s: signed in as %q", tt.host, who)
		}
		r := az.Requests()[seen:]
		if len(r) != 1 || r[0].Host != tt.authority || !strings.HasPrefix(r[0].Form.Get("scope"), tt.scope+" ") {
			t.Errorf("%s: asked %+v, want %s for %s", tt.host, r, tt.authority, tt.scope)
		}
	}
	for _, c := range dsn.Clouds() {
		if !tested[c.Name] {
			t.Errorf("cloud %s is not tested: give it a row above", c.Name)
		}
	}
}

// The emulated Entra of a cloud knows that cloud's resource only, as Azure's does.
func TestAuthorityOfAnotherCloud(t *testing.T) {
	id := newApplication(t, "wrong cloud")
	secret := fill("user='{name}' aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'", id)
	_, err := connect(t, dsnWithHost(az, "emulator.postgres.database.usgovcloudapi.net", secret+" aad_authority_host=https://login.microsoftonline.com"), driver.WithTransport(az.Client()), resolveToEmulator)
	if err == nil || !strings.Contains(err.Error(), "AADSTS500011") || !strings.Contains(err.Error(), "check aad_scope and aad_cloud") {
		t.Errorf("got %v", err)
	}
}

// tokenOf is a credential that has one token.
type staticCredential string

func (s staticCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(s), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A token that is for one cloud's servers is not shown to another's: no startup
// message arrives there, however the token was come by.
func TestTokensStayInTheirCloud(t *testing.T) {
	id := newApplication(t, "stays")
	const gov = "https://ossrdbms-aad.database.usgovcloudapi.net"
	token := az.Token(id, func(c map[string]any) { c["aud"] = gov })
	before := len(az.Startups())
	for _, tt := range []struct {
		dsn, want string
		opts      []driver.Option
	}{
		{dsnWithHost(az, "emulator.postgres.database.azure.com", "user=x aad_auth=access-token password="+token), "the token is for servers of cloud usgov", nil},
		{dsnWithHost(az, "emulator.postgres.database.azure.com", "user=x"), "the token is for servers of cloud usgov", []driver.Option{driver.WithCredential(staticCredential(token))}},
		{dsnWithHost(az, "emulator.postgres.database.azure.com", "user=x aad_auth=azure-cli aad_scope="+gov+"/.default"), "aad_scope is of cloud usgov", nil},
		{dsnWithHost(az, "emulator.postgres.database.azure.com", "user=x aad_auth=azure-cli aad_cloud=usgov"), "contradicts the host", nil},
		{dsnWithHost(az, "emulator.postgres.database.azure.com,emulator.postgres.database.usgovcloudapi.net", "user=x aad_auth=azure-cli"), "name hosts of one cloud only", nil},
		{dsnWithHost(az, "127.0.0.1,emulator.postgres.database.usgovcloudapi.net", "user=x aad_auth=azure-cli aad_cloud=public"), "contradicts the host", nil},
	} {
		_, err := connect(t, tt.dsn, append(tt.opts, resolveToEmulator)...)
		var e *driver.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	for _, s := range az.Startups()[before:] {
		t.Errorf("a startup message arrived: %v", s)
	}
}

// newApplication adds an identity with a secret, keys and a role.
func newApplication(t *testing.T, name string) emulator.Identity {
	t.Helper()
	id := modeTest{}.identity(t)
	if id.Secret == "" {
		t.Fatal(fmt.Sprint("no secret for ", name))
	}
	return id
}
