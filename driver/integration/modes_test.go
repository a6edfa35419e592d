package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const scope = "https://ossrdbms-aad.database.windows.net/.default"

// A modeTest is a mode on a host.
type modeTest struct {
	mode string
	name string
	kind string // of the identity; "": a managed identity, which is an application too
	// setup prepares the host and returns params of the DSN. tr is new for each test, so no
	// token is cached.
	setup func(t *testing.T, id emulator.Identity, tr *testTransport) string
	// want is the token request, by the names of form fields and by those that checkRequest
	// knows. Values are patterns for matches.
	want map[string]string
	// deny changes the host so that the authority refuses, and returns the DSN for that.
	// The error must contain wantErr.
	deny           func(t *testing.T, id emulator.Identity, dsn string) string
	wantErr        string
	systemAssigned bool // the emulator's first identity
	noAuthority    bool // no token is requested
	unixOnly       bool // the emulated programs are shell scripts
}

func onHost(h emulator.Host, params string) func(*testing.T, emulator.Identity, *testTransport) string {
	return func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, h, id)
		tr.noIMDS = h != emulator.VirtualMachine
		return fill(params, id)
	}
}

// fill replaces names in braces by an identity's ids.
func fill(params string, id emulator.Identity) string {
	return strings.NewReplacer("{tenant}", emulator.TenantID, "{client}", id.ClientID, "{object}", id.ObjectID, "{resource}", id.ResourceID,
		"{secret}", id.Secret, "{connection}", id.ServiceConnectionID, "{name}", id.Name).Replace(params)
}

// unknownID is an id that the emulated tenant does not know.
const unknownID = "00000000-0000-0000-0000-00000000dead"

func replaceInDSN(old, with string) func(*testing.T, emulator.Identity, string) string {
	return func(_ *testing.T, id emulator.Identity, dsn string) string {
		return strings.ReplaceAll(dsn, fill(old, id), with)
	}
}

func setenv(name, v string) func(*testing.T, emulator.Identity, string) string {
	return func(t *testing.T, _ emulator.Identity, dsn string) string {
		t.Setenv(name, v)
		return dsn
	}
}

func logout(_ *testing.T, _ emulator.Identity, dsn string) string {
	az.Logout()
	return dsn
}

