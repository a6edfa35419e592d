package main

import (
	"cmp"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// ways are how a script gets its token where it runs, as on Azure.
var ways = map[emulator.Host]string{
	emulator.AppService:      `field access_token "$(curl -sS -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?api-version=2019-08-01&resource=$resource&client_id=$AZURE_CLIENT_ID")"`,
	emulator.MachineLearning: `field access_token "$(curl -sS -H "Secret: $MSI_SECRET" "$MSI_ENDPOINT?api-version=2017-09-01&resource=$resource&clientid=$AZURE_CLIENT_ID")"`,
	emulator.CloudShell:      `field access_token "$(curl -sS -H Metadata:true --data-urlencode resource=$resource "$MSI_ENDPOINT")"`,
	emulator.Kubernetes:      `exchange "$(cat "$AZURE_FEDERATED_TOKEN_FILE")" "$AZURE_CLIENT_ID"`,
	emulator.Pipelines: `exchange "$(field oidcToken "$(curl -sS -X POST -H "Authorization: Bearer $SYSTEM_ACCESSTOKEN" -H Content-Length:0 \
		"$SYSTEM_OIDCREQUESTURI?api-version=7.1&serviceConnectionId=$AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")")" "$AZURESUBSCRIPTION_CLIENT_ID"`,
	emulator.Workstation: `az account get-access-token --resource-type oss-rdbms --query "[accessToken]" -o tsv`,
}

const functions = `resource=https://ossrdbms-aad.database.windows.net
field() { printf %s "$2" | sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/'; }
exchange() { field access_token "$(curl -sS "${AZURE_AUTHORITY_HOST}$AZURE_TENANT_ID/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$2" -d "scope=$resource/.default" \
	-d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d "client_assertion=$1")"; }
`

// No Go, and no driver of ours: curl gets the token, psql signs in with it.
func TestShell(t *testing.T) {
	for _, name := range []string{"curl", "psql"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v; this test wants it installed (Debian: apt-get install curl postgresql-client)", err)
		}
	}
	for _, tt := range []struct {
		place
		role string
	}{
		{flags(t, emulator.AppService), "app"},
		{flags(t, emulator.AppService, "billing", "other"), "billing"},
		{flags(t, emulator.MachineLearning), "app"},
		{flags(t, emulator.MachineLearning, "managed-identity:billing"), "billing"},
		{flags(t, emulator.CloudShell), "app"},
		{flags(t, emulator.Kubernetes, "billing"), "billing"},
		{flags(t, emulator.Kubernetes, "service-principal:worker"), "worker"},
		{flags(t, emulator.Pipelines, "service-principal:deploy"), "deploy"},
		{flags(t, emulator.Workstation, "me@contoso.com"), "me@contoso.com"},
		{flags(t, emulator.Workstation), "app"},
	} {
		t.Run(string(tt.on)+" "+tt.role, func(t *testing.T) {
			script := functions + "PGPASSWORD=$(" + ways[tt.on] + "); export PGPASSWORD\n" + `psql -AtXc "select session_user"` + "\n"
			want := tt.role
			if tt.on != emulator.Kubernetes && tt.on != emulator.Pipelines { // where the URL is for the driver
				script += `env -u PGHOST -u PGPORT -u PGDATABASE -u PGUSER -u PGSSLMODE -u PGSSLROOTCERT psql "$DATABASE_URL" -AtXc "select session_user"`
				want += "\n" + tt.role
			}
			if got, err := output(t, tt.place, script); err != nil || got != want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// The driver needs nothing but the URL, wherever it runs.
func TestDriver(t *testing.T) {
	if os.Getenv("EMULATE_CHILD") != "" {
		db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var who string
		if err := db.QueryRow("select session_user").Scan(&who); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("<%s>", who)
		return
	}
	t.Setenv("EMULATE_CHILD", "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a second each
	for on := range ways {
		p := flags(t, on, "service-principal:billing")
		switch on {
		case emulator.AppService, emulator.MachineLearning:
			p = flags(t, on, "billing")
		case emulator.CloudShell:
			p = flags(t, on)
		}
		want := "<" + cmp.Or(p.first, "app") + ">"
		if runtime.GOOS == "darwin" && (on == emulator.Kubernetes || on == emulator.Pipelines) {
			continue // Go reads no SSL_CERT_FILE there
		}
		if got, err := output(t, p, "exec '"+os.Args[0]+"' -test.run='^TestDriver$'"); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s, %v; want %s", on, got, err, want)
		}
	}
	single := flags(t, emulator.AppService)
	single.single = true
	if got, err := output(t, single, "exec '"+os.Args[0]+"' -test.run='^TestDriver$'"); err != nil || !strings.Contains(got, "<app>") {
		t.Errorf("single server: %s, %v", got, err)
	}
}
