package driver

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// sql.Open reports what is wrong with a DSN, or with the credential that it names, in one
// line without a secret.
func TestOpenErrors(t *testing.T) {
	entratest.CleanEnv(t)
	const (
		secret      = "aad_auth=client-secret aad_client_id=c aad_client_secret=" + entratest.Marker
		certificate = "aad_tenant_id=t aad_client_id=c aad_client_certificate="
	)
	_, err := os.Open("/none")
	noFile := strings.TrimSuffix(err.Error(), ".") // in this system's words
	for _, tt := range []struct{ name, dsn, want string }{
		{"unknown key", "host=h aad_tennant_id=t", `aadpostgres: dsn: key "aad_tennant_id" is not known; did you mean aad_tenant_id?`},
		{"key in upper case", "host=h AAD_AUTH=default", "in lower case"},
		{"key given twice", "host=h aad_scope=a aad_scope=b", "is given twice"},
		{"another scheme", "mysql://u:" + entratest.Marker + "@h/d", "use postgres://"},
		{"@ in the user", "postgres://me@contoso.com@h/d", "me%40contoso.com@host"},
		{"no tenant", "host=h " + secret, "aad_auth=client-secret needs aad_tenant_id"},
		{"invalid tenant", "host=h " + secret + " aad_tenant_id=not/one", "aadpostgres: credential: invalid tenantID"},
		{"password without its mode", "host=h password=" + entratest.Marker, "remove the password, or set aad_auth=password"},
		{"no root file", "host=h sslrootcert=/none " + secret + " aad_tenant_id=t", "unable to read CA file"},
		{"invalid port", "host=h port=x " + secret + " aad_tenant_id=t", "invalid port"},
		{"workload identity not set up", "host=h aad_auth=workload-identity", "aadpostgres: credential: no client ID specified"},
		{"workload identity not set up, hint", "host=h aad_auth=workload-identity", "assign a workload identity to the pod, or set aad_client_id"},
		{"environment not set up", "host=h aad_auth=environment", "; set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH"},
		{"pipeline not set up", "host=h aad_auth=azure-pipelines aad_tenant_id=t aad_client_id=c aad_service_connection_id=s", "SYSTEM_ACCESSTOKEN is not set; pass it to the pipeline's step"},
		{"no certificate file", "host=h aad_auth=client-certificate " + certificate + "/none", "aad_client_certificate: " + noFile + "; name a regular file"},
		{"no certificate file, in a chain", "host=h aad_auth=client-certificate,azure-cli " + certificate + "/none", "aad_client_certificate: " + noFile},
		{"not a certificate", "host=h aad_auth=client-certificate " + certificate + "driver.go aad_client_certificate_password=" + entratest.Marker, "use a PEM file with the certificate and its unencrypted key, or PKCS#12"},
		{"scope of another cloud than the host's", "host=a.postgres.database.usgovcloudapi.net aad_scope=https://ossrdbms-aad.database.windows.net/.default", "aad_scope is of cloud public, but the server is in cloud usgov; remove aad_scope"},
		{"scope of another cloud than aad_cloud", "host=h aad_cloud=china aad_scope=https://token.postgres.cosmos.azure.com/.default", "aad_scope is of cloud public, but the server is in cloud china"},
		{"Cosmos DB host of another cloud", "host=c.postgres.cosmos.azure.com aad_cloud=usgov", "aad_cloud is usgov, but the host is in cloud public"},
		{"Cosmos DB in a cloud without it", "host=h aad_cloud=usgov aad_server_type=cosmos", "the scope of Azure Cosmos DB in cloud usgov is not known; set aad_scope"},
		{"host of another cloud", "host=a.postgres.database.azure.com aad_cloud=usgov", "aad_cloud is usgov, but the host is in cloud public"},
		{"no TLS", "host=h user=u sslmode=disable", "remove sslmode=disable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, err := sql.Open("aadpostgres", tt.dsn)
			if err == nil {
				db.Close()
				t.Fatalf("Open() succeeded, want %q", tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("Open() = %v, want an *Error", err)
			}
			line := err.Error()
			if !strings.Contains(line, tt.want) {
				t.Errorf("Open() = %s, want %q in it", line, tt.want)
			}
			if want := "aadpostgres: "; !strings.HasPrefix(line, want) {
				t.Errorf("Open() = %s, want it to begin with %q", line, want)
			}
			checkNoSecret(t, "Open()", line)
			if strings.Contains(line, "\n") {
				t.Errorf("Open() = %q, want one line", line)
			}
		})
	}
}

