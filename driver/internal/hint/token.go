package hint

const (
	checkResponse = "check what answers the token request"
	checkProxyTLS = "a proxy that intercepts TLS between this machine and {authority}"
)

// token has what fails while a token is requested or checked.
var token = []Rule{
	// This driver's own checks. They come first: these texts quote others.
	{Token, "waiting for the token: ", "", "allow more time, or check that the authority can be reached: the token request was still under way", Ours},
	{Token, "no token was set for this connection", "", "call BeforeConnect of the connector before each connect, and keep the AfterNetConnect that it sets", Ours},
	{Token, "the token is * old, and the credential returned no younger one", "", "raise aad_token_max_age", Ours},
	{Token, "the token is for the audience", "", "request a token for {resource}; set aad_scope only to a scope that you know to be the server's", Ours},
	{Token, "the token is for cloud", "", "request a token for the host's cloud", Ours},
	{Token, "the response holds no token|the response's token has|the response's token holds", "", checkResponse, Ours},
	{Token, "no access token is given", "", "set aad_token_file, or pass the token in the place of the password (PGPASSWORD)", Ours},
	{Token, "the given access token holds quotes", "", "pass the token alone, as az account get-access-token --query accessToken --output tsv prints it", Ours},
	{Token, "the given access token expired at", "", "fetch a new one", Ours},
	{Token, "the given access token is * old", "", "fetch a new one, or raise aad_token_max_age", Ours},
	{Token, "aad_token_file: ", "", "set aad_token_file to a regular file that this process can read", Ours},
	{Token, "asked for the managed identity", "", "assign the identity to this host, or correct its ID", Ours},
	{Token, "without tls|is not followed with a secret", "", "check aad_authority_host and the variables of the managed identity's endpoint: a secret is sent only over TLS, and not to where a response redirects", Ours},

	// Entra's documented codes.
	{Token, "aadsts7000215:", "", "check the client secret: set its value, not its ID", Documented},
	{Token, "aadsts7000222:", "", "create a new client secret: this one has expired", Documented},
	{Token, "aadsts7000112:", "", "ask an administrator to enable the application, or sign in as another one", Documented},
	{Token, "aadsts700016:", "", "correct aad_client_id and aad_tenant_id: the application is not in that tenant", Documented},
	{Token, "aadsts700027:", "", "add this certificate to the application, or sign in with the certificate that it has", Documented},
	{Token, "aadsts700211:|aadsts700212:|aadsts70021:", "", "add a federated credential for this issuer, subject and audience to the identity", Documented},
	{Token, "aadsts700213:", "", "check the subject of the identity's federated credential: it differs from this token's", Inferred},
	{Token, "aadsts700024:", "", "check this machine's clock, and the age of the federated token: it is outside its validity", Inferred},
	{Token, "aadsts700082:|aadsts50173:", "", "sign in again, for example with az login: the stored sign-in is too old or was revoked", Documented},
	{Token, "aadsts50034:", "", "correct the account's name, or aad_tenant_id: the user is not in that directory", Documented},
	{Token, "aadsts50020:|aadsts90072:", "", "set aad_tenant_id to the server's tenant, and have the account invited there: it is in another tenant", Documented},
	{Token, "aadsts50076:|aadsts50079:", "", "sign in again with a second factor: az login, or aad_auth=interactive-browser", Documented},
	{Token, "aadsts53003:", "", "sign in from where the tenant's Conditional Access allows it, or ask for a change of the policy", Documented},
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
	{Token, "defaultazurecredential", "", "name the mode to see its own error, as in aad_auth=managed-identity, or azure-cli on a laptop", Seen},
	{Token, "is not assigned to this resource|identity not found|no user assigned or delegated managed identity", "", "assign the identity to this host, or correct its ID", Seen},
	{Token, "too many requests|http 429", "", "wait: the authority has received too many requests, and gets no further ones until its Retry-After is over", Documented},
	{Token, "http 500|http 502|http 503|http 504|aadsts90033:", "", "try again in a moment, and check Azure's status: the authority reports an error of its own", Inferred},
	{Token, "malformed http|malformed mime|error parsing the json|json decode error|missing access_token|longer than 1 mib|is not json", "", "check for a proxy or a captive portal between this machine and {authority}: the response is not an authority's", Seen},
	{Token, "managed identity timed out|no instance metadata service|169.254.169.254", "", "check that this host has a managed identity, and that this process can reach its endpoint; elsewhere set aad_auth to another mode, such as azure-cli", Seen},
	{Token, "az login", "", "run az login", Seen},
	{Token, "azd auth login", "", "run azd auth login", Seen},
	{Token, "connect-azaccount", "", "run Connect-AzAccount in PowerShell", Seen},
	{Token, "executable not found", "", "install the tool that aad_auth names, or use another mode", Seen},
	{Token, "certificate signed by unknown authority|certificate is not trusted", "", "check that this machine has root certificates (package ca-certificates), and for " + checkProxyTLS + "; if the proxy is your organization's, add its certificate to the system's roots (SSL_CERT_FILE)", Inferred},
	{Token, "no such host", "", "check aad_authority_host, and that this machine can resolve {authority}", Inferred},
	{Token, "connection refused|network is unreachable|no route to host|connection reset", "", "check the network between this machine and {authority}, including a proxy (HTTPS_PROXY)", Inferred},
	{Token, "certificate has expired or is not yet valid", "", "check this machine's clock, and for " + checkProxyTLS + ": a certificate there is not valid now", Seen},
	{Token, "certificate is valid for|certificate is not valid for|cannot validate certificate for", "", "check aad_authority_host, and for " + checkProxyTLS + ": the certificate is for another name", Inferred},
	{Token, "eof|broken pipe|connection broken|closed network connection", "", "check for a firewall or proxy that closes connections to {authority}", Inferred},
	{Token, "deadline exceeded|timed out", "", "check the network between this machine and {authority}, or raise aad_token_timeout: there was no response in time", Inferred},
	{Token, "requesting a younger token: ", "", "raise aad_token_max_age: the token is too old, and this credential cannot request a younger one", Ours},
}
