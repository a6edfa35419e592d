package driver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/DATA-DOG/go-sqlmock"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/dsn"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A driver by name, with go-sqlmock in pgx's place: what reaches it is ready to
// sign in, but nobody is asked for a token.
func TestWithOpen(t *testing.T) {
	entratest.CleanEnv(t)
	mocked, mock, err := sqlmock.NewWithDSN("inner")
	if err != nil {
		t.Fatal(err)
	}
	defer mocked.Close()
	mock.ExpectQuery("select 1").WillReturnRows(sqlmock.NewRows([]string{"n"}).AddRow(1))
	cred := &entratest.Credential{}
	name := "with open " + rand.Text()
	Register(name, WithCredential(cred), WithOpenFunc(func(_ context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
		if config.Host != "h" || config.User != "u" || config.Password != "" || config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify {
			t.Errorf("would connect to %q as %q with password %q, TLS %v", config.Host, config.User, config.Password, config.TLSConfig)
		}
		return mocked.Driver().Open("inner")
	}))
	db, err := sql.Open(name, "host=h user=u")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("select 1").Scan(&n); err != nil || n != 1 {
		t.Errorf("n = %d, %v", n, err)
	}
	if err := mock.ExpectationsWereMet(); err != nil {
		t.Error(err)
	}
	if cred.Calls.Load() != 0 {
		t.Error("a token was asked for")
	}
	if _, err := sql.Open(name, "host=h user=u sslmode=disable"); err == nil {
		t.Error("the policy is not checked")
	}
}

