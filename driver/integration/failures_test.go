package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// Params of the DSNs of failures, with names in braces as fill replaces them.
const (
	secretDSN      = "aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}' "
	systemAssigned = "aad_auth=managed-identity aad_scope=https://ossrdbms-aad.database.windows.net//.default " // the second slash keeps its token apart in azidentity's cache
	managedDSN     = "aad_auth=managed-identity aad_client_id={client} "
	tokenDSN       = "aad_auth=access-token " // the token is in place of the password
	azureHost      = "host=emulator.postgres.database.azure.com "
)

var failures = []failure{
	// The role.
	{name: "role missing", dsn: secretDSN + "user=new-billing", cause: "the role does not exist", fix: applyRoleCommand},
	{name: "role missing, password authentication failed", dsn: secretDSN + "user=other-billing require_auth=password,scram-sha-256", cause: "the role does not exist", fix: applyRoleCommand},
	{name: "role of a user missing", dsn: tokenDSN + "user=you@contoso.com", cause: "the role does not exist",
		token: func(fx *fixture) string {
			return fx.az.Token(fx.az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000aa"}), nil)
		}, fix: applySQL},
	{name: "role created without Entra", dsn: secretDSN + "user=native", cause: `role "native" was created by CREATE ROLE`,
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "DROP ROLE IF EXISTS native", "CREATE ROLE native LOGIN PASSWORD 'p'")
		},
		fix: reassign("native")},
	{name: "role name in another case", dsn: secretDSN + "user=Billing", cause: `the role is "billing"`, fix: replace("user=Billing", "user=billing")},
	{name: "flexible server, user with server name", dsn: azureHost + secretDSN + "user=billing@emulator", cause: "a flexible server, and a user in single server's form", fix: applySetting},
	{name: "client ID as user", dsn: secretDSN + "user={client} require_auth=password,scram-sha-256", cause: "user is the application's client ID", fix: replace("user={client}", "user=billing")},
	{name: "role without LOGIN", dsn: secretDSN + "user=billing", cause: "ALTER ROLE billing NOLOGIN",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "ALTER ROLE billing NOLOGIN")
			t.Cleanup(func() { fx.execAsSuperuser(t, "ALTER ROLE billing LOGIN") })
		}, restore: func(t *testing.T, fx *fixture) { fx.execAsSuperuser(t, "ALTER ROLE billing LOGIN") }},
	{name: "user missing", dsn: tokenDSN, cause: "a service principal's token does not name a role", token: tokenWithClaim("xms_mirid", func(*fixture) any { return nil }), fix: func(_ *testing.T, _ *fixture, dsn string, _ *driver.Error) string { return dsn + " user=billing" }},

	// Single server.
	{name: "single server, user without server name", single: true, dsn: azureHost + secretDSN + "user=billing", cause: "a single server", fix: applySetting},
	{name: "single server, user without server name, IP address", single: true, dsn: secretDSN + "user=billing aad_server_type=single", cause: "a single server, connected to by its address", fix: replace("user=billing", "user=billing@emulator")},
	{name: "single server, server name twice", single: true, dsn: azureHost + secretDSN + "user=billing@emulator@emulator aad_server_type=single require_auth=password,scram-sha-256", cause: "a single server", fix: applySetting},
	{name: "single server, role of a user missing", single: true, dsn: azureHost + tokenDSN + "user=new@contoso.com aad_server_type=single", cause: "a single server, and the role does not exist",
		token: func(fx *fixture) string {
			return fx.az.Token(fx.az.Add(emulator.Identity{Name: "new@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000bb"}), nil)
		}, fix: applySQL},
	{name: "single server, role of an application missing", single: true, dsn: azureHost + secretDSN + "user=myapp aad_server_type=single", cause: "a single server, and the role does not exist", fix: applyRoleCommand},
	{name: "single server, token too old", single: true, dsn: azureHost + tokenDSN + "user=billing aad_server_type=single aad_token_max_age=0", cause: "the token is sixteen minutes old",
		token: tokenWithClaim("iat", func(*fixture) any { return time.Now().Add(-21 * time.Minute).Unix() }), fix: withToken(appToken)},

	// Whose token.
	{name: "application's token, role of a user missing", dsn: secretDSN + "user=her@contoso.com", cause: "the role does not exist", fix: replace("user=her@contoso.com", "user=billing")},
	{name: "application's token, role of a user", dsn: managedDSN + "user=me@contoso.com", cause: "the role belongs to a user", fix: applySetting},
	{name: "user's token, role of an application", dsn: tokenDSN + "user=billing", cause: "the role belongs to an application", token: userToken, fix: applySetting},
	{name: "user's token, another user", dsn: tokenDSN + "user=you2@contoso.com", cause: "the role does not exist", token: userToken, fix: applySetting},
	{name: "identity recreated", dsn: secretDSN + "user=reborn", cause: "the role was created for an identity that was deleted",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, `DROP ROLE IF EXISTS reborn`)
			fx.grant(t, emulator.Identity{Name: "reborn", ObjectID: "00000000-0000-0000-0000-0000000000cc"})
		}, fix: reassign("reborn")},
	{name: "identity recreated, new wording", dsn: secretDSN + "user=reborn2", cause: "the role was created for an identity that was deleted",
		setup: func(t *testing.T, fx *fixture) {
			fx.grant(t, emulator.Identity{Name: "reborn2", ObjectID: "00000000-0000-0000-0000-0000000000dd", ClientID: "00000000-0000-0000-0000-0000000000de"})
			newWording(t, fx)
		}, fix: reassign("reborn2")},
	{name: "user not in the group", dsn: tokenDSN + "user=Readers", cause: "the user is not a member of the group", token: userToken,
		fix: withToken(func(fx *fixture) string {
			return fx.az.Token(fx.user, func(c map[string]any) { c["groups"] = []string{fx.group.ObjectID} })
		})},

	// The token.
	{name: "token expired", dsn: tokenDSN + "user=billing", cause: "a stored token", token: tokenWithClaim("exp", func(*fixture) any { return time.Now().Add(-time.Minute).Unix() }), fix: withToken(appToken)},
	{name: "token too old for the server", dsn: "user=billing", cause: "the server accepts tokens of at most five minutes, and the credential has one of ten",
		setup: func(t *testing.T, fx *fixture) {
			fx.opts = append(fx.opts, driver.WithCredential(staleCredential{fx}))
			fx.az.Faults.MaxTokenAge(5 * time.Minute)
			t.Cleanup(func() { fx.az.Faults.MaxTokenAge(0) })
		}, fix: applySetting},
	{name: "token expired, new wording", dsn: tokenDSN + "user=billing", cause: "Azure's clock is two hours ahead, and its messages have the newer wording", token: appToken,
		setup: func(t *testing.T, fx *fixture) {
			newWording(t, fx)
			fx.az.Faults.Clock(2 * time.Hour)
			t.Cleanup(func() { fx.az.Faults.Clock(0) })
		}, fix: withToken(appToken)},
	faultFailure("local clock ahead", managedDSN+"user=billing aad_scope=https://ossrdbms-aad.database.windows.net//.default", "Azure's clock is two hours behind this machine's", func(f *emulator.Faults, on bool) {
		if !on {
			f.Clock(0)
			return
		}
		f.Clock(-2 * time.Hour)
	}),
	// Another identity than the one that was meant. The system-assigned one is cached for the process.
	{name: "AZURE_CLIENT_ID names another identity", dsn: systemAssigned + "user=billing", cause: "mode managed-identity does not read AZURE_CLIENT_ID, and signs in as the host's own identity",
		setup: func(t *testing.T, fx *fixture) { t.Setenv("AZURE_CLIENT_ID", fx.app.ClientID) }, fix: applySetting},
	{name: "workload identity in mode managed-identity", dsn: systemAssigned + "user=billing", cause: "mode managed-identity signs in as the node's identity, and not as the pod's",
		setup: func(t *testing.T, fx *fixture) {
			env, err := fx.az.Environ(emulator.Kubernetes, fx.app)
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range env {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
		}, fix: applySetting},
	{name: "managed identity of another name", dsn: systemAssigned + "user=billing", cause: "the host has several identities, and none is chosen",
		fix: func(_ *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			return dsn + fill(" aad_client_id={client}", fx.app)
		}},

	{name: "token for another resource", dsn: secretDSN + "user=billing aad_scope=https://vault.azure.net/.default", cause: "aad_scope is wrong", fix: applySetting},
	{name: "token for another resource, new wording", dsn: secretDSN + "user=billing aad_scope=https://vault.azure.net/.default", cause: "aad_scope is wrong",
		setup: newWording, fix: applySetting},
	{name: "token for another resource, found locally", dsn: tokenDSN + "user=billing", cause: "the token is for Key Vault", token: tokenWithClaim("aud", func(*fixture) any { return "https://vault.azure.net" }), fix: withToken(appToken)},
	{name: "token for another cloud", dsn: azureHost + tokenDSN + "user=billing", cause: "the token is for servers in the US government cloud",
		token: tokenWithClaim("aud", func(*fixture) any { return "https://ossrdbms-aad.database.usgovcloudapi.net" }), fix: withToken(appToken)},
	{name: "Cosmos DB as flexible server", dsn: "host=emulator.postgres.cosmos.azure.com " + secretDSN + "user=billing aad_server_type=flexible", cause: "the server is Azure Cosmos DB for PostgreSQL", fix: applySetting},
	{name: "password in place of a token", dsn: tokenDSN + "user=billing", cause: "a password", token: func(*fixture) string { return "opensesame" }, fix: withToken(appToken)},
	{name: "quoted token", dsn: tokenDSN + "user=billing", cause: "the token was copied with its quotes", token: func(fx *fixture) string { return `"` + appToken(fx) + `"` }, fix: withToken(appToken)},
	{name: "truncated token", dsn: tokenDSN + "user=billing", cause: "the end of the token is missing", token: func(fx *fixture) string { tok := appToken(fx); return tok[:len(tok)-10] }, fix: withToken(appToken)},
	{name: "token without oid", dsn: tokenDSN + "user=billing", cause: "the token has no oid claim", token: tokenWithClaim("oid", func(*fixture) any { return nil }), fix: withToken(appToken)},

	// The server and its surroundings.
	faultFailure("server without TLS", secretDSN+"user=billing", "the server answers N to a request for TLS", (*emulator.Faults).RefuseTLS),
	serverFailure("firewall", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", SSL on`),
	serverFailure("connection without encryption", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", no encryption`),
	serverFailure("TLS required", "28000", "SSL connection is required. Please specify SSL options and retry."),
	serverFailure("too many connections", "53300", "sorry, too many clients already."),
	serverFailure("starting up", "57P03", "the database system is starting up"),
	withLongToken(serverFailure("PgBouncer, long token", "08P01", "client sent partial pkt in startup phase")),
	serverFailure("PgBouncer, partial packet", "08P01", "client sent partial pkt in startup phase"),
	serverFailure("PgBouncer, database unknown", "08P01", "no such database: billing"),
	serverFailure("PgBouncer, user unknown", "08P01", "no such user: billing"),
	serverFailure("pg_hba.conf rejects", "28000", `pg_hba.conf rejects connection for host "203.0.113.7", user "billing", database "postgres", SSL encryption`),
	serverFailure("token not yet valid", "28P01", "The access token isn't yet valid. Acquire a new token and try again."),
	serverFailure("token malformed, another wording", "28P01", "The access token has invalid format. Try again after making sure that the token is passed exactly as returned by the authentication endpoint."),
	serverFailure("role whose name is a wording", "28P01", `password authentication failed for user "the access token has expired"`),
	serverFailure("PgBouncer, too many connections", "08P01", "no more connections allowed (max_client_conn)"),
	serverFailure("PgBouncer, startup parameter", "08P01", "unsupported startup parameter: search_path"),
	serverFailure("PostgreSQL 18, pg_class", "XX000", "cannot read pg_class without having selected a database"),
	serverFailure("unknown error", "28000", "A text that nobody has reported yet"),
	{name: "database missing", dsn: secretDSN + "user=billing dbname=missing", cause: "the database does not exist", fix: replace("dbname=missing", "dbname=postgres")},
	{name: "no CONNECT privilege", dsn: secretDSN + "user=billing dbname=locked", cause: "REVOKE CONNECT ON DATABASE locked FROM PUBLIC",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "DROP DATABASE IF EXISTS locked", "CREATE DATABASE locked", "REVOKE CONNECT ON DATABASE locked FROM PUBLIC")
			fx.execAsSuperuser(t, `ALTER DATABASE locked OWNER TO "admin@contoso.com"`)
			t.Cleanup(func() { fx.execAsSuperuser(t, "DROP DATABASE locked WITH (FORCE)") })
		}, fix: applySQL},
	{name: "unknown setting", dsn: secretDSN + "user=billing schema_list=app", cause: "a key is not known to the server", fix: replace("schema_list", "search_path")},
	{name: "misspelled setting", dsn: secretDSN + "user=billing search_paht=app", cause: "a key is misspelled", fix: replace("search_paht", "search_path")},

	// TLS, network.
	faultFailure("certificate name mismatch", secretDSN+"user=billing", "the server's certificate is for another name", presentCertificate(emulator.WrongHostCertificate)),
	faultFailure("certificate untrusted", secretDSN+"user=billing", "the server's certificate is issued by an untrusted authority", presentCertificate(emulator.UntrustedCertificate)),
	{name: "sslrootcert of somebody else", dsn: secretDSN + "user=billing", cause: "sslrootcert holds another root", root: otherRoot, fix: useRoot},
	{name: "sslrootcert without a certificate", dsn: secretDSN + "user=billing", cause: "sslrootcert is a text", root: func(*testing.T) []byte { return []byte("not a certificate") }, fix: useRoot},
	{name: "sslrootcert missing", dsn: secretDSN + "user=billing", cause: "sslrootcert does not exist", root: func(*testing.T) []byte { return nil }, fix: useRoot},
	faultFailure("certificate expired", secretDSN+"user=billing", "the server's certificate has expired", presentCertificate(emulator.ExpiredCertificate)),
	faultFailure("connection closed", secretDSN+"user=billing", "connections are closed at once", (*emulator.Faults).HangUp),
	{name: "no such host", dsn: "host=nowhere.postgres.database.azure.com " + secretDSN + "user=billing", cause: "the host name is not known", setup: func(_ *testing.T, fx *fixture) { fx.opts = append(fx.opts, failLookup) },
		fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.opts = fx.opts[:len(fx.opts)-1]
			return strings.Replace(dsn, "nowhere.", "emulator.", 1)
		}},
	{name: "connection refused", dsn: "host=127.0.0.1 " + secretDSN + "user=billing port=1", cause: "the port is wrong", fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		return strings.Replace(dsn, " port=1", "", 1)
	}},

	// Entra.
	{name: "secret wrong", dsn: strings.Replace(secretDSN, "{secret}", "wrong", 1) + "user=billing", cause: "the secret is wrong", fix: replace("'wrong'", "'{secret}'")},
	{name: "application unknown", dsn: strings.Replace(secretDSN, "{client}", unknownID, 1) + "user=billing", cause: "the client id is wrong", fix: replace(unknownID, "{client}")},
	{name: "tenant unknown", dsn: strings.Replace(secretDSN, "{tenant}", unknownID, 1) + "user=billing", cause: "the tenant is wrong", fix: replace(unknownID, "{tenant}")},
	{name: "resource unknown", dsn: secretDSN + "user=billing aad_scope=http://typo/.default", cause: "the scope is wrong", fix: replace(" aad_scope=http://typo/.default", "")},
	entraFailure("secret expired", 7000222, "The provided client secret keys for app 'x' are expired."),
	secretFailure("secret with a line break", "the secret's variable ends in a line break", "{secret}\n"),
	secretFailure("secret with a byte order mark", "the secret's variable begins with a byte order mark", "\ufeff{secret}"),
	{name: "default mode, secret wrong", dsn: "user=billing", cause: "AZURE_CLIENT_SECRET is wrong",
		setup: func(t *testing.T, fx *fixture) {
			t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
			t.Setenv("AZURE_CLIENT_ID", fx.app.ClientID)
			t.Setenv("AZURE_CLIENT_SECRET", "wrong")
		},
		restore: func(t *testing.T, fx *fixture) { t.Setenv("AZURE_CLIENT_SECRET", fx.app.Secret) }},
	entraFailure("application disabled", 7000112, "Application 'x' is disabled."),
	entraFailure("client certificate unknown", 700027, "The certificate with identifier used to sign the client assertion is not registered on application."),
	entraFailure("federated subject unknown", 700213, "No matching federated identity record found for presented assertion subject 'x'."),
	entraFailure("federated credential unknown", 70021, "No matching federated identity record found for presented assertion."),
	entraFailure("federated issuer unknown", 700211, "No matching federated identity record found for presented assertion issuer 'x'."),
	entraFailure("assertion outside its validity", 700024, "Client assertion is not within its valid time range."),
	entraFailure("stored sign-in too old", 700082, "The refresh token has expired due to inactivity."),
	entraFailure("sign-in frequency", 70043, "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access."),
	entraFailure("refresh token expired", 70008, "The provided authorization code or refresh token has expired due to inactivity."),
	entraFailure("stored sign-in revoked", 50173, "The provided grant has expired due to it being revoked."),
	entraFailure("user unknown", 50034, "The user account {EUII Hidden} does not exist in the x directory."),
	entraFailure("user of another tenant", 50020, "User account 'x' from identity provider 'y' does not exist in tenant 'Contoso'."),
	entraFailure("multi-factor authentication required", 50076, "Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x'."),
	entraFailure("second factor too old", 50078, "Presented multi-factor authentication has expired due to policies configured by your administrator."),
	entraFailure("device not compliant", 53000, "Device is not in required device state: compliant."),
	entraFailure("device not managed", 530003, "Your device is required to be managed to access this resource."),
	entraFailure("Conditional Access, risk", 50131, "Device is not in required device state."),
	entraFailure("user not assigned", 50105, "The signed in user is blocked because they are not a direct member of a group with access."),
	entraFailure("application not assigned", 501051, "Application 'x' is not assigned to a role for the application 'y'."),
	entraFailure("user disabled", 50057, "The user account is disabled."),
	entraFailure("service principal missing", 7000229, "The client application x is missing service principal in the tenant y."),
	entraFailure("application of one tenant", 50194, "Application 'x' is not configured as a multi-tenant application."),
	entraFailure("public client not allowed", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."),
	entraFailure("scope invalid", 70011, "The provided value for the input parameter 'scope' is not valid."),
	entraFailure("scope without default", 1002012, "The provided value for scope x is not valid. Client credential flows must have a scope value with /.default suffixed."),
	entraFailure("assertion malformed", 50027, "JWT token is invalid or malformed."),
	entraFailure("Conditional Access", 53003, "Access has been blocked by Conditional Access policies."),
	entraFailure("consent missing", 65001, "The user or administrator has not consented to use the application with ID 'x'."),
	entraFailure("tenant of another cloud", 900382, "Confidential Client is not supported in Cross Cloud request."),
	entraFailure("request loop", 50196, "The server terminated an operation because it encountered a client request loop."),
	entraFailure("too many requests", 90055, "The server has terminated the connection because of too many requests."),
	faultFailure("authority unavailable", secretDSN+"user=billing", "Entra answers 503", func(f *emulator.Faults, on bool) {
		n := 0
		if on {
			n = -1 // all
		}
		f.FailTokens(n, 503)
	}),
	{name: "authority unreachable", dsn: secretDSN + "user=billing aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", cause: "nothing listens at the authority's address", fix: replace(" aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", "")},
	{name: "authority unknown", dsn: secretDSN + "user=billing aad_authority_host=https://127.0.0.1:1", cause: "the public cloud does not know the authority", fix: replace(" aad_authority_host=https://127.0.0.1:1", "")},

	// The host's identity, and tools.
	{name: "identity not assigned", dsn: "aad_auth=managed-identity aad_client_id=" + unknownID + " user=billing", cause: "a virtual machine without that identity", fix: replace(unknownID, "{client}")},
	{name: "several identities", dsn: "aad_auth=managed-identity user=billing", cause: "a virtual machine with several user-assigned identities",
		setup: func(t *testing.T, fx *fixture) {
			fx.az.Faults.DenyIdentity(400, `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`)
			t.Cleanup(func() { fx.az.Faults.DenyIdentity(0, "") })
		}, fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.az.Faults.DenyIdentity(0, "") // Azure sends it only to requests without an id
			return dsn + fill(" aad_client_id={client}", fx.app)
		}},
	deniedIdentity("virtual machine without an identity", emulator.VirtualMachine, "", 400, `{"error":"invalid_request","error_description":"Identity not found"}`),
	deniedIdentity("App Service without an identity", emulator.AppService, "", 400, `{"statusCode":400,"message":"Unable to load the proper Managed Identity."}`),
	deniedIdentity("App Service without that identity", emulator.AppService, "aad_client_id="+unknownID, 400, `{"statusCode":400,"message":"Unable to load the proper Managed Identity."}`),
	{name: "identity not assigned, App Service", dsn: "aad_auth=managed-identity aad_client_id=" + unknownID + " user=billing", cause: "an app without that identity",
		setup: func(t *testing.T, fx *fixture) { fx.az.SetenvOn(t, emulator.AppService, fx.app) }, fix: replace(unknownID, "{client}")},
	deniedIdentity("proxy in place of the metadata service", emulator.VirtualMachine, "", 403, "<html>blocked</html>"),
	{name: "endpoint of the managed identity unreachable", dsn: "aad_auth=managed-identity user=billing aad_token_timeout=1s", cause: "nothing listens at IDENTITY_ENDPOINT",
		setup: func(t *testing.T, fx *fixture) {
			fx.az.SetenvOn(t, emulator.AppService, fx.app)
			t.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
		}, fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.az.SetenvOn(t, emulator.AppService, fx.app)
			return strings.Replace(dsn, " aad_token_timeout=1s", "", 1) + fill(" aad_client_id={client}", fx.app)
		}},
	{name: "no managed identity on this host", dsn: "aad_auth=workload-identity,managed-identity,azure-cli", cause: "a workstation, with az logged out",
		setup: func(t *testing.T, fx *fixture) {
			loggedOut(t, fx)
			fx.noIMDS = true
			fx.opts[0] = fx.newTransport()
		}, restore: logIn},
	toolFailure("list, az logged out", "managed-identity,azure-cli", "a laptop, with az logged out", map[string]string{"az": prints("ERROR: Please run 'az login' to setup account.")}),
	toolFailure("default mode, az logged out", "default", "a laptop, with az logged out", map[string]string{"az": prints("ERROR: Please run 'az login' to setup account.")}),
	toolFailure("default mode, nothing here", "default", "a laptop without any tool", nil),
	toolFailure("list, nothing here", "managed-identity,azure-cli", "a laptop without az", nil),
	toolFailure("az hangs", "azure-cli", "az waits for something", map[string]string{"az": "exec sleep 4"}),
	toolFailure("azd hangs", "azure-developer-cli", "azd waits for something", map[string]string{"azd": "exec sleep 4"}),
	toolFailure("pwsh hangs", "azure-powershell", "pwsh waits for something", map[string]string{"pwsh": "exec sleep 4"}),
	toolFailure("list, az hangs", "managed-identity,azure-cli", "az waits for something", map[string]string{"az": "exec sleep 4"}),
	toolFailure("default mode, az hangs", "default", "az warns, and waits for something", map[string]string{"az": "echo 'WARNING: opening the browser' >&2; exec sleep 4"}),
	toolFailure("az wants a second factor", "azure-cli aad_tenant_id={tenant}", "the tenant requires multi-factor authentication for the server's scope", map[string]string{
		"az": prints("ERROR: AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x'. Trace ID: 1 Correlation ID: 2 Timestamp: 3",
			"Run the command below to authenticate interactively; additional arguments may be added as needed:", `az login --tenant "t" --scope "https://ossrdbms-aad.database.windows.net/.default"`)}),
	toolFailure("az wants a claims challenge", "azure-cli", "the tenant requires more for the server's scope", map[string]string{
		"az": prints("ERROR: AADSTS50076: You must use multi-factor authentication.", `az login --scope "https://ossrdbms-aad.database.windows.net/.default" --claims-challenge "eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`)}),
	toolFailure("az, Conditional Access", "azure-cli", "the tenant's Conditional Access blocks the sign-in", map[string]string{
		"az": prints("ERROR: AADSTS53003: Access has been blocked by Conditional Access policies.", "Interactive authentication is needed. Please run:", "az login --scope https://ossrdbms-aad.database.windows.net/.default")}),
	toolFailure("az, sign-in too old", "azure-cli", "az was last used long ago", map[string]string{
		"az": prints("ERROR: AADSTS700082: The refresh token has expired due to inactivity.", "Interactive authentication is needed. Please run:", "az login --scope https://ossrdbms-aad.database.windows.net/.default")}),
	toolFailure("az, another refusal", "azure-cli", "Entra refuses az with a code that is not in the table", map[string]string{
		"az": prints("ERROR: AADSTS999: Something new.", "Interactive authentication is needed. Please run:", "az login --scope https://ossrdbms-aad.database.windows.net/.default")}),
	toolFailure("az warns first", "azure-cli", "az warns before it fails", map[string]string{"az": prints("WARNING: You have 2 updates available.", "ERROR: Please run 'az login' to setup account.")}),
	toolFailure("az breaks", "azure-cli", "az fails with a traceback", map[string]string{"az": prints("ERROR: The command failed with an unexpected error. Here is the traceback:", "Traceback (most recent call last):", `  File "x.py", line 1, in f`, "PermissionError: [Errno 13] Permission denied: '/root/.azure/az.json'")}),
	toolFailure("az without network", "azure-cli", "az cannot resolve the authority's name", map[string]string{"az": prints("ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded")}),
	toolFailure("az behind a proxy", "azure-cli", "a proxy intercepts TLS", map[string]string{"az": prints("ERROR: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain")}),
	toolFailure("az prints no token", "azure-cli", "az is another program", map[string]string{"az": "echo hello"}),
	toolFailure("azd wants a second factor", "azure-developer-cli", "the tenant requires multi-factor authentication for the server's scope", map[string]string{
		"azd": prints("ERROR: fetching token: AADSTS50076: You must use multi-factor authentication.", "Suggestion: run `azd auth login --scope https://ossrdbms-aad.database.windows.net/.default` to acquire a new token.")}),
	toolFailure("azd, sign-in too old", "azure-developer-cli", "azd wants another sign-in", map[string]string{"azd": prints("ERROR: reauthentication required, run `azd auth login --scope x` to log in")}),
	toolFailure("PowerShell without its module", "azure-powershell", "the module Az.Accounts is missing", map[string]string{"pwsh": prints("Write-Error: Az.Accounts module not found")}),
	toolFailure("PowerShell, an error", "azure-powershell", "Get-AzAccessToken fails", map[string]string{
		"pwsh": `printf 'WARNING: old\n\033[31;1mGet-AzAccessToken: \033[0m\nLine |\n  21 |  $token = Get-AzAccessToken @params\n     |  ~~~~\n     | \033[31;1mThe tenant is unknown.\033[0m\n' >&2; exit 1`}),
	{name: "credential panics", dsn: "user=billing", cause: "the program's credential panics",
		setup: func(_ *testing.T, fx *fixture) {
			fx.opts = append(fx.opts, driver.WithCredential(panickingCredential{}))
		},
		restore: func(_ *testing.T, fx *fixture) {
			fx.opts = append(fx.opts, driver.WithCredential(staleCredential{fx}))
		}},
	{name: "az logged out", dsn: "aad_auth=azure-cli", cause: "a workstation, with az logged out", setup: loggedOut, restore: logIn},
	{name: "azd logged out", dsn: "aad_auth=azure-developer-cli", cause: "a workstation, with azd logged out", setup: loggedOut, restore: logIn},
	{name: "PowerShell logged out", dsn: "aad_auth=azure-powershell", cause: "a workstation, with Azure PowerShell logged out", setup: loggedOut, restore: logIn},
	{name: "az not installed", dsn: "aad_auth=azure-cli", cause: "no az on the PATH", setup: func(t *testing.T, fx *fixture) {
		need.Program(t, "bash")
		t.Setenv("PATH", t.TempDir())
	},
		restore: func(t *testing.T, fx *fixture) {
			env, err := fx.az.Environ(emulator.Workstation, fx.user)
			if err != nil {
				t.Fatal(err)
			}
			os.Setenv("PATH", strings.TrimPrefix(env[0], "PATH=")+":"+entratest.SystemPath(t))
			logIn(t, fx)
		}},

	// The DSN.
	{name: "key misspelled", dsn: secretDSN + "user=billing aad_scop=x", cause: "a key is misspelled", fix: replace(" aad_scop=x", "")},
	{name: "password under another name", dsn: managedDSN + "user=billing pwd=opensesame", cause: "the key for the password is called password", fix: replace(" pwd=opensesame", "")},
	{name: "string of ADO.NET", dsn: managedDSN + "user=billing;Password=opensesame", cause: "the pairs are separated by semicolons", fix: replace(";Password=opensesame", "")},
	{name: "password and token", dsn: managedDSN + "user=billing password=opensesame", cause: "the password was left in the DSN", fix: replace(" password=opensesame", "")},
	{name: "TLS disabled", dsn: secretDSN + "user=billing sslmode=disable", cause: "sslmode=disable", fix: replace(" sslmode=disable", "")},
	{name: "cloud and host differ", dsn: azureHost + secretDSN + "user=billing aad_cloud=usgov", cause: "a host in the public cloud", fix: replace(" aad_cloud=usgov", "")},
	{name: "federated token missing", dsn: "aad_auth=workload-identity user=billing", cause: "no workload identity", restore: func(t *testing.T, fx *fixture) { fx.az.SetenvOn(t, emulator.Kubernetes, fx.app) }},
	assertionFailure("federated token's file missing", "AZURE_FEDERATED_TOKEN_FILE names no file", nil),
	assertionFailure("federated token's file empty", "AZURE_FEDERATED_TOKEN_FILE names an empty file", []byte("\n")),
	assertionFailure("federated token's file with a byte order mark", "AZURE_FEDERATED_TOKEN_FILE names a file that Windows has written", []byte("\ufeffa.b.c")),
	{name: "token file empty", dsn: tokenDSN + "user=billing aad_token_file={file}", cause: "aad_token_file names an empty file",
		file: func(*testing.T) []byte { return []byte("\r\n") }, fix: writeToken},
	{name: "token file of another kind", dsn: tokenDSN + "user=billing aad_token_file={file}", cause: "aad_token_file holds az's JSON",
		file: func(*testing.T) []byte { return []byte(`{"accessToken":"opaque"}`) }, fix: writeToken},
	{name: "environment variables missing", dsn: "aad_auth=environment user=billing", cause: "no AZURE_ variables", restore: func(t *testing.T, fx *fixture) {
		t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
		t.Setenv("AZURE_CLIENT_ID", fx.app.ClientID)
		t.Setenv("AZURE_CLIENT_SECRET", fx.app.Secret)
	}},
}

// deniedIdentity is a failure of a host whose endpoint gives no token for params, until it
// is asked for an identity that the host has.
func deniedIdentity(name string, h emulator.Host, params string, status int, body string) failure {
	return failure{name: name, dsn: "aad_auth=managed-identity user=billing " + params, cause: fmt.Sprintf("the endpoint answers %d %s", status, body),
		setup: func(t *testing.T, fx *fixture) {
			fx.az.SetenvOn(t, h, fx.app)
			fx.az.Faults.DenyIdentity(status, body)
			t.Cleanup(func() { fx.az.Faults.DenyIdentity(0, "") })
		}, fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.az.Faults.DenyIdentity(0, "")
			return strings.TrimSuffix(dsn, params) + fill(" aad_client_id={client}", fx.app)
		}}
}
