package hint

// PgBouncer's MAX_PASSWORD was 2048 up to 1.25, and it hangs up on a longer one.
const tokenTooLong = "check the length of the token: PgBouncer before 1.26 accepts at most 2,047 characters, and a person's token with many groups is longer; use an identity with a shorter token, or connect to port 5432 without PgBouncer"

const (
	checkRole     = "check that role {role} exists as an Entra role and matches exactly, including case"
	checkOrCreate = checkRole + "; if it does not exist, {create_sql}"
	checkNoSQL    = checkRole + "; there is no SQL to create it: {create_error}"
)

// signIn has the server's own refusals. Azure's texts have an old and a new wording,
// which normalize makes one.
var signIn = []Rule{
	{SignIn, "server login has been failing", "", "check PgBouncer's log for the server's error; PgBouncer reuses the last token that it received, so set SetConnMaxLifetime to send newer ones", Seen},
	{SignIn, "query_wait_timeout", "", "check PgBouncer's log: its pool is full, or the server rejects its logins; lower SetMaxOpenConns or raise PgBouncer's pool size, and set SetConnMaxLifetime to send newer tokens", Seen},
	{SignIn, "password authentication failed|server requested scram-sha-256|server requested md5", "server_suffix_extra", "set {set_user}: check whether this is a single server, because only a single server needs {server_suffix} after the name", Documented},
	{SignIn, "password authentication failed|server requested scram-sha-256|server requested md5", "server_suffix_double", "set {set_user}: the user name ends in {server_suffix} twice", Documented},
	{SignIn, "password authentication failed|server requested scram-sha-256|server requested md5", "app_token person_name", "check which identity signs in: {role} looks like a person's name, but the token is an application's; set user to the application's role, or sign in as the person, for example with aad_auth=azure-cli", Inferred},
	{SignIn, "password authentication failed|server requested scram-sha-256|server requested md5", "user_is_id", "check the user: {role} looks like a client ID or an object ID; set user to the role's name, and write the ID as aad_client_id or aad_object_id", Inferred},
	{SignIn, "server requested scram-sha-256|server requested md5", "", checkOrCreate, Reported},
	{SignIn, "server requested scram-sha-256|server requested md5", "", checkNoSQL, Reported},
	{SignIn, "password authentication failed", "", checkOrCreate, Documented},
	{SignIn, "password authentication failed", "", checkNoSQL, Documented},
	{SignIn, "server did not complete", "", "check the host: it does not authenticate its clients, and Azure always does", Inferred},
	{SignIn, "server requested", "", "check the host: it requests an authentication method that Azure does not use", Inferred},
	{SignIn, "access token has expired", "", "check this machine's clock: it is {skew} the authority's", Inferred},
	{SignIn, "access token has expired", "static_token", "check this machine's clock, and fetch a new token: the given one was issued {token_age} ago", Reported},
	{SignIn, "access token has expired", "", "check this machine's clock, or set aad_token_max_age=5m to present younger tokens", Reported},
	{SignIn, "valid audience claim", "", "set {set_audience}: check that this is the intended server, because it asks for a token of that resource", Reported},
	{SignIn, "valid audience claim", "", "check the host first: it does not name a resource of Azure Database for PostgreSQL, or it names the resource that the token is for; set aad_scope only to a scope that you know to be the server's", Inferred},
	{SignIn, "access token has invalid format", "", "check that the token is passed as it was issued, without quotes, spaces or line breaks, and that it is not a password", Reported},
	{SignIn, "valid oid claim", "", "check which identity signs in: the server needs a token with the claim oid, of a user, a service principal or a managed identity", Inferred},
	{SignIn, "error occurred while validating the access token", "", "check that the token is of the server's own tenant and cloud, and that it is not a password", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "user_token", "check which identity signs in: role {role} is an application's, but the token is a person's; sign in as that application, or set {set_own_user}", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "user_token", "check which identity signs in: role {role} is an application's, but the token is a person's; sign in as that application, or set user to the person's role", Reported},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "app_token", "check the security label of role {role}: the server did not accept this token as that application's, although the token is an application's", Inferred},
	{SignIn, "cannot generate aad_auth_tokentype_app_user", "", "check which identity signs in: role {role} is an application's", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "app_token", "check which identity signs in: role {role} is a person's, but the token is an application's; set {set_own_user}, or another role of the application", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "app_token", "check which identity signs in: role {role} is a person's, but the token is an application's; set user to the application's role", Reported},
	{SignIn, "neither an aad_auth_tokentype_app", "user_token", "check the security label of role {role}: the server did not accept this token as that person's, although the token is a person's", Inferred},
	{SignIn, "neither an aad_auth_tokentype_app", "", "check which identity signs in: role {role} is a person's", Reported},
	{SignIn, "service principal oid mismatch", "app_token", "check which identity signs in: role {role} was created for another object ID; if this identity was deleted and created again (an administrator's label ends in ,admin), {rebind_sql}", Reported},
	{SignIn, "service principal oid mismatch", "app_token", "check that role {role} was created for the object ID of this identity: {rebind_error}", Reported},
	{SignIn, "oid mismatch", "", "check that role {role} was created for the object ID of this identity, and which identity signs in", Reported},
	{SignIn, "not valid for role*does not contain group", "", "check that this identity is a member of group {role}; a token contains only the memberships from before it was issued, and Azure caches a managed identity's token for up to 24 hours", Reported},
	{SignIn, "not valid for role", "", "check that role {role} is this identity's, or that of a group with this identity as a member", Reported},
	{SignIn, "invalid username specified|username@hostname", "host_is_address", "check whether this is a single server; if it is, connect by its name, or append its name to the user, as in user=me@contoso.com@server", Reported},
	{SignIn, "invalid username specified|username@hostname", "", "check whether this is a single server: aad_server_type=single appends {server_suffix} to the user", Reported},
	{SignIn, "invalid username specified|username@hostname", "", "check whether this is a single server: aad_server_type=single appends the server's name to the user", Reported},
	{SignIn, "ssl connection is required", "", "check for sslmode=disable and aad_insecure=plaintext, and remove them: the server requires TLS", Reported},
	{SignIn, "no pg_hba.conf entry*no encryption|no pg_hba.conf entry*ssl off", "", "remove sslmode=disable and aad_insecure=plaintext: the server requires TLS", Documented},
	{SignIn, "no pg_hba.conf entry", "", "allow this machine in the server's firewall rules, and check that Entra authentication is enabled", Documented},
	{SignIn, "client sent partial pkt in startup|password too long", "", tokenTooLong, Seen},
	{SignIn, "pam authentication failed", "long_token", tokenTooLong, Seen},
	{SignIn, "pam authentication failed", "", "check which identity signs in: PgBouncer has rejected the token; connect to port 5432 without PgBouncer to see the server's own error", Seen},
	{SignIn, "unsupported startup parameter", "", "check the DSN for a key that is a run-time setting, which PgBouncer does not accept at startup: remove it, or set it for the role: ALTER ROLE {role_sql} SET ...", Reported},
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
