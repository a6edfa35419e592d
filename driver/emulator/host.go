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

// A Host is a kind of machine or service that a program runs on.
type Host string

// The hosts, each with the variables that it sets.
//
// Hosts with managed identities offer all of them, as on Azure. To use one that is not
// the host's system-assigned identity, a program requests it by its client id, as with
// aad_client_id. [Azure.Environ] sets AZURE_CLIENT_ID to that id, which azidentity's
// DefaultAzureCredential reads. VirtualMachine takes effect only with [Azure.Client],
// because the address of its metadata service is fixed.
const (
	AppService      Host = "app-service"      // IDENTITY_ENDPOINT and IDENTITY_HEADER
	VirtualMachine  Host = "virtual-machine"  // no variables
	MachineLearning Host = "machine-learning" // MSI_ENDPOINT and MSI_SECRET
	CloudShell      Host = "cloud-shell"      // MSI_ENDPOINT only
	Kubernetes      Host = "kubernetes"       // AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE
	Pipelines       Host = "pipelines"        // SYSTEM_OIDCREQUESTURI, SYSTEM_ACCESSTOKEN, AZURESUBSCRIPTION_...
	Workstation     Host = "workstation"      // az, azd, pwsh and a browser (xdg-open) on the PATH; nothing on Windows
	OnPremises      Host = "on-premises"      // AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET
)

// Environ returns the environment variables, as KEY=value, of a program that runs on h as
// id. [Azure.Exports] also names the server. For [Workstation], Environ calls
// [Azure.Login] with id. For [OnPremises], it gives id a client secret if it has none. The
// zero Identity means the host's default identity, if any.
func (a *Azure) Environ(h Host, id Identity) ([]string, error) {
	url := a.host.URL
	switch h {
	case AppService:
		return a.managedIdentityEnv(h, id, "IDENTITY_ENDPOINT="+url+"/msi/token", "IDENTITY_HEADER="+a.hostSecret)
	case MachineLearning:
		return a.managedIdentityEnv(h, id, "MSI_ENDPOINT="+url+"/ml/token", "MSI_SECRET="+a.hostSecret)
	case CloudShell:
		return a.managedIdentityEnv(h, id, "MSI_ENDPOINT="+url+"/shell/token")
	case VirtualMachine:
		return nil, nil
	case Kubernetes:
		return a.kubernetesEnv(id)
	case Pipelines:
		return a.pipelinesEnv(id)
	case Workstation:
		return a.workstationEnv(id)
	case OnPremises:
		return a.onPremisesEnv(id)
	}
	return nil, fmt.Errorf("emulator: unknown host %q; choose one of %s, %s, %s, %s, %s, %s, %s and %s", h,
		AppService, VirtualMachine, Kubernetes, Pipelines, Workstation, OnPremises, MachineLearning, CloudShell)
}

// managedIdentityEnv completes env, that of a host with managed identities, for id.
func (a *Azure) managedIdentityEnv(h Host, id Identity, env ...string) ([]string, error) {
	system, _ := a.findIdentity(func(id Identity) bool { return id.Kind == ManagedIdentity })
	if id.Name == "" || id.Name == system.Name {
		return env, nil
	}
	if id.Kind != ManagedIdentity {
		return nil, fmt.Errorf("emulator: %s has managed identities only, and %s is a %s; run a user on a %s and an application on %s, %s or %s", h, id.Name, id.Kind, Workstation, Kubernetes, Pipelines, OnPremises)
	}
	if h == CloudShell {
		return nil, fmt.Errorf("emulator: %s has only one identity, %s; use that or choose another host", h, system.Name)
	}
	return append(env, "AZURE_CLIENT_ID="+id.ClientID), nil
}

func (a *Azure) kubernetesEnv(id Identity) ([]string, error) {
	if err := checkApplication(Kubernetes, id); err != nil {
		return nil, err
	}
	file := filepath.Join(a.dir, "federated-"+id.ObjectID)
	if err := os.WriteFile(file, []byte(a.FederatedToken(id, nil)), 0o600); err != nil {
		return nil, err
	}
	return []string{"AZURE_CLIENT_ID=" + id.ClientID, "AZURE_TENANT_ID=" + TenantID, "AZURE_FEDERATED_TOKEN_FILE=" + file}, nil
}

func (a *Azure) pipelinesEnv(id Identity) ([]string, error) {
	if err := checkApplication(Pipelines, id); err != nil {
		return nil, err
	}
	return []string{
		"SYSTEM_OIDCREQUESTURI=" + a.secureHost.URL + "/oidc",
		"SYSTEM_ACCESSTOKEN=" + a.hostSecret,
		"AZURESUBSCRIPTION_TENANT_ID=" + TenantID,
		"AZURESUBSCRIPTION_CLIENT_ID=" + id.ClientID,
		"AZURESUBSCRIPTION_SERVICE_CONNECTION_ID=" + id.ServiceConnectionID,
	}, nil
}

// onPremisesEnv is that of a machine outside Azure, where an application authenticates with
// its client secret.
func (a *Azure) onPremisesEnv(id Identity) ([]string, error) {
	if err := checkApplication(OnPremises, id); err != nil {
		return nil, err
	}
	if id.Kind == ManagedIdentity {
		return nil, fmt.Errorf("emulator: %s is a managed identity, which has no client secret; choose an application, of kind %s", id.Name, ServicePrincipal)
	}
	secret, err := a.clientSecret(id)
	if err != nil {
		return nil, err
	}
	return []string{"AZURE_CLIENT_ID=" + id.ClientID, "AZURE_TENANT_ID=" + TenantID, "AZURE_CLIENT_SECRET=" + secret}, nil
}

// checkApplication refuses users and groups, which cannot run on h.
func checkApplication(h Host, id Identity) error {
	if id.Kind == User || id.Kind == Group {
		return fmt.Errorf("emulator: %s is a %s and cannot run on %s; choose an application or a managed identity", id.Name, id.Kind, h)
	}
	return nil
}

func (a *Azure) workstationEnv(id Identity) ([]string, error) {
	if runtime.GOOS == "windows" {
		return nil, nil // the programs are shell scripts
	}
	bin, err := a.writePrograms()
	if err != nil {
		return nil, err
	}
	if id.Name != "" {
		a.Login(id)
	}
	return []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"BROWSER=" + filepath.Join(bin, "xdg-open"), // Python and Node prefer it to the PATH
	}, nil
}

// SetenvOn sets this process's environment to that of a program that runs on h as id,
// and restores it when t ends. It unsets the variables of other hosts and of libpq. Like
// t.Setenv, it cannot be used in parallel tests. It calls t.Fatal if h does not have id.
func (a *Azure) SetenvOn(t testing.TB, h Host, id Identity) {
	t.Helper()
	env, err := a.Environ(h, id)
	if err != nil {
		t.Fatal(err)
	}
	if h == Workstation && id.Name != "" {
		t.Cleanup(a.Logout)
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if namesHost(name) && !slices.Contains(proxyEnv, strings.ToUpper(name)) { // [Azure.Client] uses no proxy
			t.Setenv(name, "") // so that it is restored
			os.Unsetenv(name)
		}
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// Setenv is [Azure.SetenvOn] for [AppService] and its system-assigned identity, "app".
func (a *Azure) Setenv(t testing.TB) {
	t.Helper()
	a.SetenvOn(t, AppService, Identity{})
}
