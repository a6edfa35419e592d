package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// credentials create Microsoft's credentials as a program for Azure does, without an option.
var credentials = map[string]func() (azcore.TokenCredential, error){
	"default":           func() (azcore.TokenCredential, error) { return azidentity.NewDefaultAzureCredential(nil) },
	"workload identity": func() (azcore.TokenCredential, error) { return azidentity.NewWorkloadIdentityCredential(nil) },
	"client secret": func() (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID"), os.Getenv("AZURE_CLIENT_SECRET"), nil)
	},
	"pipelines": func() (azcore.TokenCredential, error) {
		return azidentity.NewAzurePipelinesCredential(os.Getenv("AZURESUBSCRIPTION_TENANT_ID"), os.Getenv("AZURESUBSCRIPTION_CLIENT_ID"),
			os.Getenv("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"), os.Getenv("SYSTEM_ACCESSTOKEN"), nil)
	},
	"browser":    func() (azcore.TokenCredential, error) { return azidentity.NewInteractiveBrowserCredential(nil) },
	"powershell": func() (azcore.TokenCredential, error) { return azidentity.NewAzurePowerShellCredential(nil) },
}

// A program for Azure runs unchanged: Microsoft's library finds its authority and validates
// it by instance discovery, and a client of PostgreSQL finds the server in libpq's
// variables. The proxies and the identity of this process have no effect.
func TestUnchangedProgram(t *testing.T) {
	if name := os.Getenv("EMULATE_CREDENTIAL"); name != "" {
		signInWith(t, name)
		return
	}
	if runtime.GOOS == "darwin" {
		t.Skip("Go does not read SSL_CERT_FILE on macOS")
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1") // nothing listens there
	}
	t.Setenv("NO_PROXY", "*")
	t.Setenv("no_proxy", "login.microsoftonline.com")
	for _, tt := range []struct {
		credential string
		host       emulator.Host
		identities []string
		want       string // in the output
	}{
		{"default", emulator.AppService, nil, "<app>"},
		{"default", emulator.Kubernetes, []string{"service-principal:worker"}, "<worker>"},
		{"workload identity", emulator.Kubernetes, nil, "<app>"},
		{"default", emulator.OnPremises, nil, "<app>"},
		{"default", emulator.OnPremises, []string{"billing"}, "<billing>"},
		{"client secret", emulator.OnPremises, []string{"service-principal:billing"}, "<billing>"},
		{"pipelines", emulator.Pipelines, []string{"service-principal:deploy"}, "<deploy>"},
		{"browser", emulator.Workstation, []string{"me@contoso.com"}, "<me@contoso.com>"},
		{"powershell", emulator.Workstation, []string{"me@contoso.com"}, "<me@contoso.com>"},
		{"default", emulator.Pipelines, []string{"service-principal:deploy"}, "EnvironmentCredential: missing environment variable"}, // and no probe for a metadata service
	} {
		t.Run(tt.credential+" "+string(tt.host)+" "+strings.Join(tt.identities, " "), func(t *testing.T) {
			if tt.host == emulator.Workstation {
				need.Program(t, "bash")
			}
			script := fmt.Sprintf("EMULATE_CREDENTIAL='%s' exec '%s' -test.run='^TestUnchangedProgram$'", tt.credential, os.Args[0])
			got, err := runScript(t, newConfig(t, tt.host, tt.identities...), script)
			if err != nil && strings.HasPrefix(tt.want, "<") {
				t.Error(err)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("the program printed %q, want %q in it", got, tt.want)
			}
			if strings.Contains(got, "ManagedIdentityCredential") {
				t.Errorf("the program printed %q, want no attempt with a managed identity", got)
			}
		})
	}
}

// signInWith signs in with a token of one of the credentials and prints the role in angle
// brackets.
func signInWith(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cred, err := credentials[name]()
	if err != nil {
		t.Fatal(err)
	}
	token, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{emulator.Resource + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	config.Password = token.Token
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var user string
	if err := conn.QueryRow(ctx, "select session_user").Scan(&user); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("<%s>", user)
}
