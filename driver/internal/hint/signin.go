package hint

// PgBouncer's MAX_PASSWORD was 2048 up to 1.25, and it hangs up on a longer one.
const tokenTooLong = "check the length of the token: PgBouncer before 1.26 accepts at most 2,047 characters, and a person's token with many groups is longer; use an identity with a shorter token, or connect to port 5432 without PgBouncer"

const (
	checkRole     = "check that role {role} exists as an Entra role and matches exactly, including case"
	checkOrCreate = checkRole + "; if it does not exist, {create_sql}"
	checkNoSQL    = checkRole + "; there is no SQL to create it: {create_error}"

	// The role does not have the name of the identity that signs in.
	checkOrGive = checkRole + "; if it does not exist, create it for this application alone with aadpostgres role {principal_kind} {principal_flags}, or for the principal that has the role's name: {create_sql}"
	checkOrSelf = checkOrCreate + " Or set {set_own_user}, which is the role of the identity that signs in, or choose another identity with aad_client_id"
	checkGive   = checkRole + "; if it does not exist and is for this application alone, create it with aadpostgres role {principal_kind} {principal_flags}"
)

// A setting says that another identity was meant than the one that signs in.
const (
	cameAnother = "check which identity signs in: the token is of {came_identity}, but {meant_by} names {meant_identity}; "
	orUnset     = ", or unset {meant_by} if the identity of the token is meant"
)

// roleRefusals are the refusals that may be due to the wrong identity.
const roleRefusals = noPassword + "|" + noSCRAM + "|" + existingRole + "|" + noBearer + "|no such user|pam authentication failed|permission denied for database"

const (
	noPassword = "password authentication failed"
	noSCRAM    = "server requested scram-sha-256|server requested md5"
	noBearer   = "oauth authentication failed|oauth bearer authentication failed|invalid oauth error response"
)

