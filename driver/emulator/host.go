package emulator

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A Host is a place for a program to run in.
type Host string

// The hosts, each with what a program finds there. Where they have managed identities
// they have all of them, as on Azure: one that is not the host's own is asked for by
// its client id, as in aad_client_id. Only with [Azure.Client] does VirtualMachine
// differ from nowhere: the address of its endpoint is fixed.
const (
	AppService      Host = "app-service"      // IDENTITY_ENDPOINT and IDENTITY_HEADER
	VirtualMachine  Host = "virtual-machine"  // nothing in the environment
	MachineLearning Host = "machine-learning" // MSI_ENDPOINT and MSI_SECRET
	CloudShell      Host = "cloud-shell"      // MSI_ENDPOINT alone
	Kubernetes      Host = "kubernetes"       // AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE
	Pipelines       Host = "pipelines"        // SYSTEM_OIDCREQUESTURI, SYSTEM_ACCESSTOKEN, AZURESUBSCRIPTION_...
	Workstation     Host = "workstation"      // az, azd, pwsh and a browser (xdg-open) on the PATH; not on Windows
)

// EnvironOn is what a program that runs there as id finds in its environment, as
// KEY=value.
func (a *Azure) EnvironOn(h Host, id Identity) ([]string, error) {
	url := a.host.URL
	switch h {
	case AppService:
		return []string{"IDENTITY_ENDPOINT=" + url + "/msi/token", "IDENTITY_HEADER=" + a.header}, nil
	case MachineLearning:
		return []string{"MSI_ENDPOINT=" + url + "/ml/token", "MSI_SECRET=" + a.header}, nil
	case CloudShell:
		return []string{"MSI_ENDPOINT=" + url + "/shell/token"}, nil
	case Kubernetes:
		file := filepath.Join(a.dir, "federated-"+id.ObjectID)
		err := os.WriteFile(file, []byte(a.FederatedToken(id, nil)), 0o600)
		return []string{"AZURE_CLIENT_ID=" + id.ClientID, "AZURE_TENANT_ID=" + TenantID, "AZURE_FEDERATED_TOKEN_FILE=" + file}, err
	case Pipelines:
		return []string{"SYSTEM_OIDCREQUESTURI=" + url + "/oidc", "SYSTEM_ACCESSTOKEN=" + a.header, "AZURESUBSCRIPTION_TENANT_ID=" + TenantID,
			"AZURESUBSCRIPTION_CLIENT_ID=" + id.ClientID, "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID=" + id.ServiceConnectionID}, nil
	case Workstation:
		if runtime.GOOS == "windows" {
			return nil, nil // the programs are shell scripts
		}
		bin, err := a.programs()
		return []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}, err
	}
	return nil, nil
}

// telling are the variables by which a host is known, and what else would tell who
// runs there.
var telling = []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID",
	"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
	"AZURE_TOKEN_CREDENTIALS", "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN", "AZURESUBSCRIPTION_TENANT_ID", "AZURESUBSCRIPTION_CLIENT_ID", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"}

// SetenvOn makes this process, for the length of t, one that runs there as id, and
// nowhere else.
func (a *Azure) SetenvOn(t testing.TB, h Host, id Identity) {
	t.Helper()
	env, err := a.EnvironOn(h, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range telling {
		t.Setenv(name, "") // to have it restored
		os.Unsetenv(name)
	}
	for _, kv := range env {
		name, v, _ := strings.Cut(kv, "=")
		t.Setenv(name, v)
	}
}

// Environ is what a program needs in its environment to meet the emulator as
// its managed identity endpoint and authority, as KEY=value. Where Go reads
// SSL_CERT_FILE (not on macOS and Windows) the program also trusts it.
func (a *Azure) Environ() []string {
	return []string{
		"IDENTITY_ENDPOINT=" + a.host.URL + "/msi/token",
		"IDENTITY_HEADER=" + a.header,
		"AZURE_AUTHORITY_HOST=" + a.Authority(),
		"AZURE_TENANT_ID=" + TenantID,
		"SSL_CERT_FILE=" + a.CertFile(),
	}
}

// Setenv sets the managed identity variables of Environ for the length of t.
func (a *Azure) Setenv(t testing.TB) {
	for _, kv := range a.Environ()[:2] {
		name, v, _ := strings.Cut(kv, "=")
		t.Setenv(name, v)
	}
}
