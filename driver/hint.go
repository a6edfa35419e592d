package driver

import (
	"fmt"
	"strings"
)

// A row says what to do about a text, matched in lower case. Texts of the server
// are third-party reports, both wordings; those of Entra are its documented codes.
type row struct {
	step, text, hint string
}

var hints = []row{
	{StepSignIn, "server requested scram-sha-256", "check that role %q was made for Entra (SELECT * FROM pgaadauth_create_principal(...)) and spelled alike: the server asks for a password, which it does for roles that are not"},
	{StepSignIn, "server requested md5", "check that role %q was made for Entra: the server asks for a password, which it does for roles that are not"},
	{StepSignIn, "server did not complete", "check the host: it lets everyone in, which Azure never does"},
	{StepSignIn, "password authentication failed", "check that role %q exists, was made for Entra, and is spelled alike, capitals included; on single server it ends in @servername"},
	{StepSignIn, "the access token has expired", "check this machine's clock, and that the token is not a stored one"},
	{StepSignIn, "valid audience claim", "set aad_scope to the resource that the server names, and /.default"},
	{StepSignIn, "oid mismatch", "check that role %q was made for the object id of this identity, and make it anew if the identity was recreated"},
	{StepSignIn, "not valid for role", "check that this identity is a member of group %q; a new membership can take hours to show"},
	{StepSignIn, "neither an aad_auth_tokentype_app", "check who signs in: role %q is a user's, the token an application's"},
	{StepSignIn, "service principals cannot generate", "check who signs in: role %q is an application's, the token a user's"},
	{StepSignIn, "invalid username specified", "set aad_server_type=single, or end the user in @servername"},
	{StepCredential, "check pod configuration", "give the pod a workload identity, or set aad_client_id, aad_tenant_id and aad_federated_token_file"},
	{StepCredential, "environment variable azure_", "set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH"},
	{StepCredential, "incomplete environment variable", "set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH"},
	{StepCredential, "system_oidcrequesturi", "run in Azure Pipelines, or name another aad_auth"},
	{StepToken, "aadsts7000215", "check the client secret: its value, not its id"},
	{StepToken, "aadsts7000222", "make a new client secret: this one has expired"},
	{StepToken, "aadsts700016", "check aad_client_id and aad_tenant_id: the application is not in that tenant"},
	{StepToken, "aadsts90002", "check aad_tenant_id and aad_cloud: there is no such tenant"},
	{StepToken, "aadsts500011", "check aad_scope and aad_cloud: the tenant does not know that resource"},
	{StepToken, "defaultazurecredential", "name the mode to see its own error, as in aad_auth=managed-identity, or azure-cli on a laptop"},
	{StepToken, "az login", "run az login"},
	{StepToken, "azd auth login", "run azd auth login"},
	{StepToken, "connect-azaccount", "run Connect-AzAccount in PowerShell"},
	{StepToken, "no instance metadata service", "name a mode that works here, such as azure-cli"},
	{StepToken, "isn't assigned to this resource", "assign the identity to this host, or correct its id"},
	{StepToken, "executable not found", "install the tool that aad_auth names, or use another mode"},
}

// hint finds what to do about text at that step, or "".
func hint(step, text, role string) string {
	text = strings.ToLower(text)
	for _, r := range hints {
		if r.step == step && strings.Contains(text, r.text) {
			if strings.Contains(r.hint, "%q") {
				return fmt.Sprintf(r.hint, role)
			}
			return r.hint
		}
	}
	return ""
}
