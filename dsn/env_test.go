package dsn

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// home is the home directory of the tests, homeVariable names it, and serviceFile is there.
var (
	home, homeVariable = homeOf(runtime.GOOS)
	serviceFile        = filepath.Join(home, ".pg_service.conf")
)

func homeOf(goos string) (dir, variable string) {
	if goos == "windows" {
		return `C:\Users\me`, "USERPROFILE"
	}
	return "/home/me", "HOME"
}

// fakeEnv returns an Env with these variables and one service file.
func fakeEnv(vars map[string]string, file, text string) Env {
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

[repeated]
aad_scope=a
aad_scope=b
[upper]
AAD_AUTH=default
[no-value]
host
[unused-key]
aad_auth=azure-cli
aad_client_id=x
[section-twice]
host=a
user=a
[section-twice]
host=b
[parameter-twice]
database=a
dbname=b
[nothing]
`
	for _, row := range []struct {
		name, dsn string
		vars      map[string]string
		want      string // the DSN of the result
		wantErr   string // or a part of the error
	}{
		{name: "empty"},
		{name: "environment", vars: map[string]string{"PGHOST": "h", "PGUSER": "u", "PGSSLMODE": "disable"},
			want: "host=h sslmode=disable user=u"},
		{name: "direct TLS", vars: map[string]string{"PGHOST": "h", "PGSSLNEGOTIATION": "auto"},
			want: "host=h sslnegotiation=auto"},
		{name: "PGSSLNEGOTIATION that cannot be meant", vars: map[string]string{"PGHOST": "h", "PGSSLNEGOTIATION": "automatic"},
			wantErr: "PGSSLNEGOTIATION is not one of postgres, direct, auto"},
		{name: "DSN before environment", dsn: "host=d user=v", vars: map[string]string{"PGHOST": "h", "PGUSER": "u"},
			want: "host=d user=v"},
		{name: "service", dsn: "service=app", vars: map[string]string{homeVariable: home},
			want: "aad_auth=managed-identity aad_client_id=service-client aad_token_max_age=1m0s host=service-host service=app user=service-user"},
		{name: "DSN before service before environment", dsn: "host=d service=app aad_client_id=dsn-client aad_token_max_age=0",
			vars: map[string]string{homeVariable: home, "PGHOST": "h", "PGUSER": "u"},
			want: "aad_auth=managed-identity aad_client_id=dsn-client host=d service=app user=service-user"},
		{name: "PGSERVICE", vars: map[string]string{"PGSERVICE": "app", "PGSERVICEFILE": serviceFile},
			want: "aad_auth=managed-identity aad_client_id=service-client aad_token_max_age=1m0s host=service-host service=app servicefile=" + quote(serviceFile) + " user=service-user"},
		{name: "last of two sections", dsn: "service=section-twice", vars: map[string]string{homeVariable: home},
			want: "host=b service=section-twice"},
		{name: "last of two parameters", dsn: "service=parameter-twice", vars: map[string]string{homeVariable: home},
			want: "dbname=b service=parameter-twice"},
		{name: "empty section", dsn: "service=nothing", vars: map[string]string{homeVariable: home},
			want: "service=nothing"},
		{name: "no file", dsn: "service=app", wantErr: `service "app" has no connection service file; set PGSERVICEFILE to a readable file`},
		{name: "no such file", dsn: "service=app servicefile=/other", vars: map[string]string{homeVariable: home}, wantErr: "set PGSERVICEFILE to a readable file"},
		{name: "no section", dsn: "service=other", vars: map[string]string{homeVariable: home}, wantErr: `service "other" is not in the`},
		{name: "repeated key in a section", dsn: "service=repeated", vars: map[string]string{homeVariable: home}, wantErr: `service "repeated": key "aad_scope" is given twice`},
		{name: "upper case in a section", dsn: "service=upper", vars: map[string]string{homeVariable: home}, wantErr: "write aad_auth in lower case"},
		{name: "no = in a section", dsn: "service=no-value", vars: map[string]string{homeVariable: home}, wantErr: "a line without ="},
		{name: "key that the section's mode does not use", dsn: "service=unused-key", vars: map[string]string{homeVariable: home}, wantErr: "not used by aad_auth=azure-cli"},
		{name: "required keys from the environment", dsn: "aad_auth=client-secret",
			vars: map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"},
			want: "aad_auth=client-secret aad_client_id=c aad_client_secret=s aad_tenant_id=t"},
		{name: "no tenant", dsn: "aad_auth=client-secret aad_client_id=c aad_client_secret=" + secret,
			wantErr: "aad_auth=client-secret needs aad_tenant_id; set it in the DSN, or set AZURE_TENANT_ID in the environment"},
		{name: "certificate and password from the environment", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c",
			vars: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "f", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_client_id=c aad_tenant_id=t"},
		{name: "no password for a certificate from the DSN", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=g",
			vars: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "f", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=g aad_client_id=c aad_tenant_id=t"},
		{name: "no password although other keys are from the environment", dsn: "aad_auth=client-certificate aad_client_certificate=g",
			vars: map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p"},
			want: "aad_auth=client-certificate aad_client_certificate=g aad_client_id=c aad_tenant_id=t"},
		{name: "variables of a pipeline", dsn: "aad_auth=azure-pipelines",
			vars: map[string]string{"AZURESUBSCRIPTION_TENANT_ID": "t", "AZURESUBSCRIPTION_CLIENT_ID": "c", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "s", "AZURE_CLIENT_ID": "other"},
			want: "aad_auth=azure-pipelines aad_client_id=c aad_service_connection_id=s aad_tenant_id=t"},
		{name: "pipeline without connection", dsn: "aad_auth=azure-pipelines aad_tenant_id=t aad_client_id=c",
			wantErr: "set it in the DSN, or set AZURESUBSCRIPTION_SERVICE_CONNECTION_ID in the environment"},
		{name: "AZURE_CLIENT_ID is not for managed identity", dsn: "aad_auth=managed-identity",
			vars: map[string]string{"AZURE_CLIENT_ID": "c"}, want: "aad_auth=managed-identity"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := ParseEnv(row.dsn, fakeEnv(row.vars, serviceFile, services))
			if row.wantErr != "" {
				checkError(t, err, row.wantErr)
				return
			}
			if err != nil {
				t.Fatalf("ParseEnv(%q): %v", row.dsn, err)
			}
			if got := c.DSN(); got != row.want {
				t.Errorf("ParseEnv(%q).DSN() = %q, want %q", row.dsn, got, row.want)
			}
		})
	}
}

// The service file is where pgx looks for it on this system: both read it.
func TestServiceFile(t *testing.T) {
	const section = "[app]\nhost="
	unix := map[string]string{"HOME": "/home/me", "USERPROFILE": "/profile", "APPDATA": "/appdata"}
	windows := map[string]string{"HOME": `C:\msys\me`, "USERPROFILE": `C:\Users\me`, "APPDATA": `C:\Users\me\AppData\Roaming`}
	inAppData := `C:\Users\me\AppData\Roaming\postgresql\.pg_service.conf`
	inProfile := `C:\Users\me\.pg_service.conf`
	for _, row := range []struct {
		name    string
		windows bool
		vars    map[string]string
		files   map[string]string // host by path; "" is a file that cannot be read
		want    string            // host, or "" for the error that there is no file
	}{
		{name: "home", vars: unix, files: map[string]string{"/home/me/.pg_service.conf": "home"}, want: "home"},
		{name: "not Windows", vars: unix, files: map[string]string{"/profile/.pg_service.conf": "profile", "/appdata/postgresql/.pg_service.conf": "appdata"}},
		{name: "no home", files: map[string]string{".pg_service.conf": "relative"}},
		{name: "APPDATA", windows: true, vars: windows, files: map[string]string{inAppData: "appdata", inProfile: "profile"}, want: "appdata"},
		{name: "USERPROFILE", windows: true, vars: windows, files: map[string]string{inProfile: "profile"}, want: "profile"},
		{name: "unreadable in APPDATA", windows: true, vars: windows, files: map[string]string{inAppData: "", inProfile: "profile"}},
		{name: "no APPDATA", windows: true, vars: map[string]string{"USERPROFILE": `C:\Users\me`}, files: map[string]string{inProfile: "profile"}, want: "profile"},
		{name: "HOME on Windows", windows: true, vars: windows, files: map[string]string{`C:\msys\me\.pg_service.conf`: "msys"}},
	} {
		if row.windows != (runtime.GOOS == "windows") {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			env := Env{
				Getenv: func(name string) string { return row.vars[name] },
				ReadFile: func(path string) ([]byte, error) {
					host, exists := row.files[path]
					if !exists {
						return nil, os.ErrNotExist
					}
					if host == "" {
						return nil, os.ErrPermission
					}
					return []byte(section + host), nil
				},
			}
			c, err := ParseEnv("service=app", env)
			if row.want == "" {
				checkError(t, err, "has no connection service file; set PGSERVICEFILE")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Params["host"]; got != row.want {
				t.Errorf("host = %q, want %q", got, row.want)
			}
		})
	}
}