// The token's authority and scope are those of the cloud of the first host that names one,
// unless the DSN sets them.
func TestClouds(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name, dsn, authority, scope string
		discovery                   bool
	}{
		{"host of no cloud", "host=db.example.com", "https://login.microsoftonline.com/", publicAudience + "/.default", true},
		{"upper case", "host=a.POSTGRES.database.azure.com", "https://login.microsoftonline.com/", publicAudience + "/.default", true},
		{"private endpoint", "host=a.private.postgres.database.usgovcloudapi.net", "https://login.microsoftonline.us/", usgovAudience + "/.default", true},
		{"trailing dot", "host=a.postgres.database.chinacloudapi.cn.", "https://login.chinacloudapi.cn/", chinaAudience + "/.default", true},
		{"aad_cloud", "aad_cloud=usnat", "https://login.microsoftonline.eaglex.ic.gov/", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", false},
		{"scope with two slashes", "host=a.postgres.database.cloudapi.microsoft.scloud", "https://login.microsoftonline.microsoft.scloud/", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default", false},
		{"second host", "host=127.0.0.1,a.postgres.database.usgovcloudapi.net", "https://login.microsoftonline.us/", usgovAudience + "/.default", true},
		{"Cosmos DB", "host=c.x.postgres.cosmos.azure.com", "https://login.microsoftonline.com/", cosmosAudience + "/.default", true},
		{"Cosmos DB, second host", "host=pool,c.x.postgres.cosmos.azure.com", "https://login.microsoftonline.com/", cosmosAudience + "/.default", true},
		{"set by the DSN", "aad_scope=https://r//.default aad_authority_host=https://login.example aad_disable_instance_discovery=true", "https://login.example", "https://r//.default", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := dsn.Parse(tt.dsn)
			if err != nil {
				t.Fatal(err)
			}
			got, err := credential.ResolveCloud(cfg)
			if err != nil {
				t.Fatalf("ResolveCloud() = %v, want no error", err)
			}
			if got.Authority != tt.authority {
				t.Errorf("authority = %q, want %q", got.Authority, tt.authority)
			}
			if got.Scope != tt.scope {
				t.Errorf("scope = %q, want %q", got.Scope, tt.scope)
			}
			if got.InstanceDiscovery != tt.discovery {
				t.Errorf("instance discovery = %t, want %t", got.InstanceDiscovery, tt.discovery)
			}
		})
	}
}

// What contradicts the cloud of a host is an error before anything is connected to. An
// authority is not checked where the DSN names it, or where the program has its own
// credential, which does not use it.
func TestOtherCloudsAreRefusedWhenOpened(t *testing.T) {
	const (
		host   = "host=a.postgres.database.azure.com user=u "
		secret = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	)
	own := []Option{WithCredential(&entratest.Credential{})}
	for _, tt := range []struct {
		name, dsn string
		opts      []Option
		want      string // at the beginning of the error; "": there is none
	}{
		{name: "authority by the environment", dsn: host + secret,
			want: "aadpostgres: dsn: AZURE_AUTHORITY_HOST is of cloud usgov, but the server is in cloud public; unset AZURE_AUTHORITY_HOST"},
		{name: "authority by the DSN", dsn: host + "aad_authority_host=https://login.microsoftonline.us " + secret},
		{name: "own credential", dsn: host, opts: own},
		{name: "hosts of two clouds", dsn: "host=a.postgres.database.azure.com,b.postgres.database.usgovcloudapi.net user=u", opts: own,
			want: `aadpostgres: dsn: host "b.postgres.database.usgovcloudapi.net" is in cloud usgov, but the token is for cloud public`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
			c, err := NewConnector(tt.dsn, tt.opts...)
			if err == nil {
				c.Close()
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("NewConnector() = %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("NewConnector() = %v, want it to begin with %q", err, tt.want)
			}
			checkNoSecret(t, "NewConnector()", err.Error())
		})
	}
}
