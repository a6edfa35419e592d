package integration

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const (
	// secret signs billing in by its secret, mi by its host, manual with a token in
	// the password's place.
	secretDSN  = "aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}' "
	managedDSN = "aad_auth=managed-identity aad_client_id={client} "
	tokenDSN   = "aad_auth=access-token "
	azureHost  = "host=emulator.postgres.database.azure.com "
)

func userToken(fx *fixture) string { return fx.az.Token(fx.user, nil) }
func appToken(fx *fixture) string  { return fx.az.Token(fx.app, nil) }

func tokenWithClaim(claim string, v func(fx *fixture) any) func(*fixture) string {
	return func(fx *fixture) string {
		return fx.az.Token(fx.app, func(c map[string]any) {
			if c[claim] = v(fx); c[claim] == nil {
				delete(c, claim)
			}
		})
	}
}

// turned turns a knob, and back.
func toggle(knob func(f *emulator.Faults, on bool)) (set, undo func(*testing.T, *fixture)) {
	set = func(t *testing.T, fx *fixture) {
		knob(&fx.az.Faults, true)
		t.Cleanup(func() { knob(&fx.az.Faults, false) })
	}
	return set, func(_ *testing.T, fx *fixture) { knob(&fx.az.Faults, false) }
}

// server makes the server refuse everyone in these words.
func serverFailure(name, code, text string) failure {
	f := failure{name: name, dsn: secretDSN + "user=billing", cause: "the server says " + text}
	f.setup, f.restore = toggle(func(f *emulator.Faults, on bool) {
		if !on {
			f.Refuse(nil)
			return
		}
		f.Refuse(&pgconn.PgError{Severity: "FATAL", Code: code, Message: text})
	})
	return f
}

// entra makes Entra refuse everyone with a code.
func entraFailure(name string, code int, text string) failure {
	f := failure{name: name, dsn: secretDSN + "user=billing", cause: "Entra says " + text}
	f.setup, f.restore = toggle(func(f *emulator.Faults, on bool) {
		if on {
			f.DenyTokens(code, text)
		} else {
			f.DenyTokens(0, "")
		}
	})
	return f
}

// knob is a failure that one knob makes.
func faultFailure(name, dsn, world string, turn func(f *emulator.Faults, on bool)) failure {
	f := failure{name: name, dsn: dsn, cause: world}
	f.setup, f.restore = toggle(turn)
	return f
}

// old is a credential that has tokens of ten minutes ago, unless asked for younger ones.
type staleCredential struct{ fx *fixture }

func (o staleCredential) GetToken(_ context.Context, r policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{ExpiresOn: time.Now().Add(time.Hour), Token: o.fx.az.Token(o.fx.app, func(c map[string]any) {
		if r.Claims == "" {
			c["iat"] = time.Now().Add(-15 * time.Minute).Unix()
		}
	})}, nil
}

func workstation(t *testing.T, fx *fixture) {
	fx.az.SetenvOn(t, emulator.Workstation, emulator.Identity{}) // nobody is signed in yet
}

