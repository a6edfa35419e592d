package driver

import "strings"

// How a row of the table of hints is known. Only what is documented or was seen
// in a run is promised; other hints say "check".
type standing string

const (
	documented standing = "documented"
	run        standing = "seen in a run" // of the library that says it, not of Azure
	reported   standing = "reported by users"
	inferred   standing = "inferred"
)

// A row of the table of hints says what to do about a text. The text is matched
// as plain has it; | separates wordings, * stands for anything, and a word in
// brackets is one of situation.marks. In hints braces hold one of situation.fill.
// The first row that matches is taken.
type row struct {
	step, text, hint string
	standing         standing
}

const (
	check = "check that role {role} was made for Entra and is spelled the same, capitals included; if not, {create}"
	// PgBouncer's MAX_PASSWORD was 2048 up to 1.25, and it hangs up on a longer one.
	tooLong = "check the token's length: PgBouncer before 1.26 takes none of more than 2,047 characters, as a person's with many groups; sign in with another identity, or connect to port 5432, past it"
)

var hints = []row{
	// Server. Two wordings of Azure's texts are about; plain makes them one.
	{StepSignIn, "server login has been failing|query_wait_timeout", "check PgBouncer's log for the server's error: it opens sessions with the token that it was shown last; SetConnMaxLifetime has it shown newer ones", run},
	{StepSignIn, "password authentication failed*[extra @server]|requested scram-sha-256*[extra @server]|requested md5*[extra @server]",
		"set user={bare}: check whether this is a single server, for only they want {suffix} after the name", documented},
	{StepSignIn, "password authentication failed*[double @server]|requested scram-sha-256*[double @server]", "set user={bare}: {suffix} is there twice", documented},
	{StepSignIn, "password authentication failed*[person's name, application's token]|requested scram-sha-256*[person's name, application's token]",
		"check who signs in: {role} looks like a person's name, the token is an application's; set user to the application's role, or sign in as the person, with aad_auth=azure-cli say", inferred},
	{StepSignIn, "server requested scram-sha-256|server requested md5",
		check, reported},
	{StepSignIn, "password authentication failed", check, documented},
	{StepSignIn, "server did not complete", "check the host: it lets everyone in, which Azure never does", inferred},
	{StepSignIn, "server requested", "check the host: it asks for a sign-in that Azure does not offer", inferred},
	{StepSignIn, "access token has expired*[clock]", "check this machine's clock: it is {clock} the authority's", inferred},
	{StepSignIn, "access token has expired*[given token]", "check this machine's clock, and fetch a new token: the one given was issued {age} ago", reported},
	{StepSignIn, "access token has expired", "check this machine's clock, or set aad_token_max_age=5m to present younger tokens", reported},
	{StepSignIn, "valid audience claim*[resource]", "set {audience}: check that this is the server you mean, for it asks for a token of that resource", reported},
	{StepSignIn, "valid audience claim", "check the host before anything else: the resource that it names is none known here, or is what the token is for; set aad_scope only to what you know to be the server's", inferred},
	{StepSignIn, "access token has invalid format", "check that the token is passed as it was issued, without quotes, spaces or line breaks, and is no password", reported},
	{StepSignIn, "valid oid claim", "check who signs in: the server wants a token with the claim oid, of a user, a service principal or a managed identity", inferred},
	{StepSignIn, "error occurred while validating the access token", "check that the token is of the server's own tenant and cloud, and no password", reported},
	{StepSignIn, "cannot generate aad_auth_tokentype_app_user", "check who signs in: role {role} is an application's, the token a person's; sign in as that application, or set user={self}", reported},
	{StepSignIn, "neither an aad_auth_tokentype_app", "check who signs in: role {role} is a person's, the token an application's; set user to the application's role{selfOr}", reported},
	{StepSignIn, "service principal oid mismatch*[application's token]", "check that role {role} was made for the object id of this identity, which may have been made anew; to give it the role (an administrator's label ends in ,admin), {rebind}", reported},
	{StepSignIn, "oid mismatch", "check that role {role} was made for the object id of this identity, and who signs in", reported},
	{StepSignIn, "not valid for role*does not contain group", "check that this identity is a member of group {role}; a new membership can take until the next token, a day for a managed identity", reported},
	{StepSignIn, "not valid for role", "check that role {role} is this identity's, or a group's that it is a member of", reported},
	{StepSignIn, "invalid username specified*[address]|username@hostname*[address]",
		"check whether this is a single server, and connect by its name, which an address does not tell, or write it after the user's: user=me@contoso.com@server", reported},
	{StepSignIn, "invalid username specified|username@hostname", "check whether this is a single server: aad_server_type=single ends the user in {suffix}", reported},
	{StepSignIn, "ssl connection is required", "check for sslmode=disable and aad_insecure=plaintext, and drop them: the server wants TLS", reported},
	{StepSignIn, "no pg_hba.conf entry*no encryption|no pg_hba.conf entry*ssl off", "drop sslmode=disable and aad_insecure=plaintext: the server wants TLS", documented},
	{StepSignIn, "no pg_hba.conf entry", "allow this machine in the server's firewall rules, and check that Entra authentication is on", documented},
	{StepSignIn, "client sent partial pkt in startup|password too long", tooLong, run},
	{StepSignIn, "pam authentication failed*[long token]", tooLong, run},
	{StepSignIn, "pam authentication failed", "check who signs in: PgBouncer has refused the token; connect to port 5432, past it, to see the server's own error", run},
	{StepSignIn, "unsupported startup parameter", "check the DSN for a key that is a setting, which PgBouncer does not take at startup: drop it, or give it to the role: ALTER ROLE {roleName} SET ...", reported},
	{StepSignIn, "no more connections allowed", "lower SetMaxOpenConns of all pools together: PgBouncer has no client connection left", documented},
	{StepSignIn, "cannot read pg_class without having selected", "check for an update of the server: PostgreSQL 18 was reported to say so with Entra roles", reported},
	{StepSignIn, "too many clients|remaining connection slots|too many connections", "lower SetMaxOpenConns of all pools together, or raise the server's max_connections", documented},
	{StepSignIn, "is starting up|is shutting down|not yet accepting connections|in recovery mode", "try again in a moment: the server is starting or stopping", documented},
	{StepSignIn, "permission denied for database", "run as the database's owner: GRANT CONNECT ON DATABASE {database} TO {roleName};", documented},
	{StepSignIn, "database*does not exist", "correct dbname, or create the database", documented},
	{StepSignIn, "is not permitted to log in", "run as administrator: ALTER ROLE {roleName} LOGIN;", documented},
	{StepSignIn, "unrecognized configuration parameter", "correct or drop that key of the DSN: what pgx does not know is sent to the server as a setting", run},
	{StepSignIn, "read only connection|in hot standby mode|in standby mode", "correct target_session_attrs or the hosts: no server is of that kind now", run},

	// Credential: where it is made.
	{StepCredential, "check pod configuration", "give the pod a workload identity, or set aad_client_id, aad_tenant_id and aad_federated_token_file", run},
	{StepCredential, "environment variable azure_|incomplete environment variable", "set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH", run},
	{StepCredential, "system_oidcrequesturi", "run in Azure Pipelines, or name another aad_auth", run},
	{StepCredential, "azure_token_credentials", "correct the variable AZURE_TOKEN_CREDENTIALS, or unset it", run},

	// Token: Entra's documented codes.
	{StepToken, "aadsts7000215:", "check the client secret: its value, not its id", documented},
	{StepToken, "aadsts7000222:", "make a new client secret: this one has expired", documented},
	{StepToken, "aadsts7000112:", "have the application enabled again, or sign in as another", documented},
	{StepToken, "aadsts700016:", "correct aad_client_id and aad_tenant_id: the application is not in that tenant", documented},
	{StepToken, "aadsts700027:", "give the application this certificate, or sign in with the one it has", documented},
	{StepToken, "aadsts700211:|aadsts700212:|aadsts70021:", "add a federated credential for this issuer, subject and audience to the identity", documented},
	{StepToken, "aadsts700213:", "check the subject of the identity's federated credential: it is not this token's", inferred},
	{StepToken, "aadsts700024:", "check this machine's clock, and the age of the federated token: it is outside its valid time", inferred},
	{StepToken, "aadsts700082:|aadsts50173:", "sign in again, with az login say: the stored sign-in is too old or was revoked", documented},
	{StepToken, "aadsts50034:", "correct the account's name, or aad_tenant_id: the user is not in that directory", documented},
	{StepToken, "aadsts50020:|aadsts90072:", "set aad_tenant_id to the server's tenant, and have the account invited there: it is of another one", documented},
	{StepToken, "aadsts50076:|aadsts50079:", "sign in again with a second factor: az login, or aad_auth=interactive-browser", documented},
	{StepToken, "aadsts53003:", "sign in from where the tenant's Conditional Access allows it, or have the policy changed", documented},
	{StepToken, "aadsts65001:", "have the application consented to in the tenant, for Azure OSSRDBMS Database", documented},
	{StepToken, "aadsts50001:|aadsts500011:", "check aad_scope and aad_cloud, and aad_tenant_id: the tenant does not know resource {resource}", documented},
	{StepToken, "aadsts50049:", "check aad_authority_host: the public cloud does not know it; for one of your own set aad_disable_instance_discovery=true", inferred},
	{StepToken, "aadsts90002:", "correct aad_tenant_id and aad_cloud: there is no such tenant at {authority}", documented},
	{StepToken, "aadsts900382:|aadsts90038:", "correct aad_cloud: the tenant is of another cloud than {authority}", documented},
	{StepToken, "aadsts50196:", "check for a loop that signs in: the authority has stopped answering it", documented},
	{StepToken, "aadsts90055:", "wait: the tenant gets more requests than it may make", documented},

	// Token: managed identity, developer's tools, the way to the authority.
	{StepToken, "the token expired at*[clock]|aadsts*[clock]", "check this machine's clock: it is {clock} the authority's", inferred},
	{StepToken, "the token expired at", "get a new one, and check this machine's clock", inferred},
	{StepToken, "multiple user assigned identities", "set aad_client_id to one of the host's identities: check which, it has several", reported},
	{StepToken, "defaultazurecredential", "name the mode to see its own error, as in aad_auth=managed-identity, or azure-cli on a laptop", run},
	{StepToken, "is not assigned to this resource|identity not found|no user assigned or delegated managed identity", "assign the identity to this host, or correct its id", run},
	{StepToken, "too many requests|http 429", "wait: the authority has had too many requests, and is left alone as long as it asked", documented},
	{StepToken, "http 500|http 502|http 503|http 504|aadsts90033:", "try again in a moment, and check Azure's status: the authority has trouble of its own", inferred},
	{StepToken, "malformed http|malformed mime|error parsing the json|json decode error|missing access_token|longer than 1 mib|is not json",
		"check for a proxy or a page to sign in at on the way to {authority}: what answers there is none", run},
	{StepToken, "managed identity timed out|no instance metadata service|169.254.169.254", "name a mode that works here, such as azure-cli: no managed identity answers", run},
	{StepToken, "az login", "run az login", run},
	{StepToken, "azd auth login", "run azd auth login", run},
	{StepToken, "connect-azaccount", "run Connect-AzAccount in PowerShell", run},
	{StepToken, "executable not found", "install the tool that aad_auth names, or use another mode", run},
	{StepToken, "certificate signed by unknown authority|certificate is not trusted", "check for a proxy that opens TLS on the way to {authority}: add its certificate to the system's roots (SSL_CERT_FILE)", inferred},
	{StepToken, "no such host", "check that this machine can look up {authority}, and aad_authority_host", inferred},
	{StepToken, "connection refused|network is unreachable|no route to host|connection reset", "check the way to {authority}, a proxy (HTTPS_PROXY) included", inferred},
	{StepToken, "certificate has expired or is not yet valid", "check this machine's clock, and for a proxy that opens TLS on the way to {authority}: a certificate there does not hold now", run},
	{StepToken, "certificate is valid for|certificate is not valid for|cannot validate certificate for", "check for a proxy that opens TLS on the way to {authority}, and aad_authority_host: the certificate is another's", inferred},
	{StepToken, "eof|broken pipe|connection broken|closed network connection", "check for a firewall or proxy that cuts the way to {authority}", inferred},
	{StepToken, "deadline exceeded|timed out", "check the way to {authority}, or raise aad_token_timeout: it did not answer in time", inferred},

	// TLS.
	{StepTLS, "certificate is valid for|certificate is not valid for|cannot validate certificate for|certificate relies on legacy", "check the host, and connect by the server's own full name: the certificate is for {names}", run},
	{StepTLS, "signed by unknown authority|certificate is not trusted", "name the certificate authority's file with sslrootcert; Azure's own are in the system's roots", run},
	{StepTLS, "has expired or is not yet valid", "check this machine's clock: a certificate of the server does not hold now", run},
	{StepTLS, "server refused tls", "check host and port, and what stands in the way: Azure always speaks TLS", run},
	{StepTLS, "does not look like a tls handshake", "check host and port: what answers there is no PostgreSQL", run},
	{StepTLS, "protocol version not supported|handshake failure", "check what stands between here and the server: Azure speaks TLS 1.2 and 1.3", inferred},

	// Network.
	{StepNetwork, "no such host|server misbehaving", "check the name {host}; that of a server with private access is known inside its network only (private DNS zone)", documented},
	{StepNetwork, "lookup*i/o timeout|lookup*timed out", "check this machine's name servers: they do not answer", run},
	{StepNetwork, "connection refused", "check host and port (5432, or 6432 for PgBouncer): nothing listens there", run},
	{StepNetwork, "network is unreachable|no route to host", "check the way to {host}: a server with private access is reached from its network only", run},
	{StepNetwork, "read tcp*i/o timeout", "check host and port: what listens there takes connections and says nothing", inferred},
	{StepNetwork, "i/o timeout|deadline exceeded|timed out", "allow this machine in the server's firewall rules, or connect from the server's network; a distant server needs a longer connect_timeout", documented},
	{StepNetwork, "invalid body length|says more than a sign-in takes|asks again and again", "check host and port: what answers there is no PostgreSQL", run},
	{StepNetwork, "connection reset*[long token]|broken pipe*[long token]|eof*[long token]", tooLong, run},
	{StepNetwork, "connection reset|unexpected eof|eof|broken pipe", "check for a firewall or proxy between here and the server that cuts PostgreSQL off", inferred},

	// Role: making one.
	{StepRole, "function pg_catalog.pgaadauth*does not exist|function pgaadauth*does not exist", "connect to database postgres of a flexible server: only there is that function; single server wants -server-type single", documented},
	{StepRole, "permission denied for function pgaadauth", "check who signs in: an Entra administrator of the server may make Entra roles, the password administrator may not", reported},
	{StepRole, "is not unique in the tenant", "give the principal's object id, and check it: several have this name", reported},
	{StepRole, "not found in the tenant", "correct the name, or give the principal's object id", documented},
	{StepRole, "unrecognized configuration parameter*aad_validate|role*azure_ad_user*does not exist", "check the kind of server, and use -server-type flexible: this is no single server", reported},
	{StepRole, "permission denied to create role|must have createrole|permission denied to grant role|must have admin option", "sign in as the server's Entra administrator", documented},
	{StepRole, "role*already exists", "drop the role first, or give it to the principal: {rebind}", documented},
}

// plain makes the wordings of a text one: lower case, no contractions, the
// names that Entra has had.
var plain = strings.NewReplacer("doesn't", "does not", "isn't", "is not", "hasn't", "has not", "please ", "", "azure ad ", "microsoft entra ").Replace

// find returns the first row of one of the steps that text matches, or nil.
func find(text string, steps ...string) *row {
	text = plain(strings.ToLower(text))
	for i := range hints {
		for _, step := range steps {
			if hints[i].step == step && hints[i].matches(text) {
				return &hints[i]
			}
		}
	}
	return nil
}

func (r *row) matches(text string) bool {
	for wording := range strings.SplitSeq(r.text, "|") {
		rest, ok := text, true
		for part := range strings.SplitSeq(wording, "*") {
			if _, rest, ok = strings.Cut(rest, part); !ok {
				break
			}
		}
		if ok {
			return true
		}
	}
	return false
}
