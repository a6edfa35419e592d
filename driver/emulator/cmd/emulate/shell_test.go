package main

import (
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// tokenCommands are the shell commands that print a token on each host, as on Azure.
var tokenCommands = []struct {
	host    emulator.Host
	command string
}{
	{emulator.AppService, `field access_token "$(curl -sS -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?api-version=2019-08-01&resource=$resource&client_id=$AZURE_CLIENT_ID")"`},
	{emulator.MachineLearning, `field access_token "$(curl -sS -H "Secret: $MSI_SECRET" "$MSI_ENDPOINT?api-version=2017-09-01&resource=$resource&clientid=$AZURE_CLIENT_ID")"`},
	{emulator.CloudShell, `field access_token "$(curl -sS -H Metadata:true --data-urlencode resource=$resource "$MSI_ENDPOINT")"`},
	{emulator.Kubernetes, `exchange "$(cat "$AZURE_FEDERATED_TOKEN_FILE")" "$AZURE_CLIENT_ID"`},
	{emulator.Pipelines, `exchange "$(field oidcToken "$(curl -sS -X POST -H "Authorization: Bearer $SYSTEM_ACCESSTOKEN" -H Content-Length:0 \
		"$SYSTEM_OIDCREQUESTURI?api-version=7.1&serviceConnectionId=$AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")")" "$AZURESUBSCRIPTION_CLIENT_ID"`},
	{emulator.OnPremises, `field access_token "$(curl -sS "${AZURE_AUTHORITY_HOST}$AZURE_TENANT_ID/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$AZURE_CLIENT_ID" -d "scope=$resource/.default" -d "client_secret=$AZURE_CLIENT_SECRET")"`},
	{emulator.Workstation, `az account get-access-token --resource-type oss-rdbms --query "[accessToken]" -o tsv`},
}

// functions are shell functions of the token commands.
const functions = `resource=https://ossrdbms-aad.database.windows.net
field() { printf %s "$2" | sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/'; }
exchange() { field access_token "$(curl -sS "${AZURE_AUTHORITY_HOST}$AZURE_TENANT_ID/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$2" -d "scope=$resource/.default" \
	-d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d "client_assertion=$1")"; }
`

func tokenCommand(t *testing.T, host emulator.Host) string {
	t.Helper()
	for _, c := range tokenCommands {
		if c.host == host {
			return c.command
		}
	}
	t.Fatalf("no token command for %s", host)
	return ""
}

// urlIsForDriver reports whether DATABASE_URL has parameters that only the driver
// understands.
func urlIsForDriver(host emulator.Host) bool {
	return host == emulator.Kubernetes || host == emulator.Pipelines
}

// A shell script signs in on every host: curl requests the token, and psql uses it with
// the libpq variables and with DATABASE_URL.
func TestShell(t *testing.T) {
	need.Program(t, "bash", "sed", "curl", "psql")
	for _, tt := range []struct {
		host       emulator.Host
		identities []string
		wantRole   string
	}{
		{emulator.AppService, nil, "app"},
		{emulator.AppService, []string{"billing", "other"}, "billing"},
		{emulator.MachineLearning, nil, "app"},
		{emulator.MachineLearning, []string{"managed-identity:billing"}, "billing"},
		{emulator.CloudShell, nil, "app"},
		{emulator.Kubernetes, []string{"billing"}, "billing"},
		{emulator.Kubernetes, []string{"service-principal:worker"}, "worker"},
		{emulator.Pipelines, []string{"service-principal:deploy"}, "deploy"},
		{emulator.OnPremises, nil, "app"},
		{emulator.OnPremises, []string{"service-principal:billing"}, "billing"},
		{emulator.Workstation, []string{"me@contoso.com"}, "me@contoso.com"},
		{emulator.Workstation, nil, "app"},
	} {
		t.Run(string(tt.host)+" "+tt.wantRole, func(t *testing.T) {
			script := functions + "PGPASSWORD=$(" + tokenCommand(t, tt.host) + "); export PGPASSWORD\n" + `psql -AtXc "select session_user"` + "\n"
			want := tt.wantRole
			if !urlIsForDriver(tt.host) {
				script += `env -u PGHOST -u PGPORT -u PGDATABASE -u PGUSER -u PGSSLMODE -u PGSSLROOTCERT psql "$DATABASE_URL" -AtXc "select session_user"`
				want += "\n" + tt.wantRole
			}
			got, err := runScript(t, newConfig(t, tt.host, tt.identities...), script)
			if err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("session_user = %q, want %q", got, want)
			}
		})
	}
}

// A Go program with the driver signs in on every host with DATABASE_URL only.
func TestDriver(t *testing.T) {
	if os.Getenv("EMULATE_CHILD") != "" {
		printSessionUser(t)
		return
	}
	t.Setenv("EMULATE_CHILD", "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the default is a second
	for _, tt := range []struct {
		host       emulator.Host
		identities []string
		wantRole   string
	}{
		{emulator.AppService, []string{"billing"}, "billing"},
		{emulator.MachineLearning, []string{"billing"}, "billing"},
		{emulator.CloudShell, nil, "app"},
		{emulator.Kubernetes, []string{"service-principal:billing"}, "billing"},
		{emulator.Pipelines, []string{"service-principal:billing"}, "billing"},
		{emulator.OnPremises, nil, "app"},
		{emulator.OnPremises, []string{"service-principal:billing"}, "billing"},
		{emulator.Workstation, []string{"service-principal:billing"}, "billing"},
	} {
		t.Run(string(tt.host)+" "+tt.wantRole, func(t *testing.T) {
			if runtime.GOOS == "darwin" && (urlIsForDriver(tt.host) || tt.host == emulator.OnPremises) {
				t.Skip("Go does not read SSL_CERT_FILE on macOS")
			}
			if tt.host == emulator.Workstation {
				need.Program(t, "bash")
			}
			checkChild(t, newConfig(t, tt.host, tt.identities...), tt.wantRole)
		})
	}
	t.Run("single server", func(t *testing.T) {
		c := newConfig(t, emulator.AppService)
		c.single = true
		checkChild(t, c, "app")
	})
}

// printSessionUser signs in with the driver and prints the role in angle brackets.
func printSessionUser(t *testing.T) {
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var user string
	if err := db.QueryRow("select session_user").Scan(&user); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("<%s>", user)
}

// checkChild runs this test as the command of emulate and checks as which role it signs in.
func checkChild(t *testing.T, c config, wantRole string) {
	t.Helper()
	got, err := runScript(t, c, "exec '"+os.Args[0]+"' -test.run='^TestDriver$'")
	if err != nil {
		t.Error(err)
	}
	if want := "<" + wantRole + ">"; !strings.Contains(got, want) {
		t.Errorf("the child printed %q, want %q in it", got, want)
	}
}
