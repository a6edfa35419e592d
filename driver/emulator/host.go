package emulator

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A Host is a place for a program to run in.
type Host string

// The hosts, each with what a program finds there. Where they have managed identities
// they have all of them, as on Azure: one that is not the host's own is asked for by
// its client id, as in aad_client_id; azidentity's default reads AZURE_CLIENT_ID, which
// is set to that. Only with [Azure.Client] does VirtualMachine differ from nowhere: the
// address of its endpoint is fixed.
const (
	AppService      Host = "app-service"      // IDENTITY_ENDPOINT and IDENTITY_HEADER
	VirtualMachine  Host = "virtual-machine"  // nothing in the environment
	MachineLearning Host = "machine-learning" // MSI_ENDPOINT and MSI_SECRET
	CloudShell      Host = "cloud-shell"      // MSI_ENDPOINT alone
	Kubernetes      Host = "kubernetes"       // AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE
	Pipelines       Host = "pipelines"        // SYSTEM_OIDCREQUESTURI, SYSTEM_ACCESSTOKEN, AZURESUBSCRIPTION_...
	Workstation     Host = "workstation"      // az, azd, pwsh and a browser (xdg-open) on the PATH; not on Windows
)

// Environ is what a program that runs there as id finds in its environment, as
// KEY=value; [Azure.Exports] has the way to the server, too. On a Workstation that is signed in to its tools, too, as by [Azure.Login].
// The zero Identity is nobody in particular: whom the host has, or nobody.
func (a *Azure) Environ(h Host, id Identity) ([]string, error) {
	url := a.host.URL
	switch h {
	case AppService:
		return a.managed(h, id, "IDENTITY_ENDPOINT="+url+"/msi/token", "IDENTITY_HEADER="+a.header)
	case MachineLearning:
		return a.managed(h, id, "MSI_ENDPOINT="+url+"/ml/token", "MSI_SECRET="+a.header)
	case CloudShell:
		return a.managed(h, id, "MSI_ENDPOINT="+url+"/shell/token")
	case VirtualMachine:
		return nil, nil
	case Kubernetes, Pipelines:
		if id.Kind == User || id.Kind == Group {
			return nil, fmt.Errorf("emulator: %s is a %s, and %s has none", id.Name, id.Kind, h)
		}
	}
	switch h {
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
		env := []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}
		if id.Name != "" {
			a.Login(id)
		}
		return env, err
	}
	return nil, fmt.Errorf("emulator: there is no host %q; choose one of %s, %s, %s, %s, %s, %s and %s", h,
		AppService, VirtualMachine, Kubernetes, Pipelines, Workstation, MachineLearning, CloudShell)
}

// managed is env where managed identities are, for a program that runs there as one.
func (a *Azure) managed(h Host, id Identity, env ...string) ([]string, error) {
	system, _ := a.find(func(id Identity) bool { return id.Kind == ManagedIdentity })
	switch {
	case id.Name == "" || id.Name == system.Name:
		return env, nil
	case id.Kind != ManagedIdentity:
		return nil, fmt.Errorf("emulator: %s has managed identities only, and %s is none; a person signs in on a %s, an application in %s or %s", h, id.Name, Workstation, Kubernetes, Pipelines)
	case h == CloudShell:
		return nil, fmt.Errorf("emulator: %s has but one identity, %s", h, system.Name)
	}
	return append(env, "AZURE_CLIENT_ID="+id.ClientID), nil
}

// telling are the variables by which a host is known, and what else would tell who
// runs there.
var telling = []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID",
	"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
	"AZURE_TOKEN_CREDENTIALS", "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN", "AZURESUBSCRIPTION_TENANT_ID", "AZURESUBSCRIPTION_CLIENT_ID", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"}

// SetenvOn makes this process, for the length of t, one that runs there as id, and
// nowhere else, whatever libpq's variables say.
func (a *Azure) SetenvOn(t testing.TB, h Host, id Identity) {
	t.Helper()
	env, err := a.Environ(h, id)
	if err != nil {
		t.Fatal(err)
	}
	if h == Workstation && id.Name != "" {
		t.Cleanup(a.Logout)
	}
	for _, name := range slices.Concat(telling, leading) {
		t.Setenv(name, "") // to have it restored
		os.Unsetenv(name)
	}
	for _, kv := range env {
		name, v, _ := strings.Cut(kv, "=")
		t.Setenv(name, v)
	}
}

// Setenv is SetenvOn for AppService and its own identity, "app".
func (a *Azure) Setenv(t testing.TB) {
	t.Helper()
	a.SetenvOn(t, AppService, Identity{})
}
