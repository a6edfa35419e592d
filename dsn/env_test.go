package dsn

import (
	"os"
	"strings"
	"testing"
)

// world makes an Env of fixed variables and one service file.
func world(vars map[string]string, file, text string) Env {
	return Env{
		Getenv: func(name string) string { return vars[name] },
		ReadFile: func(path string) ([]byte, error) {
			if path == file {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

func TestParseEnv(t *testing.T) {
	const services = `
# a comment
[app]
host = service-host
user= service-user
aad_auth=managed-identity
aad_client_id=service-client
aad_token_max_age=1m

[twice]
aad_scope=a
aad_scope=b
[capital]
AAD_AUTH=default
[bare]
host
[off]
aad_auth=azure-cli
aad_client_id=x
`
	for _, tt := range []struct {
		name, dsn string
		vars      map[string]string
		want      string // DSN, or part of the error
		fails     bool
	}{
		{name: "nothing", want: ""},
		{name: "environment", vars: map[string]string{"PGHOST": "h", "PGUSER": "u", "PGSSLMODE": "disable"},
			want: "host=h sslmode=disable user=u"},
		{name: "the DSN wins over the environment", dsn: "host=d user=v", vars: map[string]string{"PGHOST": "h", "PGUSER": "u"},
			want: "host=d user=v"},
		{name: "service", dsn: "service=app", vars: map[string]string{"HOME": "/home/me"},
			want: "aad_auth=managed-identity aad_client_id=service-client aad_token_max_age=1m0s host=service-host service=app user=service-user"},
		{name: "service in Windows' place", dsn: "service=app", vars: map[string]string{"USERPROFILE": "/home/me"},
			want: "aad_auth=managed-identity aad_client_id=service-client aad_token_max_age=1m0s host=service-host service=app user=service-user"},
		{name: "the DSN wins over the service, the service over the environment", dsn: "host=d service=app aad_client_id=dsn-client aad_token_max_age=0",
			vars: map[string]string{"HOME": "/home/me", "PGHOST": "h", "PGUSER": "u"},
			want: "aad_auth=managed-identity aad_client_id=dsn-client host=d service=app user=service-user"},
		{name: "PGSERVICE", vars: map[string]string{"PGSERVICE": "app", "PGSERVICEFILE": "/home/me/.pg_service.conf"},
			want: "aad_auth=managed-identity aad_client_id=service-client aad_token_max_age=1m0s host=service-host service=app servicefile=/home/me/.pg_service.conf user=service-user"},
		{name: "no file", dsn: "service=app", want: "set PGSERVICEFILE to one that can be read", fails: true},
		{name: "no section", dsn: "service=other", vars: map[string]string{"HOME": "/home/me"}, want: `service "other" is not in the`, fails: true},
		{name: "a key twice in a section", dsn: "service=twice", vars: map[string]string{"HOME": "/home/me"}, want: `service "twice": key "aad_scope" is given twice`, fails: true},
		{name: "a capital in a section", dsn: "service=capital", vars: map[string]string{"HOME": "/home/me"}, want: "keys are lower case", fails: true},
		{name: "no = in a section", dsn: "service=bare", vars: map[string]string{"HOME": "/home/me"}, want: "a line without =", fails: true},
		{name: "a key that the section's mode cannot use", dsn: "service=off", vars: map[string]string{"HOME": "/home/me"}, want: "not used by aad_auth=azure-cli", fails: true},
		{name: "what a mode needs comes from the environment", dsn: "aad_auth=client-secret",
			vars: map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"},
			want: "aad_auth=client-secret aad_client_id=c aad_client_secret=s aad_tenant_id=t"},
		{name: "a secret without tenant", dsn: "aad_auth=client-secret aad_client_id=c aad_client_secret=" + marker,
			want: "aad_auth=client-secret needs aad_tenant_id; set it in the DSN or AZURE_TENANT_ID in the environment", fails: true},
		{name: "a certificate's password comes along with its path", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c",
			vars: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "f", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_client_id=c aad_tenant_id=t"},
		{name: "and not without it", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=g",
			vars: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "f", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=g aad_client_id=c aad_tenant_id=t"},
		{name: "even if the rest comes from the environment", dsn: "aad_auth=client-certificate aad_client_certificate=g",
			vars: map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=g aad_client_id=c aad_tenant_id=t"},
		{name: "a pipeline's own variables", dsn: "aad_auth=azure-pipelines",
			vars: map[string]string{"AZURESUBSCRIPTION_TENANT_ID": "t", "AZURESUBSCRIPTION_CLIENT_ID": "c", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "s", "AZURE_CLIENT_ID": "other"},
			want: "aad_auth=azure-pipelines aad_client_id=c aad_service_connection_id=s aad_tenant_id=t"},
		{name: "a pipeline without connection", dsn: "aad_auth=azure-pipelines aad_tenant_id=t aad_client_id=c",
			want: "set it in the DSN or AZURESUBSCRIPTION_SERVICE_CONNECTION_ID in the environment", fails: true},
		{name: "managed identity does not read AZURE_CLIENT_ID", dsn: "aad_auth=managed-identity",
			vars: map[string]string{"AZURE_CLIENT_ID": "c"}, want: "aad_auth=managed-identity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseEnv(tt.dsn, world(tt.vars, "/home/me/.pg_service.conf", services))
			switch {
			case tt.fails && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), marker)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case !tt.fails && err != nil:
				t.Error(err)
			case !tt.fails && c.DSN() != tt.want:
				t.Errorf("got  %s\nwant %s", c.DSN(), tt.want)
			}
		})
	}
}
