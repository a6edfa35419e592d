package credential

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// The DSN says what cloud it is for, else the first host whose name tells. Contradictions
// are errors.
func TestResolveCloud(t *testing.T) {
	const (
		public = "https://ossrdbms-aad.database.windows.net/.default"
		usgov  = "https://ossrdbms-aad.database.usgovcloudapi.net/.default"
	)
	rows := []struct {
		name, dsn string
		want      Cloud
		err       string
	}{
		{
			name: "unknown host",
			dsn:  "host=db.example.com",
			want: Cloud{"public", "https://login.microsoftonline.com/", public, "flexible", true},
		},
		{
			name: "host of a cloud",
			dsn:  "host=A.Postgres.Database.USGovCloudAPI.net.",
			want: Cloud{"usgov", "https://login.microsoftonline.us/", usgov, "flexible", true},
		},
		{
			name: "first host that tells",
			dsn:  "host=10.0.0.1,a.postgres.database.usgovcloudapi.net",
			want: Cloud{"usgov", "https://login.microsoftonline.us/", usgov, "flexible", true},
		},
		{
			name: "cloud of the DSN",
			dsn:  "host=db.example.com aad_cloud=usgov",
			want: Cloud{"usgov", "https://login.microsoftonline.us/", usgov, "flexible", true},
		},
		{
			name: "cloud that the public one does not know",
			dsn:  "host=db.example.com aad_cloud=usnat",
			want: Cloud{"usnat", "https://login.microsoftonline.eaglex.ic.gov/", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", "flexible", false},
		},
		{
			name: "no instance discovery",
			dsn:  "host=db.example.com aad_disable_instance_discovery=true",
			want: Cloud{"public", "https://login.microsoftonline.com/", public, "flexible", false},
		},
		{
			name: "authority, scope and server type of the DSN",
			dsn:  "host=db.example.com aad_authority_host=https://login.example/ aad_scope=https://other/.default aad_server_type=single",
			want: Cloud{"public", "https://login.example/", "https://other/.default", "single", true},
		},
		{
			name: "Azure Cosmos DB by its host",
			dsn:  "host=c-x.a.postgres.cosmos.azure.com",
			want: Cloud{"public", "https://login.microsoftonline.com/", dsn.CosmosScope, "cosmos", true},
		},
		{
			name: "Azure Cosmos DB by the DSN",
			dsn:  "host=db.example.com aad_server_type=cosmos",
			want: Cloud{"public", "https://login.microsoftonline.com/", dsn.CosmosScope, "cosmos", true},
		},
		{
			name: "cloud against host",
			dsn:  "host=a.postgres.database.usgovcloudapi.net aad_cloud=china",
			err:  "aad_cloud is china, but the host is in cloud usgov",
		},
		{
			name: "scope against host",
			dsn:  "host=a.postgres.database.usgovcloudapi.net aad_scope=" + public,
			err:  "aad_scope is of cloud public, but the server is in cloud usgov",
		},
		{
			name: "Azure Cosmos DB in another cloud",
			dsn:  "host=db.example.com aad_server_type=cosmos aad_cloud=usgov",
			err:  "the scope of Azure Cosmos DB in cloud usgov is not known",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			cfg, err := dsn.ParseEnv(row.dsn, dsn.OS)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ResolveCloud(cfg)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Errorf("ResolveCloud() = %v, want %q", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != row.want {
				t.Errorf("ResolveCloud() = %+v, want %+v", got, row.want)
			}
		})
	}
}

// The environment's authority is asked only if it is of the server's cloud. The DSN's is
// intended as it stands. Modes that ask no authority accept any.
func TestCheckAuthority(t *testing.T) {
	const (
		server = "host=a.postgres.database.usgovcloudapi.net user=u "
		secret = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	)
	rows := []struct {
		name, dsn, env string
		refused        bool
	}{
		{"the public cloud's", server + secret, "https://login.microsoftonline.com", true},
		{"China's, in capitals", server + secret, "https://LOGIN.chinacloudapi.cn/", true},
		{"one mode of a list asks it", server + "aad_auth=azure-cli,workload-identity", "https://login.microsoftonline.com/", true},
		{"the server's cloud's", server + secret, "https://login.microsoftonline.us/", false},
		{"of no known cloud", server + secret, "https://login.example/", false},
		{"none", server + secret, "", false},
		{"of the DSN", server + secret + " aad_authority_host=https://login.microsoftonline.com", "", false},
		{"of the DSN, and another", server + secret + " aad_authority_host=https://login.microsoftonline.com", "https://login.chinacloudapi.cn", false},
		{"managed identity", server + "aad_auth=managed-identity", "https://login.microsoftonline.com/", false},
		{"access token", server + "aad_auth=access-token password=x", "https://login.microsoftonline.com/", false},
		{"host of no known cloud", "host=h user=u " + secret, "https://login.microsoftonline.us", true},
		{"cloud of the DSN", "host=h user=u aad_cloud=usgov " + secret, "https://login.microsoftonline.us", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_AUTHORITY_HOST", row.env)
			cfg, cloud := parse(t, row.dsn)
			err := cloud.CheckAuthority(cfg)
			if !row.refused {
				if err != nil {
					t.Errorf("CheckAuthority() = %v, want nil", err)
				}
				return
			}
			const want = "AZURE_AUTHORITY_HOST is of cloud "
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("CheckAuthority() = %v, want %q", err, want)
			}
			if strings.Contains(err.Error(), entratest.Marker) {
				t.Errorf("CheckAuthority() = %v, which holds a secret", err)
			}
		})
	}
}