func execSimple(raw any, sql string) error {
	_, err := raw.(*stdlib.Conn).Conn().Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

var failures = []failure{
	// The role.
	{name: "role missing", dsn: secretDSN + "user=new-billing", cause: "there is no such role", fix: applySQL},
	{name: "role missing, in the server's words", dsn: secretDSN + "user=other-billing require_auth=password,scram-sha-256", cause: "there is no such role", fix: applySQL},
	{name: "role of a person missing", dsn: tokenDSN + "user=you@contoso.com", cause: "there is no such role",
		token: func(fx *fixture) string {
			return fx.az.Token(fx.az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000aa"}), nil)
		}, fix: applySQL},
	{name: "role not of Entra", dsn: secretDSN + "user=native", cause: `role "native" was made by CREATE ROLE`,
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "DROP ROLE IF EXISTS native", "CREATE ROLE native LOGIN PASSWORD 'p'")
		},
		fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			conn := fx.connectAsAdmin(t)
			defer conn.Close()
			_, err := driver.Role{Name: "native", Kind: "service-principal", ObjectID: fx.app.ObjectID}.Apply(context.Background(), conn)
			return applySQL(t, fx, dsn, asError(t, err)) // it exists: the error says how to give it away
		}},
	{name: "role in other capitals", dsn: secretDSN + "user=Billing", cause: `the role is "billing"`, fix: replace("user=Billing", "user=billing")},
	{name: "server's name where none is wanted", dsn: azureHost + secretDSN + "user=billing@emulator", cause: "a flexible server, a user as single server wants it", fix: applySetting},
	{name: "role may not log in", dsn: secretDSN + "user=billing", cause: "ALTER ROLE billing NOLOGIN",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "ALTER ROLE billing NOLOGIN")
			t.Cleanup(func() { fx.execAsSuperuser(t, "ALTER ROLE billing LOGIN") })
		}, restore: func(t *testing.T, fx *fixture) { fx.execAsSuperuser(t, "ALTER ROLE billing LOGIN") }},
	{name: "no user", dsn: tokenDSN, cause: "a service principal's token does not tell a role", token: tokenWithClaim("xms_mirid", func(*fixture) any { return nil }), fix: func(_ *testing.T, _ *fixture, dsn string, _ *driver.Error) string { return dsn + " user=billing" }},

	// Single server.
	{name: "server's name missing", single: true, dsn: azureHost + secretDSN + "user=billing", cause: "a single server", fix: applySetting},
	{name: "server's name missing, address", single: true, dsn: secretDSN + "user=billing aad_server_type=single", cause: "a single server, connected to by its address", fix: replace("user=billing", "user=billing@emulator")},
	{name: "server's name twice", single: true, dsn: azureHost + secretDSN + "user=billing@emulator@emulator aad_server_type=single require_auth=password,scram-sha-256", cause: "a single server", fix: applySetting},
	{name: "single server, person without role", single: true, dsn: azureHost + tokenDSN + "user=new@contoso.com aad_server_type=single", cause: "a single server, no such role",
		token: func(fx *fixture) string {
			return fx.az.Token(fx.az.Add(emulator.Identity{Name: "new@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000bb"}), nil)
		}, fix: applySQL},
	{name: "single server, application without role", single: true, dsn: azureHost + secretDSN + "user=myapp aad_server_type=single", cause: "a single server, no such role", fix: applySQL},
	{name: "single server, token too old", single: true, dsn: azureHost + tokenDSN + "user=billing aad_server_type=single aad_token_max_age=0", cause: "the token is sixteen minutes old",
		token: tokenWithClaim("iat", func(*fixture) any { return time.Now().Add(-21 * time.Minute).Unix() }), fix: withToken(appToken)},

	// Whose token.
	{name: "person's name, application's token", dsn: secretDSN + "user=her@contoso.com", cause: "there is no such role", fix: replace("user=her@contoso.com", "user=billing")},
	{name: "person's role, application's token", dsn: managedDSN + "user=me@contoso.com", cause: "the role is a person's", fix: applySetting},
	{name: "application's role, person's token", dsn: tokenDSN + "user=billing", cause: "the role is an application's", token: userToken, fix: applySetting},
	{name: "identity made anew", dsn: secretDSN + "user=reborn", cause: "the role was made for an identity that is gone",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, `DROP ROLE IF EXISTS reborn`)
			grant(t, fx, emulator.Identity{Name: "reborn", ObjectID: "00000000-0000-0000-0000-0000000000cc"})
		}, fix: applySQL},
	{name: "identity made anew, new wording", dsn: secretDSN + "user=reborn2", cause: "the role was made for an identity that is gone",
		setup: func(t *testing.T, fx *fixture) {
			grant(t, fx, emulator.Identity{Name: "reborn2", ObjectID: "00000000-0000-0000-0000-0000000000dd", ClientID: "00000000-0000-0000-0000-0000000000de"})
			fx.az.Faults.NewWording(true)
			t.Cleanup(func() { fx.az.Faults.NewWording(false) })
		}, fix: applySQL},
	{name: "not in the group", dsn: tokenDSN + "user=Readers", cause: "the person is no member of the group", token: userToken,
		fix: withToken(func(fx *fixture) string {
			return fx.az.Token(fx.user, func(c map[string]any) { c["groups"] = []string{fx.group.ObjectID} })
		})},

	// The token.
	{name: "token expired", dsn: tokenDSN + "user=billing", cause: "a stored token", token: tokenWithClaim("exp", func(*fixture) any { return time.Now().Add(-time.Minute).Unix() }), fix: withToken(appToken)},
	{name: "token too old for the server", dsn: "user=billing", cause: "the server wants tokens of at most five minutes, the credential has one of ten",
		setup: func(t *testing.T, fx *fixture) {
			fx.opts = append(fx.opts, driver.WithCredential(staleCredential{fx}))
			fx.az.Faults.MaxTokenAge(5 * time.Minute)
			t.Cleanup(func() { fx.az.Faults.MaxTokenAge(0) })
		}, fix: applySetting},
	{name: "token expired, new wording", dsn: tokenDSN + "user=billing", cause: "Azure's clock is two hours ahead, its words are the newer ones", token: appToken,
		setup: func(t *testing.T, fx *fixture) {
			fx.az.Faults.NewWording(true)
			fx.az.Faults.Clock(2 * time.Hour)
			t.Cleanup(func() { fx.az.Faults.NewWording(false); fx.az.Faults.Clock(0) })
		}, fix: withToken(func(fx *fixture) string { return fx.az.Token(fx.app, nil) })},
	faultFailure("this machine's clock is ahead", managedDSN+"user=billing aad_scope=https://ossrdbms-aad.database.windows.net//.default", "Azure's clock is two hours behind this machine's", func(f *emulator.Faults, on bool) {
		f.Clock(map[bool]time.Duration{true: -2 * time.Hour}[on])
	}),
	{name: "token of another resource", dsn: secretDSN + "user=billing aad_scope=https://vault.azure.net/.default", cause: "aad_scope is wrong", fix: applySetting},
	{name: "token of another resource, new wording", dsn: secretDSN + "user=billing aad_scope=https://vault.azure.net/.default", cause: "aad_scope is wrong",
		setup: func(t *testing.T, fx *fixture) {
			fx.az.Faults.NewWording(true)
			t.Cleanup(func() { fx.az.Faults.NewWording(false) })
		}, fix: applySetting},
	{name: "token of another resource, seen here", dsn: tokenDSN + "user=billing", cause: "the token is for Key Vault", token: tokenWithClaim("aud", func(*fixture) any { return "https://vault.azure.net" }), fix: withToken(appToken)},
	{name: "token of another cloud", dsn: azureHost + tokenDSN + "user=billing", cause: "the token is for US government servers",
		token: tokenWithClaim("aud", func(*fixture) any { return "https://ossrdbms-aad.database.usgovcloudapi.net" }), fix: withToken(appToken)},
	{name: "Cosmos DB under another name", dsn: "host=emulator.postgres.cosmos.azure.com " + secretDSN + "user=billing aad_server_type=flexible", cause: "the server is Azure Cosmos DB for PostgreSQL", fix: applySetting},
	{name: "no token", dsn: tokenDSN + "user=billing", cause: "a password", token: func(*fixture) string { return "opensesame" }, fix: withToken(appToken)},
	{name: "token in quotes", dsn: tokenDSN + "user=billing", cause: "the token was copied with its quotes", token: func(fx *fixture) string { return `"` + appToken(fx) + `"` }, fix: withToken(appToken)},
	{name: "token cut short", dsn: tokenDSN + "user=billing", cause: "the end of the token is missing", token: func(fx *fixture) string { tok := appToken(fx); return tok[:len(tok)-10] }, fix: withToken(appToken)},
	{name: "token without oid", dsn: tokenDSN + "user=billing", cause: "the token names no object", token: tokenWithClaim("oid", func(*fixture) any { return nil }), fix: withToken(appToken)},

	// The server and its surroundings.
	faultFailure("server without TLS", secretDSN+"user=billing", "the server answers N to a request for TLS", (*emulator.Faults).RefuseTLS),
	serverFailure("firewall", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", SSL on`),
	serverFailure("no encryption", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", no encryption`),
	serverFailure("TLS wanted", "28000", "SSL connection is required. Please specify SSL options and retry."),
	serverFailure("too many connections", "53300", "sorry, too many clients already."),
	serverFailure("starting up", "57P03", "the database system is starting up"),
	serverFailure("PgBouncer and a long token", "08P01", "client sent partial pkt in startup phase"),
	serverFailure("PgBouncer is full", "08P01", "no more connections allowed (max_client_conn)"),
	serverFailure("PgBouncer and a setting", "08P01", "unsupported startup parameter: search_path"),
	serverFailure("PostgreSQL 18", "XX000", "cannot read pg_class without having selected a database"),
	serverFailure("something new", "28000", "A text that nobody has reported yet"),
	{name: "no database", dsn: secretDSN + "user=billing dbname=missing", cause: "there is no such database", fix: replace("dbname=missing", "dbname=postgres")},
	{name: "no right to connect", dsn: secretDSN + "user=billing dbname=locked", cause: "REVOKE CONNECT ON DATABASE locked FROM PUBLIC",
		setup: func(t *testing.T, fx *fixture) {
			fx.execAsSuperuser(t, "DROP DATABASE IF EXISTS locked", "CREATE DATABASE locked", "REVOKE CONNECT ON DATABASE locked FROM PUBLIC")
			fx.execAsSuperuser(t, `ALTER DATABASE locked OWNER TO "admin@contoso.com"`)
			t.Cleanup(func() { fx.execAsSuperuser(t, "DROP DATABASE locked WITH (FORCE)") })
		}, fix: applySQL},
	{name: "a setting that is none", dsn: secretDSN + "user=billing search_paht=app", cause: "a key is misspelled", fix: replace("search_paht", "search_path")},

	// TLS, network.
	faultFailure("certificate for another name", secretDSN+"user=billing", "the server's certificate is for another name", presentCertificate(emulator.OtherNameCertificate)),
	faultFailure("certificate of a stranger", secretDSN+"user=billing", "the server's certificate is by an unknown authority", presentCertificate(emulator.StrangerCertificate)),
	faultFailure("certificate expired", secretDSN+"user=billing", "the server's certificate has expired", presentCertificate(emulator.ExpiredCertificate)),
	faultFailure("connection cut", secretDSN+"user=billing", "something closes connections at once", (*emulator.Faults).HangUp),
	{name: "no such host", dsn: "host=nowhere.postgres.database.azure.com " + secretDSN + "user=billing", cause: "the name is not known", setup: func(_ *testing.T, fx *fixture) { fx.opts = append(fx.opts, failLookup) },
		fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.opts = fx.opts[:len(fx.opts)-1]
			return strings.Replace(dsn, "nowhere.", "emulator.", 1)
		}},
	{name: "nothing listens", dsn: "host=127.0.0.1 " + secretDSN + "user=billing port=1", cause: "the port is wrong", fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		return strings.Replace(dsn, " port=1", "", 1)
	}},

	// Entra.
	{name: "wrong secret", dsn: strings.Replace(secretDSN, "{secret}", "wrong", 1) + "user=billing", cause: "the secret is wrong", fix: replace("'wrong'", "'{secret}'")},
	{name: "unknown application", dsn: strings.Replace(secretDSN, "{client}", unknownID, 1) + "user=billing", cause: "the client id is wrong", fix: replace(unknownID, "{client}")},
	{name: "unknown tenant", dsn: strings.Replace(secretDSN, "{tenant}", unknownID, 1) + "user=billing", cause: "the tenant is wrong", fix: replace(unknownID, "{tenant}")},
	{name: "unknown resource", dsn: secretDSN + "user=billing aad_scope=http://typo/.default", cause: "the scope is wrong", fix: replace(" aad_scope=http://typo/.default", "")},
	entraFailure("secret expired", 7000222, "The provided client secret keys for app 'x' are expired."),
	entraFailure("application disabled", 7000112, "Application 'x' is disabled."),
	entraFailure("certificate unknown", 700027, "The certificate with identifier used to sign the client assertion is not registered on application."),
	entraFailure("federated subject unknown", 700213, "No matching federated identity record found for presented assertion subject 'x'."),
	entraFailure("federated issuer unknown", 700211, "No matching federated identity record found for presented assertion issuer 'x'."),
	entraFailure("assertion out of time", 700024, "Client assertion is not within its valid time range."),
	entraFailure("stored sign-in too old", 700082, "The refresh token has expired due to inactivity."),
	entraFailure("stored sign-in revoked", 50173, "The provided grant has expired due to it being revoked."),
	entraFailure("user unknown", 50034, "The user account {EUII Hidden} does not exist in the x directory."),
	entraFailure("user of another tenant", 50020, "User account 'x' from identity provider 'y' does not exist in tenant 'Contoso'."),
	entraFailure("second factor", 50076, "Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x'."),
	entraFailure("Conditional Access", 53003, "Access has been blocked by Conditional Access policies."),
	entraFailure("no consent", 65001, "The user or administrator has not consented to use the application with ID 'x'."),
	entraFailure("tenant of another cloud", 900382, "Confidential Client is not supported in Cross Cloud request."),
	entraFailure("request loop", 50196, "The server terminated an operation because it encountered a client request loop."),
	entraFailure("tenant throttled", 90055, "The server has terminated the connection because of too many requests."),
	faultFailure("authority in trouble", secretDSN+"user=billing", "Entra answers 503", func(f *emulator.Faults, on bool) { f.FailTokens(map[bool]int{true: -1}[on], 503) }),
	{name: "authority not reached", dsn: secretDSN + "user=billing aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", cause: "nothing listens at the authority's address", fix: replace(" aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", "")},
	{name: "authority not known", dsn: secretDSN + "user=billing aad_authority_host=https://127.0.0.1:1", cause: "the public cloud does not know the authority", fix: replace(" aad_authority_host=https://127.0.0.1:1", "")},

	// The host's identity, and tools.
	{name: "identity not assigned", dsn: "aad_auth=managed-identity aad_client_id=" + unknownID + " user=billing", cause: "a virtual machine without that identity", fix: replace(unknownID, "{client}")},
	{name: "several identities", dsn: "aad_auth=managed-identity user=billing", cause: "a virtual machine with several identities, none its own",
		setup: func(t *testing.T, fx *fixture) {
			fx.az.Faults.DenyIdentity(400, `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`)
			t.Cleanup(func() { fx.az.Faults.DenyIdentity(0, "") })
		}, fix: func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
			fx.az.Faults.DenyIdentity(0, "") // which it answers only to who names none
			return dsn + fill(" aad_client_id={client}", fx.app)
		}},
	{name: "no managed identity here", dsn: "aad_auth=workload-identity,managed-identity,azure-cli", cause: "a workstation, az logged out",
		setup: func(t *testing.T, fx *fixture) {
			workstation(t, fx)
			fx.noIMDS = true
			fx.opts[0] = fx.newTransport()
		}, restore: func(t *testing.T, fx *fixture) { fx.az.Login(fx.user); t.Cleanup(fx.az.Logout) }},
	{name: "az logged out", dsn: "aad_auth=azure-cli", cause: "a workstation, az logged out", setup: workstation,
		restore: func(t *testing.T, fx *fixture) { fx.az.Login(fx.user); t.Cleanup(fx.az.Logout) }},
	{name: "azd logged out", dsn: "aad_auth=azure-developer-cli", cause: "a workstation, azd logged out", setup: workstation,
		restore: func(t *testing.T, fx *fixture) { fx.az.Login(fx.user); t.Cleanup(fx.az.Logout) }},
	{name: "PowerShell logged out", dsn: "aad_auth=azure-powershell", cause: "a workstation, Azure PowerShell logged out", setup: workstation,
		restore: func(t *testing.T, fx *fixture) { fx.az.Login(fx.user); t.Cleanup(fx.az.Logout) }},
	{name: "az not installed", dsn: "aad_auth=azure-cli", cause: "no az on the PATH", setup: func(t *testing.T, fx *fixture) { t.Setenv("PATH", t.TempDir()) },
		restore: func(t *testing.T, fx *fixture) {
			env, err := fx.az.Environ(emulator.Workstation, fx.user)
			if err != nil {
				t.Fatal(err)
			}
			os.Setenv("PATH", strings.TrimPrefix(env[0], "PATH=")+":/usr/bin:/bin")
			fx.az.Login(fx.user)
			t.Cleanup(fx.az.Logout)
		}},

	// The DSN.
	{name: "misspelled key", dsn: secretDSN + "user=billing aad_scop=x", cause: "a key is misspelled", fix: replace(" aad_scop=x", "")},
	{name: "password and token", dsn: managedDSN + "user=billing password=opensesame", cause: "the password was left in the DSN", fix: replace(" password=opensesame", "")},
	{name: "TLS switched off", dsn: secretDSN + "user=billing sslmode=disable", cause: "sslmode=disable", fix: replace(" sslmode=disable", "")},
	{name: "cloud and host differ", dsn: azureHost + secretDSN + "user=billing aad_cloud=usgov", cause: "a host of the public cloud", fix: replace(" aad_cloud=usgov", "")},
	{name: "no federated token", dsn: "aad_auth=workload-identity user=billing", cause: "no workload identity", restore: func(t *testing.T, fx *fixture) { fx.az.SetenvOn(t, emulator.Kubernetes, fx.app) }},
	{name: "no environment", dsn: "aad_auth=environment user=billing", cause: "no AZURE_ variables", restore: func(t *testing.T, fx *fixture) {
		t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
		t.Setenv("AZURE_CLIENT_ID", fx.app.ClientID)
		t.Setenv("AZURE_CLIENT_SECRET", fx.app.Secret)
	}},
}

func presentCertificate(c emulator.Certificate) func(*emulator.Faults, bool) {
	return func(f *emulator.Faults, on bool) {
		f.Certificate(map[bool]emulator.Certificate{true: c}[on])
	}
}

func grant(t *testing.T, fx *fixture, id emulator.Identity) {
	if err := fx.az.Grant(context.Background(), fx.az.Add(id)); err != nil {
		t.Fatal(err)
	}
}

func asError(t *testing.T, err error) *driver.Error {
	t.Helper()
	e, ok := err.(*driver.Error)
	if !ok {
		t.Fatalf("got %v", err)
	}
	return e
}
