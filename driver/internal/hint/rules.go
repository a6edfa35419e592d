package hint

import "slices"

// rules is the table, in the order in which it is read. A server's refusal may quote what
// the rules of TLS and the network match, so signIn comes before them.
var rules = slices.Concat(dsn, credential, token, signIn, tls, network, role, diagnosis)

// dsn has what is wrong with the DSN and its environment beyond its syntax. The errors of
// package dsn carry their remedy themselves.
var dsn = []Rule{
	{DSN, "no host is given", "", "set host in the DSN, or PGHOST", Ours},
	{DSN, "aad_cloud is * but the host is in cloud", "", "remove aad_cloud, or correct the host", Ours},
	{DSN, "aad_scope is of cloud", "", "remove aad_scope, or correct the host", Ours},
	{DSN, "the scope of azure cosmos db in cloud * is not known", "", "set aad_scope", Ours},
	{DSN, "azure_authority_host is of cloud", "", "unset AZURE_AUTHORITY_HOST, or set aad_authority_host to the same URL if it is intended", Ours},
	{DSN, "host * is in cloud * but the token is for", "", "name hosts of one cloud only", Ours},
	{DSN, "unable to read ca file|unable to add ca to cert pool", "", "set sslrootcert=system to use the system's roots, or correct {home_root_file}, which is used because it exists: it must be a PEM file with a certificate", Seen},
	{DSN, "unable to read ca file|unable to add ca to cert pool", "", "remove sslrootcert (PGSSLROOTCERT) to use the system's roots, or name a PEM file with a certificate that this process can read", Seen},
	{DSN, "unable to load system certificate pool", "", "correct SSL_CERT_FILE and SSL_CERT_DIR, or install root certificates (package ca-certificates)", Seen},
	{DSN, "the password is no token", "", "save the token as UTF-8 before it is put into PGPASSWORD", Ours},
	{DSN, "no user is given, and * guest", "", "set user to the name of the PostgreSQL role that was created for this guest, as in me_home.com#EXT#@tenant.onmicrosoft.com", Ours},
	{DSN, "no user is given", "", "set user to the name of the PostgreSQL role that was created for this identity", Ours},
}

// credential has what fails while a credential is made.
var credential = []Rule{
	{Credential, "withcredential was given nil", "", "pass a credential (check the error of its constructor), or remove the option to let aad_auth choose", Ours},
	{Credential, "parsing the certificate", "", "use a PEM file with the certificate and its unencrypted key, or PKCS#12 in its older encryption (openssl pkcs12 -export -legacy) with its password", Ours},
	{Credential, "aad_client_certificate: |aad_federated_token_file: |azure_federated_token_file: |azure_client_certificate_path: ", "", "name a regular file that this process can read", Ours},
	{Credential, "system_accesstoken is not set", "", "pass it to the pipeline's step: env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}", Ours},
	{Credential, "check pod configuration", "", "assign a workload identity to the pod, or set aad_client_id, aad_tenant_id and aad_federated_token_file", Seen},
	{Credential, "environment variable azure_|incomplete environment variable", "", "set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH", Seen},
	{Credential, "system_oidcrequesturi", "", "run in Azure Pipelines, or use another aad_auth", Seen},
	{Credential, "azure_token_credentials", "", "correct the variable AZURE_TOKEN_CREDENTIALS, or unset it", Seen},
}