// What is opened with is the opener's own: the connector does not change with it.
func TestWithOpenGetsACopy(t *testing.T) {
	entratest.CleanEnv(t)
	c, err := NewConnector("host=h user=u", WithOpenFunc(func(_ context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
		config.RuntimeParams["search_path"] = "changed"
		return nil, errors.New("no")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect(t.Context()); err == nil {
		t.Error("it connects")
	}
	if v := c.Config().RuntimeParams["search_path"]; v != "" {
		t.Errorf("search_path is %q", v)
	}
}

// Options given to Register hold for whoever opens by that name, also for wrappers
// that come by the driver through the empty DSN.
func TestRegister(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	cred := &entratest.Credential{}
	name := "with credential " + rand.Text()
	Register(name, WithCredential(cred))
	empty, err := sql.Open(name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	c, err := empty.Driver().(driver.DriverContext).OpenConnector(s.dsn("sslrootcert=" + s.certFile))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Driver().Open(s.dsn("sslrootcert=" + s.certFile))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if cred.Calls.Load() != 1 {
		t.Errorf("the credential was asked %d times", cred.Calls.Load())
	}
	defer func() {
		if recover() == nil {
			t.Error("a name can be taken twice")
		}
	}()
	Register(Name)
}

func TestRegistered(t *testing.T) {
	db, err := sql.Open("aadpostgres", "host=h user=u aad_auth=access-token password=x")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, ok := db.Driver().(*Driver); !ok {
		t.Errorf("the driver is a %T: wrappers would lose the token", db.Driver())
	}
}

// Wrappers open the empty DSN to get at the driver, and in any environment.
func TestEmptyDSN(t *testing.T) {
	for _, env := range [][2]string{{"A", "b"}, {"PGSSLMODE", "disable"}, {"PGHOST", "/tmp"}, {"PGSERVICE", "none"}, {"AZURE_TOKEN_CREDENTIALS", "nonsense"}} {
		entratest.CleanEnv(t)
		t.Setenv(env[0], env[1])
		db, err := sql.Open("aadpostgres", "")
		if err != nil {
			t.Errorf("%s: %v", env, err)
			continue
		}
		var e *Error
		if err := db.Ping(); !errors.As(err, &e) {
			t.Errorf("%s: Ping: %v", env, err)
		}
		db.Close()
	}
}

func TestOpenErrors(t *testing.T) {
	entratest.CleanEnv(t)
	const secret = "aad_auth=client-secret aad_client_id=c aad_client_secret=" + entratest.Marker
	for _, tt := range []struct{ dsn, want string }{
		{"host=h aad_tennant_id=t", `aadpostgres: dsn: key "aad_tennant_id" is not known; did you mean aad_tenant_id?`},
		{"host=h AAD_AUTH=default", "in lower case"},
		{"host=h aad_scope=a aad_scope=b", "is given twice"},
		{"mysql://u:" + entratest.Marker + "@h/d", "use postgres://"},
		{"postgres://me@contoso.com@h/d", "me%40contoso.com@host"},
		{"host=h " + secret, "aad_auth=client-secret needs aad_tenant_id"},
		{"host=h " + secret + " aad_tenant_id=not/one", "aadpostgres: credential: invalid tenantID"},
		{"host=h password=" + entratest.Marker, "remove the password, or set aad_auth=password"},
		{"host=h sslrootcert=/none " + secret + " aad_tenant_id=t", "unable to read CA file"},
		{"host=h port=x " + secret + " aad_tenant_id=t", "invalid port"},
		{"host=h aad_auth=workload-identity", "aadpostgres: credential: no client ID specified"},
		{"host=h aad_auth=workload-identity", "assign a workload identity to the pod, or set aad_client_id"},
		{"host=h aad_auth=environment", "; set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH"},
		{"host=h aad_auth=azure-pipelines aad_tenant_id=t aad_client_id=c aad_service_connection_id=s", "SYSTEM_ACCESSTOKEN is not set; pass it to the pipeline's step"},
		{"host=h aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=/none", "aad_client_certificate: open /none: no such file or directory; name a regular file"},
		{"host=h aad_auth=client-certificate,azure-cli aad_tenant_id=t aad_client_id=c aad_client_certificate=/none", "aad_client_certificate: open /none: no such file or directory"},
		{"host=h aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=driver.go aad_client_certificate_password=" + entratest.Marker, "use a PEM file with the certificate and its unencrypted key, or PKCS#12"},
		{"host=a.postgres.database.usgovcloudapi.net aad_scope=https://ossrdbms-aad.database.windows.net/.default", "aad_scope is of cloud public, but the server is in cloud usgov; remove aad_scope"},
		{"host=h aad_cloud=china aad_scope=https://token.postgres.cosmos.azure.com/.default", "aad_scope is of cloud public, but the server is in cloud china"},
		{"host=c.postgres.cosmos.azure.com aad_cloud=usgov", "aad_cloud is usgov, but the host is in cloud public"},
		{"host=h aad_cloud=usgov aad_server_type=cosmos", "the scope of Azure Cosmos DB in cloud usgov is not known; set aad_scope"},
		{"host=a.postgres.database.azure.com aad_cloud=usgov", "aad_cloud is usgov, but the host is in cloud public"},
		{"host=h user=u sslmode=disable", "remove sslmode=disable"},
	} {
		db, err := sql.Open("aadpostgres", tt.dsn)
		if err == nil {
			db.Close()
			t.Errorf("%q opens", tt.dsn)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "aadpostgres: ") || !strings.Contains(err.Error(), tt.want) ||
			strings.Contains(err.Error(), entratest.Marker) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", tt.dsn, err, tt.want)
		}
	}
}

// What pgx keeps must hold none of our keys, and no secret.
func TestPgxSeesNoKeyOfOurs(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[app]\nhost=h\nuser=u\naad_auth=client-secret\naad_tenant_id=t\naad_client_id=c\naad_client_secret="+entratest.Marker+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", file)
	t.Setenv("PGPASSWORD", entratest.Marker)
	for _, s := range []string{"service=app", "aadpostgres://u@h/d?aad_auth=client-secret&aad_tenant_id=t&aad_client_id=c&sslpassword=" + entratest.Marker + "&aad_client_secret=" + entratest.Marker} {
		c, err := NewConnector(s)
		if err != nil {
			t.Fatal(err)
		}
		config := c.Config()
		if config.Host != "h" || config.User != "u" || len(config.RuntimeParams) != 0 {
			t.Errorf("%s: pgx has host %q, user %q, parameters %v", c, config.Host, config.User, config.RuntimeParams)
		}
		for _, text := range []string{config.ConnString(), config.Password, fmt.Sprintf("%v %+v %#v %s", c, c, c, c)} {
			if strings.Contains(text, entratest.Marker) {
				t.Errorf("%s: holds the secret: %s", c, text)
			}
		}
	}
}

// A connector whose error waits for Connect masks its DSN as others do.
func TestDeferredConnectorIsMasked(t *testing.T) {
	entratest.CleanEnv(t)
	c, err := NewConnector("aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(s, entratest.Marker) || !strings.Contains(s, "aad_client_secret=xxxxx") {
		t.Errorf("it prints as %s", s)
	}
	if _, err := c.Connect(t.Context()); !errors.Is(err, errNoHost) {
		t.Errorf("Connect: %v", err)
	}
}

func TestErrorsPrintNoDeeper(t *testing.T) {
	e := &Error{Step: StepToken, Err: fmt.Errorf("first\n%s", entratest.Marker), Hint: "do"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "err", e)
	js, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if e.Error() != "aadpostgres: token: first; do" || strings.Contains(log.String()+string(js), entratest.Marker) {
		t.Errorf("%s %s %s", e, &log, js)
	}
}

// aad_auth=password is pgx as it is: no token, no raised TLS.
func TestPasswordMode(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
	if err := ping(t, s.dsn("aad_auth=password sslmode=disable password=mine")); err != nil {
		t.Fatal(err)
	}
	if heard, _ := s.got(); !strings.Contains(heard, "mine") {
		t.Errorf("the server heard %q", heard)
	}
}

func TestAccessToken(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newFakeServer(t, nil)
	at := func(params string) error {
		return ping(t, s.dsn("aad_auth=access-token sslrootcert="+s.certFile+" "+params))
	}
	for _, token := range []string{"first-" + entratest.Marker, "second-" + entratest.Marker} { // read again when it changes
		write(token)
		if err := at("aad_token_file=" + file); err != nil {
			t.Fatal(err)
		}
		if heard, _ := s.got(); !strings.Contains(heard, token+"\x00") {
			t.Errorf("the server did not hear %q", token)
		}
	}
	if err := at("password=third"); err != nil {
		t.Error(err)
	}
	if heard, _ := s.got(); !strings.Contains(heard, "third\x00") {
		t.Error("the token in the password's place did not arrive")
	}
	write(entratest.JWT(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}))
	for params, want := range map[string]string{
		"aad_token_file=" + file:               "the given access token expired at",
		"aad_token_file=" + filepath.Dir(file): "is not a regular file",
		"aad_token_file=" + file + ".none":     "set aad_token_file to a regular file",
		"":                                     "no access token is given",
		"aad_token_max_age=1m password=" + /* Entra backdates by 5 minutes */ entratest.JWT(map[string]any{"iat": time.Now().Add(-time.Hour).Unix()}): "the given access token is 55m",
	} {
		if err := at(params); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), entratest.Marker) {
			t.Errorf("%s: %v, want %q", params, err, want)
		}
	}
}

