// Package aadpostgres registers the driver "aadpostgres" with database/sql. The driver
// opens connections with pgx, and authenticates each of them to Azure Database for
// PostgreSQL with a Microsoft Entra token. Existing code changes the import, the driver's
// name and the DSN:
//
//	import _ "github.com/aadpostgres/aadpostgres"
//
//	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
//
// All connections of an identity share one token, which is sent over verified TLS only. A
// query costs the same as with pgx, because the connections are pgx's.
//
// # Which call to use
//
//   - sql.Open with the name "aadpostgres" is enough for most programs, and for tools that
//     take a driver's name and a DSN.
//   - [driver.NewConnector] with sql.OpenDB takes options for settings that a DSN cannot
//     express, such as a credential, a logger or a tracer.
//   - [driver.Register] makes a driver with options, for tools that take a driver's name
//     only.
//   - [driver.Connector.BeforeConnect] with its Config serves pgx without database/sql, and
//     pgxpool.
//   - [driver.Diagnose], or the command aadpostgres doctor, finds the step that fails.
//
// A DSN is a URL, keyword/value pairs, or the name of a section in pg_service.conf, as in
// pgx, and may contain the keys below:
//
//	db, err := sql.Open("aadpostgres", "aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli")
//
// Package [dsn] parses it. It reads PG and AZURE_ variables of the environment too.
//
// # Keys
//
//	aad_auth
//	    a mode, or a comma-separated list of modes tried in order
//	    default: default
//	aad_tenant_id
//	    Entra tenant, a GUID or a domain
//	    default: azidentity's default
//	aad_client_id
//	    client ID of the application or user-assigned managed identity
//	    default: AZURE_CLIENT_ID where azidentity reads it
//	aad_object_id
//	    object ID of the user-assigned managed identity
//	aad_resource_id
//	    ARM resource ID of the user-assigned managed identity
//	aad_client_secret
//	    client secret of the application; prefer the environment variable
//	    default: AZURE_CLIENT_SECRET
//	aad_client_certificate
//	    path of a PEM or PKCS#12 file with certificate and key
//	    default: AZURE_CLIENT_CERTIFICATE_PATH
//	aad_client_certificate_password
//	    password of that file
//	    default: AZURE_CLIENT_CERTIFICATE_PASSWORD, if the path comes from AZURE_CLIENT_CERTIFICATE_PATH
//	aad_send_certificate_chain
//	    send the certificate chain, for subject name and issuer authentication
//	    default: false
//	aad_federated_token_file
//	    path of the workload identity's token file
//	    default: AZURE_FEDERATED_TOKEN_FILE
//	aad_service_connection_id
//	    ID of the Azure Pipelines service connection
//	    default: AZURESUBSCRIPTION_SERVICE_CONNECTION_ID
//	aad_subscription
//	    name or ID of an Azure CLI subscription
//	    default: the CLI's current subscription
//	aad_login_hint
//	    user name to prefill in the browser
//	aad_redirect_url
//	    redirect URL of the application, http or https
//	    default: http://localhost, on any free port
//	aad_additionally_allowed_tenants
//	    comma-separated list of tenants, or * for all
//	aad_disable_instance_discovery
//	    trust the authority without validation by the public cloud
//	    default: false; true for usnat and ussec
//	aad_cloud
//	    cloud that sets authority and scope: public, usgov, china, usnat or ussec
//	    default: auto, by the host's suffix, else public
//	aad_authority_host
//	    Entra authority, an https URL
//	    default: AZURE_AUTHORITY_HOST, else the cloud's
//	aad_scope
//	    scope of the token, sent verbatim
//	    default: the cloud's, or Cosmos DB's for its hosts
//	aad_server_type
//	    flexible, single or cosmos
//	    default: cosmos by the host's suffix, else flexible
//	aad_token_file
//	    path of a file with an access token, read for every connection
//	aad_token_max_age
//	    maximum age of a presented token, as in 5m
//	    default: 0 (until it expires); 5m for single
//	aad_token_timeout
//	    time limit of one token request, including retries
//	    default: 30s; 5m for interactive-browser and 15m for device-code
//	aad_insecure
//	    unverified (TLS without verification) or plaintext (no TLS)
//	    default: verified TLS
//
// # Modes
//
//	default
//	    azidentity's DefaultAzureCredential: environment, workload identity, managed identity, then developer tools
//	    keys: aad_tenant_id aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryDefault
//	environment
//	    azidentity's EnvironmentCredential: an application that AZURE_ variables describe
//	    keys: +
//	    aliases: ActiveDirectoryEnvironment
//	workload-identity
//	    a workload identity, with a federated token as Kubernetes mounts it
//	    keys: aad_tenant_id aad_client_id aad_federated_token_file aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryWorkloadIdentity
//	managed-identity
//	    the host's managed identity: system-assigned, or user-assigned if an ID is set
//	    keys: aad_client_id aad_object_id aad_resource_id
//	    aliases: ActiveDirectoryManagedIdentity, ActiveDirectoryMSI
//	client-secret
//	    an application, with a client secret
//	    keys: aad_tenant_id aad_client_id aad_client_secret aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryServicePrincipal, ActiveDirectoryApplication
//	client-certificate
//	    an application, with a certificate
//	    keys: aad_tenant_id aad_client_id aad_client_certificate aad_client_certificate_password aad_send_certificate_chain aad_additionally_allowed_tenants +
//	azure-cli
//	    the account signed in with az login
//	    keys: aad_tenant_id aad_subscription aad_additionally_allowed_tenants
//	    aliases: ActiveDirectoryAzCli
//	azure-developer-cli
//	    the account signed in with azd auth login
//	    keys: aad_tenant_id aad_additionally_allowed_tenants
//	    aliases: ActiveDirectoryAzureDeveloperCli
//	azure-powershell
//	    the account signed in with Connect-AzAccount
//	    keys: aad_tenant_id aad_additionally_allowed_tenants
//	azure-pipelines
//	    an Azure Pipelines service connection, with the job's SYSTEM_ACCESSTOKEN
//	    keys: aad_tenant_id aad_client_id aad_service_connection_id aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryAzurePipelines
//	interactive-browser
//	    a user, in the browser
//	    keys: aad_tenant_id aad_client_id aad_login_hint aad_redirect_url aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryInteractive
//	device-code
//	    a user, with a code to enter on another device
//	    keys: aad_tenant_id aad_client_id aad_additionally_allowed_tenants +
//	    aliases: ActiveDirectoryDeviceCode
//	access-token
//	    a token that you supply, in aad_token_file or as the password
//	    keys: aad_token_file
//	    aliases: ActiveDirectoryServicePrincipalAccessToken
//	password
//	    no Entra: a PostgreSQL password, as with pgx
//
// + stands for aad_authority_host and aad_disable_instance_discovery. Every mode
// that presents a token also reads aad_cloud, aad_scope, aad_server_type,
// aad_token_max_age, aad_token_timeout and aad_insecure. Modes are read in any case. A
// list of them is tried in order: an unavailable one is skipped, a refused one ends it.
//
// # Clouds
//
//	public
//	    host suffix: .postgres.database.azure.com
//	    authority: https://login.microsoftonline.com/
//	    scope: https://ossrdbms-aad.database.windows.net/.default
//	    source: documented in Azure CLI's cloud.py and go-autorest's environments.go
//	usgov
//	    host suffix: .postgres.database.usgovcloudapi.net
//	    authority: https://login.microsoftonline.us/
//	    scope: https://ossrdbms-aad.database.usgovcloudapi.net/.default
//	    source: documented in Azure CLI's cloud.py and go-autorest's environments.go
//	china
//	    host suffix: .postgres.database.chinacloudapi.cn
//	    authority: https://login.chinacloudapi.cn/
//	    scope: https://ossrdbms-aad.database.chinacloudapi.cn/.default
//	    source: documented in Azure CLI's cloud.py and go-autorest's environments.go
//	usnat
//	    host suffix: .postgres.database.cloudapi.eaglex.ic.gov
//	    authority: https://login.microsoftonline.eaglex.ic.gov/
//	    scope: https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default
//	    source: authority and resource documented in Azure Data Studio's settings, suffix inferred from Azure CLI
//	ussec
//	    host suffix: .postgres.database.cloudapi.microsoft.scloud
//	    authority: https://login.microsoftonline.microsoft.scloud/
//	    scope: https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default
//	    source: authority reported by users, resource and suffix inferred from usnat
//
// # Users
//
// user (of the DSN, PGUSER or a service) is the PostgreSQL role. Without it the
// name comes from the token: the managed identity's, else the person's UPN. An
// application and a guest have none there, and a member of a group signs in as the
// group: name the role. On a single server (aad_server_type=single) the server's
// name is appended, as in me@contoso.com@server.
//
// An Entra administrator of the server creates the role for the principal, in database
// postgres. The command aadpostgres role prints the SQL, and so does [driver.Role]:
//
//	SELECT * FROM pg_catalog.pgaadauth_create_principal('me@contoso.com', false, false);
//
// # TLS
//
// A token is a password that works on every server that accepts its identity, so it is sent
// over verified TLS only. sslmode verify-full, and verify-ca with an sslrootcert, work as in
// pgx. No sslmode, allow, prefer, require and verify-ca without an sslrootcert become
// verify-full. disable, a Unix socket and a missing host are errors before anything is dialed.
// aad_insecure=unverified leaves require as in pgx, and aad_insecure=plaintext permits
// connections without TLS, for a proxy on this host.
//
// sslnegotiation takes auto beside libpq's postgres and direct. The first connection to a host
// negotiates TLS. If the server is PostgreSQL 17 or newer and selects the protocol postgresql
// in TLS (ALPN), later connections begin with TLS, which saves a round trip. If that does not
// work, the connection falls back within a second, and later ones to that host negotiate.
// With direct, a server that does not select the protocol is refused. PGSSLNEGOTIATION takes
// the same values.
//
// # Tokens
//
// At most one token request per identity is in flight. The connect that starts it dials
// meanwhile, for a second at most; the others wait for the token before they dial. Tokens are
// refreshed in the background by five minutes before expiry, or by halfway through lifetimes
// under ten minutes. The time is random, so that processes that start together do not
// request together: within the last 3/8 of the time until then, or after RefreshOn if the
// credential sets it. The old token is used meanwhile. A failed request is repeated after a
// second at first, then later and later, up to 30 seconds, and not before the authority's
// Retry-After. If the server rejects a token and a newer one may help, the driver requests one
// and tries once more. A caller's context bounds that caller only, and aad_token_timeout
// bounds the request. There are no background goroutines while idle, and an idle connection to
// the token endpoint is closed after a second. A connector that is opened after a client
// certificate was replaced, or after a person signed in to a developer tool again, requests
// its own token.
//
// Azure caches a managed identity's token for up to 24 hours, so a new group membership can
// take that long to have an effect.
//
// # Poolers and clusters
//
// PgBouncer in transaction mode needs default_query_exec_mode=cache_describe in the DSN. exec
// and simple_protocol work too, with jsonb as strings. pgx's default mode fails with 42P05,
// unless PgBouncer's max_prepared_statements is set, as it is from version 1.24 on. PgBouncer
// opens sessions with the last token that it received, so close connections before tokens
// expire, with db.SetConnMaxLifetime(5 * time.Minute). Of the settings in the DSN it accepts
// application_name, client_encoding, DateStyle, TimeZone and standard_conforming_strings. From
// version 1.20 on it also accepts IntervalStyle and those in its track_extra_parameters, and
// from 1.26 on search_path and default_transaction_read_only. Set others for the role (ALTER
// ROLE ... SET). Before version 1.26 it refuses tokens of more than 2,047 characters.
//
// For a primary and its standby use host=a,b target_session_attrs=read-write. After a failover
// the pool connects to the new primary by itself, with the token that it has. Azure Cosmos DB
// for PostgreSQL is recognized by the suffix .postgres.cosmos.azure.com.
//
// # Errors
//
// Errors of opening and connecting are of type [*driver.Error], one line that ends in a hint:
//
//	aadpostgres: <step>: <cause>; <what to do>
//
// errors.As finds pgx's *pgconn.PgError and azidentity's errors. No error, log or printed
// value of an exported type contains a token, a secret or a DSN. The file
// driver/TROUBLESHOOTING.md lists the causes and what to do about each.
//
// # Testing
//
// The module github.com/aadpostgres/aadpostgres/driver/emulator emulates Azure for tests: it
// runs an emulated Entra and gateway in front of a real PostgreSQL.
//
//	az := emulator.Start(t)
//	az.Setenv(t)
//	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
//
// With [driver.WithOpenFunc] go-sqlmock takes the place of the server.
//
// # Moving here
//
// The file driver/MOVING.md has a diff for moving from a BeforeConnect hook, from lib/pq, from
// gorm's own driver, from go-mssqldb's fedauth or from a password, and for moving back.
//
// [dsn]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/dsn
// [driver.NewConnector]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#NewConnector
// [driver.Register]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#Register
// [driver.Connector.BeforeConnect]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#Connector.BeforeConnect
// [driver.Diagnose]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#Diagnose
// [driver.Role]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#Role
// [driver.WithOpenFunc]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#WithOpenFunc
// [*driver.Error]: https://pkg.go.dev/github.com/aadpostgres/aadpostgres/driver#Error
package aadpostgres

import _ "github.com/aadpostgres/aadpostgres/driver" // registers the driver