// tls has the TLS policy and the handshake with the server.
var tls = []Rule{
	{TLS, "is a unix socket, where any local user may listen", "", "set host to the server's name, or set aad_insecure=plaintext if the socket is a proxy that you trust", Ours},
	{TLS, "the token would be sent in the clear", "", "remove sslmode=disable (or PGSSLMODE), or set aad_insecure=plaintext if you control the network", Ours},
	{TLS, "would not be verified", "", "remove InsecureSkipVerify, or set VerifyConnection too; set aad_insecure=unverified only in tests", Ours},
	{TLS, "the connection is not tls", "", "let pgx negotiate TLS, or set aad_insecure=plaintext if you control the network", Ours},
	{TLS, "afternetconnect returned a connection", "", "return a connection whose method NetConn returns the connection that it wraps", Ours},
	{TLS, "certificate is valid for|certificate is not valid for|cannot validate certificate for|certificate relies on legacy", "", "check the host, and connect by the server's own full name: the certificate is for {certificate_names}", Seen},
	{TLS, "certificate is valid for|certificate is not valid for|cannot validate certificate for|certificate relies on legacy", "", "check the host, and connect by the server's own full name", Seen},
	{TLS, unknownAuthority, "", "check the host, and for a proxy that intercepts TLS; then remove sslrootcert (PGSSLROOTCERT) to use the system's roots, or name the file of a certificate authority that you trust: {root_file} does not hold the root of the server's certificate", Seen},
	{TLS, unknownAuthority, "", "check the host, and for a proxy that intercepts TLS; then set sslrootcert=system to use the system's roots: {home_root_file} is used because it exists, and does not hold the root of the server's certificate", Seen},
	{TLS, unknownAuthority, "own_roots", "check the host, and for a proxy that intercepts TLS; then correct the RootCAs that this program sets: they do not hold the root of the server's certificate", Seen},
	{TLS, unknownAuthority, "", correctRoots, Seen},
	{TLS, unknownAuthority, "no_roots", installRoots, Seen},
	{TLS, unknownAuthority, "", "check the host, that this machine has root certificates (package ca-certificates), and for a proxy that intercepts TLS; set sslrootcert only to a certificate authority that you trust", Seen},
	{TLS, "has expired or is not yet valid", "", "check this machine's clock: a certificate of the server is not valid now", Seen},
	{TLS, "server refused tls", "", "check host and port, and what is between this machine and the server: Azure always offers TLS", Seen},
	{TLS, "accepted direct tls without the protocol", "", "remove sslnegotiation=direct, and check what is between this machine and the server: PostgreSQL 17 and newer names its protocol in TLS", Ours},
	{TLS, "does not look like a tls handshake", "", "check host and port: what responds there is not PostgreSQL", Seen},
	{TLS, "protocol version not supported|handshake failure", "", "check what is between this machine and the server: Azure supports TLS 1.2 and 1.3", Inferred},
}

// windowsClosed has what Windows says where other systems say connection reset and broken
// pipe.
const windowsClosed = "forcibly closed by the remote host|aborted by the software in your host machine"

// windowsUnreachable has what it says where they say connection refused, network is
// unreachable and no route to host.
const windowsUnreachable = "actively refused it|to an unreachable network|to an unreachable host"

// network has name resolution, the dial, and connections that break.
var network = []Rule{
	{Network, "no such host|server misbehaving", "", "check the name {host}; the name of a server with private access resolves inside its network only (private DNS zone)", Documented},
	{Network, "lookup*i/o timeout|lookup*timed out|lookup*temporary error during hostname resolution", "", "check this machine's name servers: they do not respond", Seen},
	{Network, "connection refused|actively refused it", "", "check host and port (5432, or 6432 for PgBouncer): nothing listens there", Seen},
	{Network, "network is unreachable|no route to host|to an unreachable network|to an unreachable host", "", "check the network between this machine and {host}: a server with private access is reachable from its own network only", Seen},
	{Network, "read tcp*i/o timeout", "", "check host and port: what listens there accepts connections and sends nothing", Inferred},
	{Network, "i/o timeout|deadline exceeded|timed out|connected party did not properly respond", "", "allow this machine in the server's firewall rules, or connect from the server's network; a distant server needs a longer connect_timeout", Documented},
	{Network, "invalid body length|sends more than a sign-in takes|requests authentication again and again", "", "check host and port: what responds there is not PostgreSQL", Seen},
	{Network, "connection reset|broken pipe|eof|" + windowsClosed, "long_token", tokenTooLong, Seen},
	{Network, "connection reset|eof|broken pipe|" + windowsClosed, "", "check for a firewall or proxy between this machine and the server that closes PostgreSQL connections", Inferred},
}

