package integration

import (
	"context"
	"database/sql"
	"errors"
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

// resolveToEmulator resolves every host name to the emulator's address.
var resolveToEmulator = driver.WithConnConfig(func(c *pgx.ConnConfig) {
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
})

// dsnWithHost returns the emulator's DSN with host in place of its address.
func dsnWithHost(az *emulator.Azure, host, params string) string {
	return strings.Replace(az.DSN(params), "host=127.0.0.1", "host="+host, 1)
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

// checkError checks that an error contains want, is one line and has no token in it.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("error = nil, want %q", want)
		return
	}
	text := err.Error()
	if !strings.Contains(text, want) {
		t.Errorf("got:  %s\nwant: %s", text, want)
	}
	if strings.ContainsAny(text, "\r\n") {
		t.Errorf("error = %q, want one line", text)
	}
	if strings.Contains(text, "eyJ") {
		t.Errorf("error = %s, want none with a token", text)
	}
}

// TestClouds checks which authority and which scope a host selects, in each cloud. The
// names are written out here, because they are facts and not this project's choice.
func TestClouds(t *testing.T) {
	id := newApplication(t)
	params := fill("user='{name}' aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'", id)
	tested := map[string]bool{}
	for _, tt := range []struct{ name, cloud, host, authority, scope, params string }{
		{"public", "public", "emulator.postgres.database.azure.com", "login.microsoftonline.com", "https://ossrdbms-aad.database.windows.net/.default", ""},
		{"usgov", "usgov", "emulator.postgres.database.usgovcloudapi.net", "login.microsoftonline.us", "https://ossrdbms-aad.database.usgovcloudapi.net/.default", ""},
		{"china", "china", "emulator.postgres.database.chinacloudapi.cn", "login.chinacloudapi.cn", "https://ossrdbms-aad.database.chinacloudapi.cn/.default", ""},
		{"usnat", "usnat", "emulator.postgres.database.cloudapi.eaglex.ic.gov", "login.microsoftonline.eaglex.ic.gov", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", ""},
		{"ussec", "ussec", "emulator.postgres.database.cloudapi.microsoft.scloud", "login.microsoftonline.microsoft.scloud", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default", ""},
		{"public, Cosmos DB", "public", "emulator.postgres.cosmos.azure.com", "login.microsoftonline.com", "https://token.postgres.cosmos.azure.com/.default", ""},
		{"public, by aad_cloud", "public", "127.0.0.1", "login.microsoftonline.com", "https://ossrdbms-aad.database.windows.net/.default", " aad_cloud=public"},
		{"public, by authority and scope", "public", "127.0.0.1", "login.windows.net", "https://ossrdbms-aad.database.windows.net//.default", " aad_authority_host=https://login.windows.net aad_scope=https://ossrdbms-aad.database.windows.net//.default"},
	} {
		tested[tt.cloud] = true
		t.Run(tt.name, func(t *testing.T) {
			before := len(az.Requests())
			db, err := connect(t, dsnWithHost(az, tt.host, params+tt.params), driver.WithTransport(&testTransport{client: *az.Client()}), resolveToEmulator)
			if err != nil {
				t.Fatal(err)
			}
			if got := sessionUser(t, db); got != id.Name {
				t.Errorf("session_user = %q, want %q", got, id.Name)
			}
			requests := az.Requests()[before:]
			if len(requests) != 1 {
				t.Fatalf("requests = %+v, want 1", requests)
			}
			if got := requests[0].Host; got != tt.authority {
				t.Errorf("authority = %q, want %q", got, tt.authority)
			}
			if got := requests[0].Form.Get("scope"); !strings.HasPrefix(got, tt.scope+" ") {
				t.Errorf("scope = %q, want %q", got, tt.scope)
			}
		})
	}
	for _, c := range dsn.Clouds() {
		if !tested[c.Name] {
			t.Errorf("cloud %s is not tested; add a row above", c.Name)
		}
	}
}

// TestAuthorityOfAnotherCloud checks the hint if an authority does not know the resource
// of the host's cloud.
func TestAuthorityOfAnotherCloud(t *testing.T) {
	id := newApplication(t)
	params := fill("user='{name}' aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'", id)
	_, err := connect(t, dsnWithHost(az, "emulator.postgres.database.usgovcloudapi.net", params+" aad_authority_host=https://login.microsoftonline.com"), driver.WithTransport(az.Client()), resolveToEmulator)
	checkError(t, err, "AADSTS500011")
	checkError(t, err, "check aad_scope and aad_cloud")
}

// A staticCredential returns one token.
type staticCredential string

func (c staticCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(c), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestTokensStayInTheirCloud checks that no startup packet is sent to a server if the
// token is for another cloud.
func TestTokensStayInTheirCloud(t *testing.T) {
	id := newApplication(t)
	const gov = "https://ossrdbms-aad.database.usgovcloudapi.net"
	token := az.Token(id, func(claims map[string]any) { claims["aud"] = gov })
	for _, tt := range []struct {
		name, host, params, want string
		opts                     []driver.Option
	}{
		{"access token", "emulator.postgres.database.azure.com", "user=x aad_auth=access-token password=" + token, "the token is for cloud usgov", nil},
		{"credential", "emulator.postgres.database.azure.com", "user=x", "the token is for cloud usgov", []driver.Option{driver.WithCredential(staticCredential(token))}},
		{"scope", "emulator.postgres.database.azure.com", "user=x aad_auth=azure-cli aad_scope=" + gov + "/.default", "aad_scope is of cloud usgov", nil},
		{"aad_cloud", "emulator.postgres.database.azure.com", "user=x aad_auth=azure-cli aad_cloud=usgov", "but the host is in cloud", nil},
		{"hosts of two clouds", "emulator.postgres.database.azure.com,emulator.postgres.database.usgovcloudapi.net", "user=x aad_auth=azure-cli", "name hosts of one cloud only", nil},
		{"second host of another cloud than aad_cloud", "127.0.0.1,emulator.postgres.database.usgovcloudapi.net", "user=x aad_auth=azure-cli aad_cloud=public", "but the host is in cloud", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(az.Startups())
			_, err := connect(t, dsnWithHost(az, tt.host, tt.params), append(tt.opts, resolveToEmulator)...)
			var e *driver.Error
			if !errors.As(err, &e) {
				t.Fatalf("connect() = %T %v, want a *driver.Error", err, err)
			}
			checkError(t, err, tt.want)
			if got := az.Startups()[before:]; len(got) > 0 {
				t.Errorf("startup packets = %v, want none", got)
			}
		})
	}
}

// newApplication adds an application with a secret, certificates and a role.
func newApplication(t *testing.T) emulator.Identity {
	t.Helper()
	return modeTest{}.identity(t)
}
