package hint

const (
	checkResponse = "check what answers the token request"
	checkHost     = "check that this host has a managed identity, and that this process can reach its endpoint; elsewhere set aad_auth to another mode, such as azure-cli"
	checkProxyTLS = "a proxy that intercepts TLS between this machine and {authority}"

	// The two wordings of Go, and what it says where it cannot read the system's roots.
	unknownAuthority = "signed by unknown authority|certificate is not trusted|failed to load system roots"
	correctRoots     = "correct {certificate_variable}: there is no certificate, and this machine has no other root certificates"
	installRoots     = "install root certificates (package ca-certificates), or copy /etc/ssl/certs/ca-certificates.crt into the image: this machine has none"

	mfaCodes   = "aadsts50072:|aadsts50074:|aadsts50076:|aadsts50078:|aadsts50079:"
	staleCodes = "aadsts700082:|aadsts50173:|aadsts70008:|aadsts70043:|aadsts50132:|aadsts50133:"
)

// token has what fails while a token is requested or checked.
var token = []Rule{
	// This driver's own checks. They come first: these texts quote others.
	{Token, "waiting for the token: ", "", "allow more time, or run {try_command} in a terminal to see what the developer tool waits for: the token request was still under way", Ours},
	{Token, "waiting for the token: ", "", "allow more time, or check that the authority can be reached: the token request was still under way", Ours},
	{Token, "no token was set for this connection", "", "call BeforeConnect of the connector before each connect, and keep the AfterNetConnect that it sets", Ours},
	{Token, "the token is * old, and the credential returned no younger one", "", "raise aad_token_max_age", Ours},
	{Token, "the token is for the audience", "", "request a token for {resource}; set aad_scope only to a scope that you know to be the server's", Ours},
	{Token, "the token is for cloud", "", "request a token for the host's cloud", Ours},
	{Token, "nobody has signed in before the time was up", "", "sign in sooner, or raise aad_token_timeout", Ours},
	{Token, "did not finish in time", "", "run {try_command} in a terminal to see what it waits for, or raise aad_token_timeout", Ours},
	{Token, "did not finish in time", "", "check what the developer tool waits for, or raise aad_token_timeout", Ours},
	{Token, "did not respond in time", "", "check what this credential waits for, or raise aad_token_timeout", Ours},
	{Token, "the credential panicked|the credential has ended its goroutine", "", "correct the credential, or the function that it calls: it must return a token or an error", Ours},
	{Token, "none of the credentials is available here", "", "check which of them this host is to have: a managed identity is assigned in Azure, a developer tool is installed and signed in (az login); or set aad_auth to a mode that works here", Ours},
	{Token, "the federated token's file * does not exist", "", "mount the federated token there, or correct aad_federated_token_file (AZURE_FEDERATED_TOKEN_FILE)", Ours},
	{Token, "the federated token's file", "", "write the federated token alone into a file that this process can read, in UTF-8 without a byte order mark", Ours},
	{Token, "white space or a byte order mark around the secret", "", "remove the white space, line break or byte order mark from the client secret or its variable", Ours},
	{Token, "requesting a younger token: *claims-challenge|requesting a younger token: *claimschallenge", "", "raise aad_token_max_age: this developer tool returns no younger token on request", Seen},
	{Token, "the response holds no token|the response's token", "", checkResponse, Ours},
	{Token, "aad_token_file: * is empty", "", "write the token into that file, as az account get-access-token --query accessToken --output tsv prints it", Ours},
	{Token, "no access token is given", "", "set aad_token_file, or pass the token in the place of the password (PGPASSWORD)", Ours},
	{Token, "the given access token expired at", "", "fetch a new one", Ours},
	{Token, "the given access token is * old", "", "fetch a new one, or raise aad_token_max_age", Ours},
	{Token, "the given access token", "", "pass the token alone, as az account get-access-token --query accessToken --output tsv prints it", Ours},
	{Token, "aad_token_file: ", "", "set aad_token_file to a regular file that this process can read", Ours},
	{Token, "asked for the managed identity", "", "assign the identity to this host, or correct its ID", Ours},
	{Token, "without tls|is not followed with a secret", "", "check aad_authority_host and the variables of the managed identity's endpoint: a secret is sent only over TLS, and not to where a response redirects", Ours},

	// Entra's codes. Where a developer tool was refused, its own sign-in is the remedy.
	{Token, "claims-challenge|claimschallenge", "", "run {login_command}; if that is not enough, run {try_command} and then the command that it prints: its claims challenge is left out here", Seen},
	{Token, mfaCodes, "", "run {login_command} and pass the second factor", Documented},
	{Token, mfaCodes, "", "sign in again with a second factor: az login, or aad_auth=interactive-browser", Documented},
	{Token, staleCodes, "", "run {login_command}: the stored sign-in is too old or was revoked", Documented},
	{Token, staleCodes, "", "sign in again, for example with az login: the stored sign-in is too old or was revoked", Documented},
	{Token, "aadsts53003:|aadsts530032:", "", "run {login_command} from where the tenant's Conditional Access allows it, or ask for a change of the policy", Documented},
	{Token, "aadsts53003:|aadsts530032:", "", "sign in from where the tenant's Conditional Access allows it, or ask for a change of the policy", Documented},
	{Token, "aadsts53000:|aadsts53001:", "", "sign in from a device that the tenant's Conditional Access accepts (53000: compliant, 53001: joined to its domain), or ask for a change of the policy", Documented},
	{Token, "aadsts530003:", "", "check the device: the tenant's Conditional Access wants a managed one; sign in from such a device, or ask for a change of the policy", Reported},
	{Token, "aadsts50131:", "", "ask an administrator for this entry of the tenant's sign-in log: Conditional Access refuses the device, the place or the risk", Documented},
	{Token, "aadsts50105:", "", "ask an administrator to assign the user to the application that the error names", Documented},
	{Token, "aadsts501051:", "", "check which application the error names, and ask its administrator to assign the signed-in application to it", Reported},
	{Token, "aadsts50057:", "", "ask an administrator to enable the user's account: it is disabled", Documented},
	{Token, "aadsts7000229:", "", "check aad_tenant_id; if it is right, ask an administrator of that tenant to run az ad sp create --id with the application's client ID: the application has no service principal there", Reported},
	{Token, "aadsts50194:", "", "set aad_tenant_id to the application's own tenant: it is not a multitenant application", Documented},
	{Token, "aadsts7000218:", "", "check that the application allows public client flows, which device-code and interactive-browser need, or use aad_auth=client-secret or client-certificate", Inferred},
	{Token, "aadsts70011:", "", "correct aad_scope: the authority does not accept it; a scope is a resource followed by /.default", Documented},
	{Token, "aadsts1002012:", "", "check aad_scope: a scope is a resource followed by /.default", Reported},
	{Token, "aadsts50027:", "", "correct the federated token or assertion: its format, issuer, audience or validity is wrong", Documented},
	{Token, "aadsts7000215:", "", "check the client secret: set its value, not its ID", Documented},
	{Token, "aadsts7000222:", "", "create a new client secret: this one has expired", Documented},
	{Token, "aadsts7000112:", "", "ask an administrator to enable the application, or sign in as another one", Documented},
	{Token, "aadsts700016:", "", "correct aad_client_id and aad_tenant_id: the application is not in that tenant", Documented},
	{Token, "aadsts700027:", "", "add this certificate to the application, or sign in with the certificate that it has", Documented},
	{Token, "aadsts700211:|aadsts700212:", "", "add a federated credential for this issuer, subject and audience to the identity", Documented},
	{Token, "aadsts700213:", "", "check the subject of the identity's federated credential: it differs from this token's; if the credential was just created, try again in a few minutes", Reported},
	{Token, "aadsts70021:", "", "check that the identity has a federated credential for this issuer, subject and audience; if it was just created, try again in a few minutes", Reported},
	{Token, "aadsts700024:", "", "check this machine's clock, and the age of the federated token: it is outside its validity", Inferred},
	{Token, "aadsts50034:", "", "correct the account's name, or aad_tenant_id: the user is not in that directory", Documented},
	{Token, "aadsts50020:|aadsts90072:", "", "set aad_tenant_id to the server's tenant, and have the account invited there: it is in another tenant", Documented},
	{Token, "aadsts65001:", "", "ask an administrator of the tenant to consent to the application for Azure OSSRDBMS Database", Documented},
	{Token, "aadsts50001:|aadsts500011:", "", "check aad_scope and aad_cloud, and aad_tenant_id: the tenant does not know resource {resource}", Documented},
	{Token, "aadsts50049:", "", "check aad_authority_host: the public cloud does not know it; for a private authority set aad_disable_instance_discovery=true", Inferred},
	{Token, "aadsts90002:", "", "correct aad_tenant_id and aad_cloud: there is no such tenant at {authority}", Documented},
	{Token, "aadsts900382:|aadsts90038:", "", "correct aad_cloud: the tenant is in another cloud than {authority}", Documented},
	{Token, "aadsts50196:", "", "check for a loop that signs in: the authority has stopped responding to it", Documented},
	{Token, "aadsts90055:", "", "wait: the tenant receives more requests than its limit", Documented},

	// Managed identity, developer tools, the network to the authority.
	{Token, "the token expired at|aadsts", "", "check this machine's clock: it is {skew} the authority's", Inferred},
	{Token, "the token expired at", "", "fetch a new one, and check this machine's clock", Inferred},
	{Token, "multiple user assigned identities", "", "set aad_client_id to one of the host's identities: check which one, because it has several", Reported},
	{Token, "is not assigned to this resource|no user assigned or delegated managed identity", "", "assign the identity to this host, or correct its ID", Seen},
	{Token, "unable to load the proper managed identity*requested identity: the host's own", "", "set aad_client_id (AZURE_CLIENT_ID in mode default), or give this host a system-assigned identity: check which identities it has", Reported},
	{Token, "unable to load the proper managed identity", "", "assign the identity to this host, or correct its ID: check which identities the host has", Reported},
	{Token, "failed to authenticate a system assigned identity*identity not found", "", "set aad_client_id (AZURE_CLIENT_ID in mode default) to a user-assigned identity of this host, or give this host a system-assigned identity", Seen},
	{Token, "identity not found", "", "assign the identity to this host, or correct its ID", Seen},
	{Token, "is not json of a metadata service", "", "check that this host has a managed identity, and what answers at its endpoint, such as a proxy of the program's own transport; elsewhere set aad_auth to another mode, such as azure-cli", Ours},
	{Token, "the managed identity's endpoint ", "", checkHost, Ours},
	{Token, "too many requests|http 429", "", "wait: the authority has received too many requests, and gets no further ones until its Retry-After is over", Documented},
	{Token, "http 500|http 502|http 503|http 504|aadsts90033:", "", "try again in a moment, and check Azure's status: the authority reports an error of its own", Inferred},
	{Token, "malformed http|malformed mime|error parsing the json|json decode error|missing access_token|longer than 1 mib|is not json", "", "check for a proxy or a captive portal between this machine and {authority}: the response is not an authority's", Seen},
	{Token, "managed identity timed out|no instance metadata service|169.254.169.254", "", checkHost, Seen},
	{Token, "az login*--|azd auth login*--|interactive authentication is needed|interaction is required|interaction_required|reauthentication required", "", "run {login_command}", Seen},
	{Token, "az login", "", "run az login", Seen},
	{Token, "azd auth login", "", "run azd auth login", Seen},
	{Token, "connect-azaccount", "", "run {login_command}", Seen},
	{Token, "connect-azaccount", "", "run Connect-AzAccount in PowerShell", Seen},
	{Token, "az.accounts module not found", "", "run Install-Module Az.Accounts in PowerShell", Seen},
	{Token, "executable not found", "", "install the tool that aad_auth names, or use another mode", Seen},
	{Token, "invalid character*looking for beginning|unexpected end of json input", "", "run {try_command} in a terminal: what the developer tool has printed is not a token", Seen},
	{Token, "certificate verify failed|self-signed certificate|self signed certificate|" + unknownAuthority, "", "check for a proxy that intercepts TLS, and make its certificate known to the developer tool (az reads REQUESTS_CA_BUNDLE): {try_command} shows whether that is enough", Inferred},
	{Token, "max retries exceeded|failed to establish a new connection|name resolution|getaddrinfo failed|no such host|connection refused|network is unreachable|no route to host|connection reset|deadline exceeded|timed out|" + windowsUnreachable + "|" + windowsClosed, "", "check the network of the developer tool: run {try_command} in a terminal", Inferred},
	{Token, unknownAuthority, "", correctRoots, Seen},
	{Token, unknownAuthority, "no_roots", installRoots, Seen},
	{Token, unknownAuthority, "", "check that this machine has root certificates (package ca-certificates), and for " + checkProxyTLS + "; if the proxy is your organization's, add its certificate to the system's roots (SSL_CERT_FILE)", Inferred},
	{Token, "no such host", "", "check aad_authority_host, and that this machine can resolve {authority}", Inferred},
	{Token, "connection refused|network is unreachable|no route to host|connection reset|" + windowsUnreachable + "|" + windowsClosed, "", "check the network between this machine and {authority}, including a proxy (HTTPS_PROXY)", Inferred},
	{Token, "certificate has expired or is not yet valid", "", "check this machine's clock, and for " + checkProxyTLS + ": a certificate there is not valid now", Seen},
	{Token, "certificate is valid for|certificate is not valid for|cannot validate certificate for", "", "check aad_authority_host, and for " + checkProxyTLS + ": the certificate is for another name", Inferred},
	{Token, "eof|broken pipe|connection broken|closed network connection", "", "check for a firewall or proxy that closes connections to {authority}", Inferred},
	{Token, "deadline exceeded|timed out", "asked", "check the network between this machine and {authority}, or raise aad_token_timeout: there was no response in time", Inferred},
	{Token, "deadline exceeded|timed out", "", "check what the credential waits for, or raise aad_token_timeout: it returned nothing in time", Inferred},
	{Token, "requesting a younger token: ", "", "raise aad_token_max_age: the token is too old, and this credential cannot request a younger one", Ours},
}