// role has the refusals of a server where a role is made.
var role = []Rule{
	{Role, "function pg_catalog.pgaadauth*does not exist|function pgaadauth*does not exist", "", "connect to database postgres of a flexible server, the only one with that function; a single server needs -server-type single", Documented},
	{Role, "permission denied for function pgaadauth", "", "check which identity signs in: only an Entra administrator of the server can create Entra roles, the password administrator cannot", Reported},
	{Role, "trying to validate user|sqlstate 0lp01", "", "check that the tenant has the service principal of Azure OSSRDBMS PostgreSQL Flexible Server AAD Authentication (application 5657e26c-cc92-45d9-bc47-9da6cfdb4ed9), without which the server cannot look up principals; if it has, try again", Reported},
	{Role, "is not unique in the tenant", "", "pass the principal's object ID, and check it: several principals have this name", Reported},
	{Role, "not found in the tenant", "", "correct the name, or pass the principal's object ID", Documented},
	{Role, "unrecognized configuration parameter*aad_validate|role*azure_ad_user*does not exist", "", "check the kind of server, and use -server-type flexible: this is not a single server", Reported},
	{Role, "permission denied to grant role|must have admin option|admin option on role", "", "grant it as the role that created the granted role, or as one that has it WITH ADMIN OPTION: from PostgreSQL 16 on an administrator cannot grant a role that it did not create", Documented},
	{Role, "permission denied to create role|must have createrole", "", "sign in as the server's Entra administrator", Documented},
	{Role, "role*already exists", "", "check who uses this role; if it may be reassigned to the principal, {rebind_sql}", Documented},
	{Role, "role*already exists", "", "check who uses this role; drop it if nobody does, or choose another name", Documented},
}

// diagnosis has what Diagnose warns of although the sign-in may work.
var diagnosis = []Rule{
	{Diagnosis, "tls does not verify the server", "", "remove aad_insecure outside of tests: anybody between this machine and the server can take the token", Ours},
	{Diagnosis, "the token is sent in the clear", "", "remove aad_insecure unless the proxy on this host is yours: the token is sent in the clear", Ours},
	{Diagnosis, "a token in pgpassword is not used", "", "set aad_auth=access-token to present the token of PGPASSWORD or the password file; in this mode the driver requests another one", Ours},
	{Diagnosis, "aad_client_id is not a guid", "", "set aad_client_id to the client ID, which is a GUID; a name is none", Documented},
	{Diagnosis, "others may read or replace the token file", "", "run chmod g-w,o-rwx {file}, or set defaultMode of the volume in Kubernetes: with its mode {mode} others may read the token or replace it", Ours},
	{Diagnosis, "the clocks differ", "", "check this machine's clock: it is {skew} the authority's", Ours},
	{Diagnosis, "the token is opaque", "", "rely on the server's judgment: this token's claims cannot be read here", Ours},
	{Diagnosis, "the user name is too long", "", "use a shorter name: PostgreSQL keeps {max_name} bytes of a name, and this one has {name_length}", Ours},
	{Diagnosis, "the user name ends in the server's name", "", "check the user: only a single server needs {server_suffix} after the name", Ours},
	{Diagnosis, "the user name is an id", "", "check the user: it looks like a client ID or an object ID; user is the role's name, and an ID belongs in aad_client_id or aad_object_id", Ours},
	{Diagnosis, "an application signs in with a person's name", "", "check which identity signs in: the name looks like a person's, but the token is an application's", Ours},
	{Diagnosis, "the user is another person's", "", "check which identity signs in: the name looks like another person's than the token's", Ours},
	{Diagnosis, "another identity was meant", "", cameAnother + "set {choose_setting}" + orUnset, Ours},
	{Diagnosis, "another identity was meant", "", cameAnother + "correct {meant_by}, or set aad_auth to the one mode that signs in as that", Ours},
	{Diagnosis, "azure_federated_token_file is set, and the mode does not read it", "", "set aad_auth=workload-identity, or unset the variable: in mode {ignoring_mode} the host's own identity signs in, which on Kubernetes every pod of the node can use", Ours},
	{Diagnosis, "azure_client_id is set, and the mode does not read it", "host_identity", "set aad_client_id to choose that identity, or unset the variable: mode {ignoring_mode} signs in as the host's own identity", Ours},
	{Diagnosis, "azure_client_id is set, and the mode does not read it", "", "unset the variable, or set aad_auth to a mode that signs in as that application: mode {ignoring_mode} signs in as another identity", Ours},
	{Diagnosis, "one host failed", "", "check the host that failed: {failure}", Ours},
	{Diagnosis, "the role cannot be read", "", "look at the role with an administrator's rights; the sign-in works", Ours},
}