// signIn has the server's own refusals. Azure's texts have an old and a new wording,
// which normalize makes one.
var signIn = []Rule{
	// Who was meant comes first: other hints would help the wrong identity.
	{SignIn, roleRefusals, "static_token", cameAnother + "pass a token of {meant_identity}; {choose_setting} requests one" + orUnset, Inferred},
	{SignIn, roleRefusals, "own_credential", cameAnother + "give WithCredential a credential of {meant_identity}" + orUnset, Inferred},
	{SignIn, roleRefusals, "", cameAnother + "set {choose_setting}" + orUnset, Inferred},
	{SignIn, roleRefusals, "", cameAnother + "correct {meant_by}, or set aad_auth to the one mode that signs in as that", Inferred},
	{SignIn, "server login has been failing", "", "check PgBouncer's log for the server's error; PgBouncer reuses the last token that it received, so set SetConnMaxLifetime to send newer ones", Seen},
	{SignIn, "query_wait_timeout", "", "check PgBouncer's log: its pool is full, or the server rejects its logins; lower SetMaxOpenConns or raise PgBouncer's pool size, and set SetConnMaxLifetime to send newer tokens", Seen},
	{SignIn, noPassword + "|" + noSCRAM, "server_suffix_extra", "set {set_user}: check whether this is a single server, because only a single server needs {server_suffix} after the name", Documented},
	{SignIn, noPassword + "|" + noSCRAM, "server_suffix_double", "set {set_user}: the user name ends in {server_suffix} twice", Documented},
	{SignIn, noPassword + "|" + noSCRAM, "app_token person_name", "check which identity signs in: {role} looks like a person's name, but the token is an application's; set user to the application's role, or sign in as the person, for example with aad_auth=azure-cli", Inferred},
	{SignIn, noPassword + "|" + noSCRAM, "user_token person_name", "check which identity signs in: {role} looks like another person's name than the token's; sign in as that person, or set {set_own_user}", Inferred},
	{SignIn, noPassword + "|" + noSCRAM, "user_token person_name", "check which identity signs in: {role} looks like another person's name than the token's; sign in as that person, or set user to the role of the token's person", Inferred},
	{SignIn, noPassword + "|" + noSCRAM, "user_is_id", "check the user: {role} looks like a client ID or an object ID; set user to the role's name, and write the ID as aad_client_id or aad_object_id", Inferred},
	{SignIn, noSCRAM, "", checkOrGive, Reported},
	{SignIn, noSCRAM, "app_token", checkOrSelf, Reported},
	{SignIn, noSCRAM, "", checkOrCreate, Reported},
	{SignIn, noSCRAM, "", checkGive, Reported},
	{SignIn, noSCRAM, "", checkNoSQL, Reported},
	{SignIn, noPassword, "", checkOrGive, Documented},
	{SignIn, noPassword, "app_token", checkOrSelf, Documented},
	{SignIn, noPassword, "", checkOrCreate, Documented},
	{SignIn, noPassword, "", checkGive, Documented},
	{SignIn, noPassword, "", checkNoSQL, Documented},
	{SignIn, noPassword + "|" + noSCRAM, "", checkRole, Documented},
	{SignIn, "channel binding", "", "remove channel_binding=require (or PGCHANNELBINDING): a token is not bound to the TLS channel, it is sent inside verified TLS", Seen},
	{SignIn, noBearer, "", "check that role {role} exists, that pg_ident.conf maps this identity to it, and that the server's validator accepts tokens of this tenant and audience", Inferred},
	{SignIn, "server did not complete", "", "check the host: it does not authenticate its clients, and Azure always does", Inferred},
	{SignIn, "server requested", "", "check the host: it requests an authentication method that Azure does not use", Inferred},
	{SignIn, "access token has expired", "", "check this machine's clock: it is {skew} the authority's", Inferred},
	{SignIn, "access token has expired", "static_token", "check this machine's clock, and fetch a new token: the given one was issued {token_age} ago", Reported},
	{SignIn, "access token has expired", "", "check this machine's clock, or set aad_token_max_age=5m to present younger tokens", Reported},
	{SignIn, "valid audience claim", "", "set {set_audience}: check that this is the intended server, because it asks for a token of that resource", Reported},
	{SignIn, "valid audience claim", "", "check the host first: it does not name a resource of Azure Database for PostgreSQL, or it names the resource that the token is for; set aad_scope only to a scope that you know to be the server's", Inferred},
	{SignIn, "access token is not yet valid", "", "check this machine's clock: it is {skew} the authority's", Inferred},
	{SignIn, "access token is not yet valid", "", "check the clocks of this machine and of the server: the token's validity has not begun", Inferred},
	{SignIn, "access token has invalid format", "", "check that the token is passed as it was issued, without quotes, spaces or line breaks, and that it is not a password", Reported},
	{SignIn, "valid oid claim", "", "check which identity signs in, and aad_tenant_id: the server needs a token of its own tenant with the claim oid, of a user, a service principal or a managed identity", Inferred},
	{SignIn, "error occurred while validating the access token", "", "check that the token is of the server's own tenant and cloud, and that it is not a password", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "user_token", "check which identity signs in: role {role} is an application's, but the token is a person's; sign in as that application, or set {set_own_user}", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "user_token", "check which identity signs in: role {role} is an application's, but the token is a person's; sign in as that application, or set user to the person's role", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "app_token", "check the security label of role {role}: the server did not accept this token as that application's, although the token is an application's", Inferred},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "", "check which identity signs in: role {role} is an application's", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "app_token", "check which identity signs in: role {role} is a person's, but the token is an application's; set {set_own_user}, or another role of the application", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "app_token", "check which identity signs in: role {role} is a person's, but the token is an application's; set user to the application's role", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "user_token", "check the security label of role {role}: the server did not accept this token as that person's, although the token is a person's", Inferred},
	{SignIn, "neither an aad_auth_tokentype_app", "", "check which identity signs in: role {role} is a person's", Reported},
	{SignIn, "oid mismatch", "", "check which identity signs in: role {role} was created for another object ID; sign in as that identity, or set {set_own_user}; only if that identity was deleted and created again, have an Entra administrator reassign the role with aadpostgres role", Reported},
	{SignIn, "oid mismatch", "", "check which identity signs in: role {role} was created for another object ID; sign in as that identity, or set user to this identity's own role; only if that identity was deleted and created again, have an Entra administrator reassign the role with aadpostgres role", Reported},
	{SignIn, "not valid for role*does not contain group", "", "check that this identity is a member of group {role}; a token contains only the memberships from before it was issued, and Azure caches a managed identity's token for up to 24 hours", Reported},
	{SignIn, "not valid for role", "", "check that role {role} is this identity's, or that of a group with this identity as a member", Reported},
	{SignIn, "invalid username specified|username@hostname", "host_is_address", "check whether this is a single server; if it is, connect by its name, or append its name to the user, as in user=me@contoso.com@server", Reported},
	{SignIn, "invalid username specified|username@hostname", "", "check whether this is a single server: aad_server_type=single appends {server_suffix} to the user", Reported},
	{SignIn, "invalid username specified|username@hostname", "", "check whether this is a single server: aad_server_type=single appends the server's name to the user", Reported},
	{SignIn, "ssl connection is required", "", "check for sslmode=disable and aad_insecure=plaintext, and remove them: the server requires TLS", Reported},
	{SignIn, "pg_hba.conf rejects", "", "check pg_hba.conf: a line of it rejects this user, database, address or kind of connection", Documented},
	{SignIn, "no pg_hba.conf entry*no encryption|no pg_hba.conf entry*ssl off", "", "remove sslmode=disable and aad_insecure=plaintext: the server requires TLS", Documented},
	{SignIn, "no pg_hba.conf entry", "", "allow this machine in the server's firewall rules, and check that Entra authentication is enabled", Documented},
	{SignIn, "client sent partial pkt in startup|password too long", "long_token", tokenTooLong, Seen},
	{SignIn, "client sent partial pkt in startup|password too long", "", "check PgBouncer's log: it did not accept the message with the token, which has {token_length} bytes", Inferred},
	{SignIn, "pam authentication failed", "long_token", tokenTooLong, Seen},
	{SignIn, "pam authentication failed", "", "check which identity signs in: PgBouncer has rejected the token; connect to port 5432 without PgBouncer to see the server's own error", Seen},
	{SignIn, "no such database", "", "check dbname, and section [databases] of PgBouncer's configuration: PgBouncer does not know the database", Seen},
	{SignIn, "no such user", "", "check PgBouncer's auth_query or auth_file: PgBouncer does not know role {role}", Seen},
	{SignIn, "unsupported startup parameter", "", "check the DSN for a key that is a run-time setting, which PgBouncer does not accept at startup: remove it, or set it for the role: ALTER ROLE {role_sql} SET ...", Reported},
	{SignIn, "unsupported startup parameter", "", "check the DSN for a key that is a run-time setting, which PgBouncer does not accept at startup, and remove it", Reported},
	{SignIn, "no more connections allowed", "", "lower SetMaxOpenConns of all pools together: PgBouncer has no client connection left", Documented},
	{SignIn, "cannot read pg_class without having selected", "", "check for an update of the server: users have reported this error with PostgreSQL 18 and Entra roles", Reported},
	{SignIn, "too many clients|remaining connection slots|too many connections", "", "lower SetMaxOpenConns of all pools together, or raise the server's max_connections", Documented},
	{SignIn, "is starting up|is shutting down|not yet accepting connections|in recovery mode", "", "try again in a moment: the server is starting or stopping", Documented},
	{SignIn, "permission denied for database", "", "run as the database's owner: GRANT CONNECT ON DATABASE {database_sql} TO {role_sql};", Documented},
	{SignIn, "database*does not exist", "", "correct dbname, or create the database", Documented},
	{SignIn, "is not permitted to log in", "", "check the user: this role has NOLOGIN; if it is meant to sign in, run as administrator: ALTER ROLE {role_sql} LOGIN;", Documented},
	{SignIn, "unrecognized configuration parameter", "", "correct or remove that key of the DSN: a key that pgx does not know is sent to the server as a run-time setting", Seen},
	{SignIn, "read only connection|in hot standby mode|in standby mode", "", "correct target_session_attrs or the hosts: no server is of that kind at present", Seen},
}