const (
	tokenPath     = "/" + emulator.TenantID + "/oauth2/v2.0/token"
	imdsPath      = "/metadata/identity/oauth2/token"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

var modeTests = []modeTest{
	{mode: "default", name: "kubernetes", setup: onHost(emulator.Kubernetes, "user='{name}'"),
		want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_assertion_type": assertionType, "scope": scope + "*"},
		deny: setenv("AZURE_CLIENT_ID", unknownID), wantErr: "AADSTS700016"},
	{mode: "default", name: "app service", systemAssigned: true, setup: onHost(emulator.AppService, ""),
		want: map[string]string{"path": "/msi/token", "resource": emulator.Resource},
		deny: setenv("IDENTITY_HEADER", "wrong"), wantErr: "ManagedIdentityCredential"},
	{mode: "default", name: "workstation", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, ""),
		want: map[string]string{"path": "/program/az", "arg": "account get-access-token*"},
		deny: logout, wantErr: "az login"},
	{mode: "environment", name: "secret", setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, emulator.VirtualMachine, id)
		t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
		t.Setenv("AZURE_CLIENT_ID", id.ClientID)
		t.Setenv("AZURE_CLIENT_SECRET", id.Secret)
		return fill("user='{name}'", id)
	}, want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_secret": "{secret}", "scope": scope + "*"},
		deny: setenv("AZURE_CLIENT_SECRET", "wrong"), wantErr: "AADSTS7000215"},
	{mode: "environment", name: "certificate", setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, emulator.VirtualMachine, id)
		t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
		t.Setenv("AZURE_CLIENT_ID", id.ClientID)
		t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", testCertificates.write(t, testCertificates.pfx))
		t.Setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", pfxPassword)
		return fill("user='{name}'", id)
	}, want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_assertion_type": assertionType},
		deny: func(t *testing.T, id emulator.Identity, dsn string) string {
			t.Setenv("AZURE_CLIENT_CERTIFICATE_PATH", testCertificates.write(t, testCertificates.unregistered))
			t.Setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "")
			return dsn
		}, wantErr: "AADSTS700027"},
	{mode: "workload-identity", name: "environment", setup: onHost(emulator.Kubernetes, "user='{name}'"),
		want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_assertion_type": assertionType, "assertion sub": "system:serviceaccount:default:{name}", "scope": scope + "*"},
		deny: func(t *testing.T, id emulator.Identity, dsn string) string {
			other := az.FederatedToken(id, func(c map[string]any) { c["sub"] = "system:serviceaccount:default:other" })
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", testCertificates.write(t, []byte(other)))
			return dsn
		}, wantErr: "AADSTS70021"},
	{mode: "workload-identity", name: "DSN", setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, emulator.VirtualMachine, id)
		return fill("user='{name}' aad_tenant_id={tenant} aad_client_id={client} aad_federated_token_file=", id) + testCertificates.write(t, []byte(az.FederatedToken(id, nil)))
	}, want: map[string]string{"path": tokenPath, "client_id": "{client}", "assertion sub": "system:serviceaccount:default:{name}"},
		deny: replaceInDSN("{client}", unknownID), wantErr: "AADSTS700016"},
	{mode: "managed-identity", name: "app service, system-assigned", systemAssigned: true, setup: onHost(emulator.AppService, ""),
		want: map[string]string{"path": "/msi/token", "resource": emulator.Resource, "client_id": ""},
		deny: setenv("IDENTITY_HEADER", "wrong"), wantErr: "HTTP 401"},
	{mode: "managed-identity", name: "app service, client id", setup: onHost(emulator.AppService, "aad_client_id={client}"),
		want: map[string]string{"path": "/msi/token", "resource": emulator.Resource, "client_id": "{client}"}, deny: replaceInDSN("{client}", unknownID), wantErr: "HTTP 400"},
	{mode: "managed-identity", name: "app service, object id", setup: onHost(emulator.AppService, "aad_object_id={object}"),
		want: map[string]string{"path": "/msi/token", "object_id": "{object}"}, deny: replaceInDSN("{object}", unknownID), wantErr: "HTTP 400"},
	{mode: "managed-identity", name: "app service, resource id", setup: onHost(emulator.AppService, "aad_resource_id='{resource}'"),
		want: map[string]string{"path": "/msi/token", "mi_res_id": "{resource}"}, deny: replaceInDSN("{resource}", "/none"), wantErr: "HTTP 400"},
	{mode: "managed-identity", name: "virtual machine, system-assigned", systemAssigned: true, setup: onHost(emulator.VirtualMachine, ""),
		want: map[string]string{"host": "169.254.169.254", "path": imdsPath, "resource": emulator.Resource, "client_id": "", "header Metadata": "true"}, deny: failTokens(403), wantErr: "AADSTS90033"},
	{mode: "managed-identity", name: "virtual machine, client id", setup: onHost(emulator.VirtualMachine, "aad_client_id={client}"),
		want: map[string]string{"path": imdsPath, "client_id": "{client}"}, deny: replaceInDSN("{client}", unknownID), wantErr: "assign the identity"},
	{mode: "managed-identity", name: "virtual machine, object id", setup: onHost(emulator.VirtualMachine, "aad_object_id={object}"),
		want: map[string]string{"path": imdsPath, "object_id": "{object}"}, deny: replaceInDSN("{object}", unknownID), wantErr: "assign the identity"},
	{mode: "managed-identity", name: "virtual machine, resource id", setup: onHost(emulator.VirtualMachine, "aad_resource_id='{resource}'"),
		want: map[string]string{"path": imdsPath, "msi_res_id": "{resource}"}, deny: replaceInDSN("{resource}", "/none"), wantErr: "assign the identity"},
	{mode: "managed-identity", name: "machine learning", setup: onHost(emulator.MachineLearning, "aad_client_id={client}"),
		want: map[string]string{"resource": emulator.Resource, "clientid": "{client}"}, deny: replaceInDSN("{client}", unknownID), wantErr: "aadpostgres: token: "},
	{mode: "managed-identity", name: "cloud shell", systemAssigned: true, setup: onHost(emulator.CloudShell, ""),
		want: map[string]string{"resource": emulator.Resource, "header Metadata": "true"}, deny: failTokens(403), wantErr: "AADSTS90033"},
	{mode: "client-secret", setup: onBareHost("user='{name}' aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}'"),
		want: map[string]string{"host": "login.microsoftonline.com", "path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_secret": "{secret}", "scope": scope + "*"},
		deny: replaceInDSN("{secret}", "wrong"), wantErr: "AADSTS7000215"},
	{mode: "client-certificate", name: "PEM", setup: withCertificate(&testCertificates.pem, ""),
		want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_assertion_type": assertionType, "assertion iss": "{client}", "assertion sub": "{client}",
			"assertion aud": "https://login.microsoftonline.com" + tokenPath, "chain": "0", "scope": scope + "*"},
		deny: otherCertificate, wantErr: "AADSTS700027"},
	{mode: "client-certificate", name: "PKCS#12 with password", setup: withCertificate(&testCertificates.pfx, " aad_client_certificate_password="+pfxPassword),
		want: map[string]string{"path": tokenPath, "client_assertion_type": assertionType, "assertion iss": "{client}"}, deny: otherCertificate, wantErr: "AADSTS700027"},
	{mode: "client-certificate", name: "chain", setup: withCertificate(&testCertificates.issued, " aad_send_certificate_chain=true"),
		want: map[string]string{"path": tokenPath, "assertion iss": "{client}", "chain": "2"},
		deny: func(_ *testing.T, _ emulator.Identity, dsn string) string { // Entra trusts its issuer, but does not receive the issuer's certificate
			return strings.Replace(dsn, " aad_send_certificate_chain=true", "", 1)
		}, wantErr: "AADSTS700027"},
	{mode: "azure-cli", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, "aad_tenant_id={tenant} aad_subscription='My Subscription'"),
		want: map[string]string{"path": "/program/az", "arg": "account get-access-token -o json --resource " + emulator.Resource + " --tenant {tenant} --subscription My Subscription"},
		deny: logout, wantErr: "run az login"},
	{mode: "azure-developer-cli", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, "aad_tenant_id={tenant}"),
		want: map[string]string{"path": "/program/azd", "arg": "auth token -o json --no-prompt --scope " + scope + " --tenant-id {tenant}"},
		deny: logout, wantErr: "run azd auth login"},
	{mode: "azure-powershell", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, "aad_tenant_id={tenant}"),
		want: map[string]string{"path": "/program/pwsh", "arg": "-NoProfile*"}, deny: logout, wantErr: "run Connect-AzAccount"},
	{mode: "azure-pipelines", setup: onHost(emulator.Pipelines, "user='{name}'"),
		want: map[string]string{"path": tokenPath, "grant_type": "client_credentials", "client_id": "{client}", "client_assertion_type": assertionType, "assertion sub": "sc://emulator/project/{connection}"},
		deny: setenv("SYSTEM_ACCESSTOKEN", "wrong"), wantErr: "401"},
	{mode: "interactive-browser", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, "aad_tenant_id={tenant} aad_login_hint={name}"),
		want: map[string]string{"path": tokenPath, "grant_type": "authorization_code", "code": "?", "code_verifier": "?", "scope": "*" + scope + "*", "hint": "{name}"},
		deny: logout, wantErr: "AADSTS65004"},
	{mode: "device-code", kind: emulator.User, setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, emulator.VirtualMachine, id)
		az.Login(id)
		t.Cleanup(az.Logout)
		prompted := false
		tr.opts = append(tr.opts, driver.WithDeviceCodePrompt(func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			prompted = m.UserCode != "" && m.VerificationURL != ""
			return nil
		}))
		t.Cleanup(func() {
			if !prompted {
				t.Error("the prompt was not called with a code and a URL")
			}
		})
		return fill("aad_tenant_id={tenant}", id)
	}, want: map[string]string{"path": tokenPath, "grant_type": "*device_code", "device_code": "?"}, deny: logout, wantErr: "denied"},
	{mode: "access-token", name: "file", noAuthority: true, setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		return "aad_token_file=" + testCertificates.write(t, []byte(az.Token(id, nil)+"\n"))
	}, deny: func(t *testing.T, id emulator.Identity, dsn string) string {
		old := az.Token(id, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() })
		return "aad_auth=access-token aad_token_file=" + testCertificates.write(t, []byte(old))
	}, wantErr: "the given access token expired"},
	{mode: "access-token", name: "password", noAuthority: true, setup: func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		t.Setenv("PGPASSWORD", az.Token(id, nil))
		return ""
	}, deny: setenv("PGPASSWORD", ""), wantErr: "no access token is given"},
	{mode: "workload-identity,managed-identity,azure-cli", name: "kubernetes", setup: onHost(emulator.Kubernetes, "user='{name}'"),
		want: map[string]string{"path": tokenPath, "assertion sub": "system:serviceaccount:default:{name}"}, deny: setenv("AZURE_CLIENT_ID", unknownID), wantErr: "AADSTS700016"},
	{mode: "workload-identity,managed-identity,azure-cli", name: "virtual machine", setup: onHost(emulator.VirtualMachine, "aad_client_id={client}"),
		want: map[string]string{"path": imdsPath, "client_id": "{client}"}, deny: replaceInDSN("{client}", unknownID), wantErr: `/ ManagedIdentityCredential: Identity not found (requested identity: "` + unknownID + `"); assign the identity`},
	{mode: "workload-identity,managed-identity,azure-cli", name: "workstation", kind: emulator.User, unixOnly: true, setup: onHost(emulator.Workstation, ""),
		want: map[string]string{"path": "/program/az"}, deny: logout, wantErr: "managed-identity: no instance metadata service answers here / AzureCLICredential: ERROR: Please run 'az login'"},
}

// onBareHost sets up a host whose environment has no credential.
func onBareHost(params string) func(*testing.T, emulator.Identity, *testTransport) string {
	return onHost(emulator.VirtualMachine, params)
}

func failTokens(status int) func(*testing.T, emulator.Identity, string) string {
	return func(t *testing.T, _ emulator.Identity, dsn string) string {
		az.Faults.FailTokens(-1, status)
		t.Cleanup(func() { az.Faults.FailTokens(0, 0) })
		return dsn
	}
}

func withCertificate(data *[]byte, more string) func(*testing.T, emulator.Identity, *testTransport) string {
	return func(t *testing.T, id emulator.Identity, tr *testTransport) string {
		az.SetenvOn(t, emulator.VirtualMachine, id)
		return fill("user='{name}' aad_tenant_id={tenant} aad_client_id={client} aad_client_certificate=", id) + testCertificates.write(t, *data) + more
	}
}

func otherCertificate(t *testing.T, _ emulator.Identity, dsn string) string {
	head, _, _ := strings.Cut(dsn, "aad_client_certificate=")
	return head + "aad_client_certificate=" + testCertificates.write(t, testCertificates.unregistered)
}