func TestUserName(t *testing.T) {
	const mi = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/my-app"
	for _, tt := range []struct {
		name, serverType, host string
		claims                 map[string]any
		want, fails            string
	}{
		{name: "u", want: "u", claims: map[string]any{"upn": "other"}},
		{want: "my-app", claims: map[string]any{"xms_mirid": mi, "upn": "other"}},
		{want: "site", claims: map[string]any{"xms_mirid": "/subscriptions/s/resourcegroups/g/providers/Microsoft.Web/sites/site"}},
		{want: "me@contoso.com", claims: map[string]any{"upn": "me@contoso.com", "unique_name": "x"}},
		{want: "me@contoso.com", claims: map[string]any{"preferred_username": "me@contoso.com"}},
		{want: "me@contoso.com", claims: map[string]any{"unique_name": "me@contoso.com"}},
		{want: "me@contoso.com", claims: map[string]any{"upn": "me@contoso.com", "iss": "https://sts.windows.net/t/", "idp": "https://sts.windows.net/t/"}},
		{fails: `created for this guest, as in me_home.com#EXT#@`, claims: map[string]any{"upn": "me@home.com", "oid": "o", "iss": "https://sts.windows.net/t/", "idp": "live.com"}},
		{want: "my-app", claims: map[string]any{"xms_mirid": mi, "iss": "https://sts.windows.net/t/", "idp": "x"}},
		{fails: `appid "a", oid "o"`, claims: map[string]any{"appid": "a", "oid": "o"}},
		{fails: `appid "a", oid ""`, claims: map[string]any{"azp": "a"}},
		{name: "Müller's Team", serverType: "single", host: "srv.postgres.database.azure.com", want: "Müller's Team@srv"},
		{name: "me@contoso.com", serverType: "single", host: "srv.postgres.database.azure.com", want: "me@contoso.com@srv"},
		{name: "me@srv", serverType: "single", host: "srv.postgres.database.azure.com", want: "me@srv"},
		{name: "me@srv", serverType: "flexible", host: "srv.postgres.database.azure.com", want: "me@srv"},
		{name: "me@srv", serverType: "single", host: "127.0.0.1", want: "me@srv"},
	} {
		got, err := user{tt.name, tt.serverType}.roleFor(&token.Token{Claims: token.ParseClaims(entratest.JWT(tt.claims))}, tt.host)
		if tt.fails == "" && (err != nil || got != tt.want) || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
	for _, opaque := range []string{"", "x", "a.b.c", "a.!.c", "a." + "bnVsbA" + ".c"} {
		if c := token.ParseClaims(opaque); tokenUser(c) != "" {
			t.Errorf("%q has claims %+v", opaque, c)
		}
	}
}

func TestClouds(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		dsn, authority, scope string
		discovery             bool
	}{
		{"host=db.example.com", "https://login.microsoftonline.com/", "https://ossrdbms-aad.database.windows.net/.default", true},
		{"host=a.POSTGRES.database.azure.com", "https://login.microsoftonline.com/", "https://ossrdbms-aad.database.windows.net/.default", true},
		{"host=a.private.postgres.database.usgovcloudapi.net", "https://login.microsoftonline.us/", "https://ossrdbms-aad.database.usgovcloudapi.net/.default", true},
		{"host=a.postgres.database.chinacloudapi.cn.", "https://login.chinacloudapi.cn/", "https://ossrdbms-aad.database.chinacloudapi.cn/.default", true},
		{"aad_cloud=usnat", "https://login.microsoftonline.eaglex.ic.gov/", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", false},
		{"host=a.postgres.database.cloudapi.microsoft.scloud", "https://login.microsoftonline.microsoft.scloud/", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default", false},
		{"host=127.0.0.1,a.postgres.database.usgovcloudapi.net", "https://login.microsoftonline.us/", "https://ossrdbms-aad.database.usgovcloudapi.net/.default", true},
		{"host=pool,c.x.postgres.cosmos.azure.com", "https://login.microsoftonline.com/", "https://token.postgres.cosmos.azure.com/.default", true},
		{"host=c.x.postgres.cosmos.azure.com", "https://login.microsoftonline.com/", "https://token.postgres.cosmos.azure.com/.default", true},
		{"aad_scope=https://r//.default aad_authority_host=https://login.example aad_disable_instance_discovery=true", "https://login.example", "https://r//.default", false},
	} {
		cfg, err := dsn.Parse(tt.dsn)
		if err != nil {
			t.Fatal(err)
		}
		got, err := credential.ResolveCloud(cfg)
		if err != nil || got.Authority != tt.authority || got.Scope != tt.scope || got.InstanceDiscovery != tt.discovery {
			t.Errorf("%s: %+v, %v", tt.dsn, got, err)
		}
	}
}

// A nil credential must not silently become another identity; a connector without
// host still has a config to copy.
func TestNilCredentialAndNoHost(t *testing.T) {
	entratest.CleanEnv(t)
	var e *Error
	var failed *azidentity.ClientSecretCredential // as its constructor returns it with an error
	for _, cred := range []azcore.TokenCredential{nil, failed} {
		if _, err := NewConnector("host=h user=u", WithCredential(cred)); !errors.As(err, &e) || e.Step != StepCredential {
			t.Errorf("got %v", err)
		}
	}
	var client *http.Client
	if _, err := NewConnector("host=h user=u", WithConnConfig(nil), WithTransport(client), WithLogger(nil), WithDeviceCodePrompt(nil), WithTLSConfig(nil), nil); err != nil {
		t.Errorf("NewConnector() with nil options = %v, want none", err)
	}
	if o := newOptions([]Option{WithTransport(client)}); o.transport != nil {
		t.Errorf("WithTransport(nil client) sets %v, want nil", o.transport)
	}
	c, err := NewConnector("user=u", WithCredential(&entratest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	if config := c.Config(); config == nil || c.BeforeConnect(t.Context(), config) == nil {
		t.Error("no config, or no error")
	}
}

// Without a token no hint speaks of Entra.
func TestPasswordModeGetsNoHints(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
	for _, params := range []string{"aad_auth=password sslmode=verify-full", "aad_auth=password sslmode=disable require_auth=scram-sha-256"} {
		var e *Error
		if err := ping(t, s.dsn(params)); !errors.As(err, &e) || e.Hint != "" {
			t.Errorf("%s: %v", params, err)
		}
	}
}
