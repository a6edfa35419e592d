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
	secret = "aad_auth=client-secret aad_tenant_id={tenant} aad_client_id={client} aad_client_secret='{secret}' "
	mi     = "aad_auth=managed-identity aad_client_id={client} "
	manual = "aad_auth=access-token "
	azure  = "host=emulator.postgres.database.azure.com "
)

func personsToken(s *scene) string { return s.az.Token(s.user, nil) }
func appsToken(s *scene) string    { return s.az.Token(s.app, nil) }

func spoilt(claim string, v func(s *scene) any) func(*scene) string {
	return func(s *scene) string {
		return s.az.Token(s.app, func(c map[string]any) {
			if c[claim] = v(s); c[claim] == nil {
				delete(c, claim)
			}
		})
	}
}

// turned turns a knob, and back.
func turned(knob func(f *emulator.Faults, on bool)) (set, undo func(*testing.T, *scene)) {
	set = func(t *testing.T, s *scene) {
		knob(&s.az.Faults, true)
		t.Cleanup(func() { knob(&s.az.Faults, false) })
	}
	return set, func(_ *testing.T, s *scene) { knob(&s.az.Faults, false) }
}

// server makes the server refuse everyone in these words.
func server(name, code, text string) failure {
	f := failure{name: name, dsn: secret + "user=billing", world: "the server says " + text}
	f.set, f.undo = turned(func(f *emulator.Faults, on bool) {
		if !on {
			f.Refuse(nil)
			return
		}
		f.Refuse(&pgconn.PgError{Severity: "FATAL", Code: code, Message: text})
	})
	return f
}

// entra makes Entra refuse everyone with a code.
func entra(name string, code int, text string) failure {
	f := failure{name: name, dsn: secret + "user=billing", world: "Entra says " + text}
	f.set, f.undo = turned(func(f *emulator.Faults, on bool) {
		if on {
			f.DenyTokens(code, text)
		} else {
			f.DenyTokens(0, "")
		}
	})
	return f
}

// knob is a failure that one knob makes.
func knob(name, dsn, world string, turn func(f *emulator.Faults, on bool)) failure {
	f := failure{name: name, dsn: dsn, world: world}
	f.set, f.undo = turned(turn)
	return f
}

// old is a credential that has tokens of ten minutes ago, unless asked for younger ones.
type old struct{ s *scene }

func (o old) GetToken(_ context.Context, r policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{ExpiresOn: time.Now().Add(time.Hour), Token: o.s.az.Token(o.s.app, func(c map[string]any) {
		if r.Claims == "" {
			c["iat"] = time.Now().Add(-15 * time.Minute).Unix()
		}
	})}, nil
}

func workstation(t *testing.T, s *scene) {
	s.az.SetenvOn(t, emulator.Workstation, emulator.Identity{}) // nobody is signed in yet
}

func simply(raw any, sql string) error {
	_, err := raw.(*stdlib.Conn).Conn().Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

var failures = []failure{
	// The role.
	{name: "role missing", dsn: secret + "user=new-billing", world: "there is no such role", mend: runSQL},
	{name: "role missing, in the server's words", dsn: secret + "user=other-billing require_auth=password,scram-sha-256", world: "there is no such role", mend: runSQL},
	{name: "role of a person missing", dsn: manual + "user=you@contoso.com", world: "there is no such role",
		token: func(s *scene) string {
			return s.az.Token(s.az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000aa"}), nil)
		}, mend: runSQL},
	{name: "role not of Entra", dsn: secret + "user=native", world: `role "native" was made by CREATE ROLE`,
		set: func(t *testing.T, s *scene) {
			s.superuser(t, "DROP ROLE IF EXISTS native", "CREATE ROLE native LOGIN PASSWORD 'p'")
		},
		mend: func(t *testing.T, s *scene, dsn string, _ *driver.Error) string {
			conn := s.asAdmin(t)
			defer conn.Close()
			_, err := driver.Role{Name: "native", Kind: "service-principal", ObjectID: s.app.ObjectID}.Apply(context.Background(), conn)
			return runSQL(t, s, dsn, asError(t, err)) // it exists: the error says how to give it away
		}},
	{name: "role in other capitals", dsn: secret + "user=Billing", world: `the role is "billing"`, mend: replaced("user=Billing", "user=billing")},
	{name: "server's name where none is wanted", dsn: azure + secret + "user=billing@emulator", world: "a flexible server, a user as single server wants it", mend: setKey},
	{name: "role may not log in", dsn: secret + "user=billing", world: "ALTER ROLE billing NOLOGIN",
		set: func(t *testing.T, s *scene) {
			s.superuser(t, "ALTER ROLE billing NOLOGIN")
			t.Cleanup(func() { s.superuser(t, "ALTER ROLE billing LOGIN") })
		}, undo: func(t *testing.T, s *scene) { s.superuser(t, "ALTER ROLE billing LOGIN") }},
	{name: "no user", dsn: manual, world: "a service principal's token does not tell a role", token: spoilt("xms_mirid", func(*scene) any { return nil }), mend: func(_ *testing.T, _ *scene, dsn string, _ *driver.Error) string { return dsn + " user=billing" }},

	// Single server.
	{name: "server's name missing", single: true, dsn: azure + secret + "user=billing", world: "a single server", mend: setKey},
	{name: "server's name missing, address", single: true, dsn: secret + "user=billing aad_server_type=single", world: "a single server, connected to by its address", mend: replaced("user=billing", "user=billing@emulator")},
	{name: "server's name twice", single: true, dsn: azure + secret + "user=billing@emulator@emulator aad_server_type=single require_auth=password,scram-sha-256", world: "a single server", mend: setKey},
	{name: "single server, person without role", single: true, dsn: azure + manual + "user=new@contoso.com aad_server_type=single", world: "a single server, no such role",
		token: func(s *scene) string {
			return s.az.Token(s.az.Add(emulator.Identity{Name: "new@contoso.com", Kind: emulator.User, ObjectID: "00000000-0000-0000-0000-0000000000bb"}), nil)
		}, mend: runSQL},
	{name: "single server, application without role", single: true, dsn: azure + secret + "user=myapp aad_server_type=single", world: "a single server, no such role", mend: runSQL},
	{name: "single server, token too old", single: true, dsn: azure + manual + "user=billing aad_server_type=single aad_token_max_age=0", world: "the token is sixteen minutes old",
		token: spoilt("iat", func(*scene) any { return time.Now().Add(-21 * time.Minute).Unix() }), mend: given(appsToken)},

	// Whose token.
	{name: "person's name, application's token", dsn: secret + "user=her@contoso.com", world: "there is no such role", mend: replaced("user=her@contoso.com", "user=billing")},
	{name: "person's role, application's token", dsn: mi + "user=me@contoso.com", world: "the role is a person's", mend: setKey},
	{name: "application's role, person's token", dsn: manual + "user=billing", world: "the role is an application's", token: personsToken, mend: setKey},
	{name: "identity made anew", dsn: secret + "user=reborn", world: "the role was made for an identity that is gone",
		set: func(t *testing.T, s *scene) {
			s.superuser(t, `DROP ROLE IF EXISTS reborn`)
			grantOnce(t, s, emulator.Identity{Name: "reborn", ObjectID: "00000000-0000-0000-0000-0000000000cc"})
		}, mend: runSQL},
	{name: "identity made anew, new wording", dsn: secret + "user=reborn2", world: "the role was made for an identity that is gone",
		set: func(t *testing.T, s *scene) {
			grantOnce(t, s, emulator.Identity{Name: "reborn2", ObjectID: "00000000-0000-0000-0000-0000000000dd", ClientID: "00000000-0000-0000-0000-0000000000de"})
			s.az.Faults.NewWording(true)
			t.Cleanup(func() { s.az.Faults.NewWording(false) })
		}, mend: runSQL},
	{name: "not in the group", dsn: manual + "user=Readers", world: "the person is no member of the group", token: personsToken,
		mend: given(func(s *scene) string {
			return s.az.Token(s.user, func(c map[string]any) { c["groups"] = []string{s.group.ObjectID} })
		})},

	// The token.
	{name: "token expired", dsn: manual + "user=billing", world: "a stored token", token: spoilt("exp", func(*scene) any { return time.Now().Add(-time.Minute).Unix() }), mend: given(appsToken)},
	{name: "token too old for the server", dsn: "user=billing", world: "the server wants tokens of at most five minutes, the credential has one of ten",
		set: func(t *testing.T, s *scene) {
			s.opts = append(s.opts, driver.WithCredential(old{s}))
			s.az.Faults.MaxTokenAge(5 * time.Minute)
			t.Cleanup(func() { s.az.Faults.MaxTokenAge(0) })
		}, mend: setKey},
	{name: "token expired, new wording", dsn: manual + "user=billing", world: "Azure's clock is two hours ahead, its words are the newer ones", token: appsToken,
		set: func(t *testing.T, s *scene) {
			s.az.Faults.NewWording(true)
			s.az.Faults.Clock(2 * time.Hour)
			t.Cleanup(func() { s.az.Faults.NewWording(false); s.az.Faults.Clock(0) })
		}, mend: given(func(s *scene) string { return s.az.Token(s.app, nil) })},
	knob("this machine's clock is ahead", mi+"user=billing aad_scope=https://ossrdbms-aad.database.windows.net//.default", "Azure's clock is two hours behind this machine's", func(f *emulator.Faults, on bool) {
		f.Clock(map[bool]time.Duration{true: -2 * time.Hour}[on])
	}),
	{name: "token of another resource", dsn: secret + "user=billing aad_scope=https://vault.azure.net/.default", world: "aad_scope is wrong", mend: setKey},
	{name: "token of another resource, new wording", dsn: secret + "user=billing aad_scope=https://vault.azure.net/.default", world: "aad_scope is wrong",
		set: func(t *testing.T, s *scene) {
			s.az.Faults.NewWording(true)
			t.Cleanup(func() { s.az.Faults.NewWording(false) })
		}, mend: setKey},
	{name: "token of another resource, seen here", dsn: manual + "user=billing", world: "the token is for Key Vault", token: spoilt("aud", func(*scene) any { return "https://vault.azure.net" }), mend: given(appsToken)},
	{name: "token of another cloud", dsn: azure + manual + "user=billing", world: "the token is for US government servers",
		token: spoilt("aud", func(*scene) any { return "https://ossrdbms-aad.database.usgovcloudapi.net" }), mend: given(appsToken)},
	{name: "Cosmos DB under another name", dsn: "host=emulator.postgres.cosmos.azure.com " + secret + "user=billing aad_server_type=flexible", world: "the server is Azure Cosmos DB for PostgreSQL", mend: setKey},
	{name: "no token", dsn: manual + "user=billing", world: "a password", token: func(*scene) string { return "opensesame" }, mend: given(appsToken)},
	{name: "token in quotes", dsn: manual + "user=billing", world: "the token was copied with its quotes", token: func(s *scene) string { return `"` + appsToken(s) + `"` }, mend: given(appsToken)},
	{name: "token cut short", dsn: manual + "user=billing", world: "the end of the token is missing", token: func(s *scene) string { tok := appsToken(s); return tok[:len(tok)-10] }, mend: given(appsToken)},
	{name: "token without oid", dsn: manual + "user=billing", world: "the token names no object", token: spoilt("oid", func(*scene) any { return nil }), mend: given(appsToken)},

	// The server and its surroundings.
	knob("server without TLS", secret+"user=billing", "the server answers N to a request for TLS", (*emulator.Faults).RefuseTLS),
	server("firewall", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", SSL on`),
	server("no encryption", "28000", `no pg_hba.conf entry for host "203.0.113.7", user "billing", database "postgres", no encryption`),
	server("TLS wanted", "28000", "SSL connection is required. Please specify SSL options and retry."),
	server("too many connections", "53300", "sorry, too many clients already."),
	server("starting up", "57P03", "the database system is starting up"),
	server("PgBouncer and a long token", "08P01", "client sent partial pkt in startup phase"),
	server("PgBouncer is full", "08P01", "no more connections allowed (max_client_conn)"),
	server("PgBouncer and a setting", "08P01", "unsupported startup parameter: search_path"),
	server("PostgreSQL 18", "XX000", "cannot read pg_class without having selected a database"),
	server("something new", "28000", "A text that nobody has reported yet"),
	{name: "no database", dsn: secret + "user=billing dbname=missing", world: "there is no such database", mend: replaced("dbname=missing", "dbname=postgres")},
	{name: "no right to connect", dsn: secret + "user=billing dbname=locked", world: "REVOKE CONNECT ON DATABASE locked FROM PUBLIC",
		set: func(t *testing.T, s *scene) {
			s.superuser(t, "DROP DATABASE IF EXISTS locked", "CREATE DATABASE locked", "REVOKE CONNECT ON DATABASE locked FROM PUBLIC")
			s.superuser(t, `ALTER DATABASE locked OWNER TO "admin@contoso.com"`)
			t.Cleanup(func() { s.superuser(t, "DROP DATABASE locked WITH (FORCE)") })
		}, mend: runSQL},
	{name: "a setting that is none", dsn: secret + "user=billing search_paht=app", world: "a key is misspelled", mend: replaced("search_paht", "search_path")},

	// TLS, network.
	knob("certificate for another name", secret+"user=billing", "the server's certificate is for another name", presenting(emulator.WrongHostCertificate)),
	knob("certificate of a stranger", secret+"user=billing", "the server's certificate is by an unknown authority", presenting(emulator.UntrustedCertificate)),
	knob("certificate expired", secret+"user=billing", "the server's certificate has expired", presenting(emulator.ExpiredCertificate)),
	knob("connection cut", secret+"user=billing", "something closes connections at once", (*emulator.Faults).HangUp),
	{name: "no such host", dsn: "host=nowhere.postgres.database.azure.com " + secret + "user=billing", world: "the name is not known", set: func(_ *testing.T, s *scene) { s.opts = append(s.opts, lost) },
		mend: func(t *testing.T, s *scene, dsn string, _ *driver.Error) string {
			s.opts = s.opts[:len(s.opts)-1]
			return strings.Replace(dsn, "nowhere.", "emulator.", 1)
		}},
	{name: "nothing listens", dsn: "host=127.0.0.1 " + secret + "user=billing port=1", world: "the port is wrong", mend: func(t *testing.T, s *scene, dsn string, _ *driver.Error) string {
		return strings.Replace(dsn, " port=1", "", 1)
	}},

	// Entra.
	{name: "wrong secret", dsn: strings.Replace(secret, "{secret}", "wrong", 1) + "user=billing", world: "the secret is wrong", mend: replaced("'wrong'", "'{secret}'")},
	{name: "unknown application", dsn: strings.Replace(secret, "{client}", nobody, 1) + "user=billing", world: "the client id is wrong", mend: replaced(nobody, "{client}")},
	{name: "unknown tenant", dsn: strings.Replace(secret, "{tenant}", nobody, 1) + "user=billing", world: "the tenant is wrong", mend: replaced(nobody, "{tenant}")},
	{name: "unknown resource", dsn: secret + "user=billing aad_scope=http://typo/.default", world: "the scope is wrong", mend: replaced(" aad_scope=http://typo/.default", "")},
	entra("secret expired", 7000222, "The provided client secret keys for app 'x' are expired."),
	entra("application disabled", 7000112, "Application 'x' is disabled."),
	entra("certificate unknown", 700027, "The certificate with identifier used to sign the client assertion is not registered on application."),
	entra("federated subject unknown", 700213, "No matching federated identity record found for presented assertion subject 'x'."),
	entra("federated issuer unknown", 700211, "No matching federated identity record found for presented assertion issuer 'x'."),
	entra("assertion out of time", 700024, "Client assertion is not within its valid time range."),
	entra("stored sign-in too old", 700082, "The refresh token has expired due to inactivity."),
	entra("stored sign-in revoked", 50173, "The provided grant has expired due to it being revoked."),
	entra("user unknown", 50034, "The user account {EUII Hidden} does not exist in the x directory."),
	entra("user of another tenant", 50020, "User account 'x' from identity provider 'y' does not exist in tenant 'Contoso'."),
	entra("second factor", 50076, "Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x'."),
	entra("Conditional Access", 53003, "Access has been blocked by Conditional Access policies."),
	entra("no consent", 65001, "The user or administrator has not consented to use the application with ID 'x'."),
	entra("tenant of another cloud", 900382, "Confidential Client is not supported in Cross Cloud request."),
	entra("request loop", 50196, "The server terminated an operation because it encountered a client request loop."),
	entra("tenant throttled", 90055, "The server has terminated the connection because of too many requests."),
	knob("authority in trouble", secret+"user=billing", "Entra answers 503", func(f *emulator.Faults, on bool) { f.FailTokens(map[bool]int{true: -1}[on], 503) }),
	{name: "authority not reached", dsn: secret + "user=billing aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", world: "nothing listens at the authority's address", mend: replaced(" aad_authority_host=https://127.0.0.1:1 aad_disable_instance_discovery=true", "")},
	{name: "authority not known", dsn: secret + "user=billing aad_authority_host=https://127.0.0.1:1", world: "the public cloud does not know the authority", mend: replaced(" aad_authority_host=https://127.0.0.1:1", "")},

	// The host's identity, and tools.
	{name: "identity not assigned", dsn: "aad_auth=managed-identity aad_client_id=" + nobody + " user=billing", world: "a virtual machine without that identity", mend: replaced(nobody, "{client}")},
	{name: "several identities", dsn: "aad_auth=managed-identity user=billing", world: "a virtual machine with several identities, none its own",
		set: func(t *testing.T, s *scene) {
			s.az.Faults.DenyIdentity(400, `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`)
			t.Cleanup(func() { s.az.Faults.DenyIdentity(0, "") })
		}, mend: func(t *testing.T, s *scene, dsn string, _ *driver.Error) string {
			s.az.Faults.DenyIdentity(0, "") // which it answers only to who names none
			return dsn + fill(" aad_client_id={client}", s.app)
		}},
	{name: "no managed identity here", dsn: "aad_auth=workload-identity,managed-identity,azure-cli", world: "a workstation, az logged out",
		set: func(t *testing.T, s *scene) {
			workstation(t, s)
			s.noIMDS = true
			s.opts[0] = s.fresh()
		}, undo: func(t *testing.T, s *scene) { s.az.Login(s.user); t.Cleanup(s.az.Logout) }},
	{name: "az logged out", dsn: "aad_auth=azure-cli", world: "a workstation, az logged out", set: workstation,
		undo: func(t *testing.T, s *scene) { s.az.Login(s.user); t.Cleanup(s.az.Logout) }},
	{name: "azd logged out", dsn: "aad_auth=azure-developer-cli", world: "a workstation, azd logged out", set: workstation,
		undo: func(t *testing.T, s *scene) { s.az.Login(s.user); t.Cleanup(s.az.Logout) }},
	{name: "PowerShell logged out", dsn: "aad_auth=azure-powershell", world: "a workstation, Azure PowerShell logged out", set: workstation,
		undo: func(t *testing.T, s *scene) { s.az.Login(s.user); t.Cleanup(s.az.Logout) }},
	{name: "az not installed", dsn: "aad_auth=azure-cli", world: "no az on the PATH", set: func(t *testing.T, s *scene) { t.Setenv("PATH", t.TempDir()) },
		undo: func(t *testing.T, s *scene) {
			env, err := s.az.Environ(emulator.Workstation, s.user)
			if err != nil {
				t.Fatal(err)
			}
			os.Setenv("PATH", strings.TrimPrefix(env[0], "PATH=")+":/usr/bin:/bin")
			s.az.Login(s.user)
			t.Cleanup(s.az.Logout)
		}},

	// The DSN.
	{name: "misspelled key", dsn: secret + "user=billing aad_scop=x", world: "a key is misspelled", mend: replaced(" aad_scop=x", "")},
	{name: "password and token", dsn: mi + "user=billing password=opensesame", world: "the password was left in the DSN", mend: replaced(" password=opensesame", "")},
	{name: "TLS switched off", dsn: secret + "user=billing sslmode=disable", world: "sslmode=disable", mend: replaced(" sslmode=disable", "")},
	{name: "cloud and host differ", dsn: azure + secret + "user=billing aad_cloud=usgov", world: "a host of the public cloud", mend: replaced(" aad_cloud=usgov", "")},
	{name: "no federated token", dsn: "aad_auth=workload-identity user=billing", world: "no workload identity", undo: func(t *testing.T, s *scene) { s.az.SetenvOn(t, emulator.Kubernetes, s.app) }},
	{name: "no environment", dsn: "aad_auth=environment user=billing", world: "no AZURE_ variables", undo: func(t *testing.T, s *scene) {
		t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
		t.Setenv("AZURE_CLIENT_ID", s.app.ClientID)
		t.Setenv("AZURE_CLIENT_SECRET", s.app.Secret)
	}},
}

func presenting(c emulator.Certificate) func(*emulator.Faults, bool) {
	return func(f *emulator.Faults, on bool) {
		f.Certificate(map[bool]emulator.Certificate{true: c}[on])
	}
}

func grantOnce(t *testing.T, s *scene, id emulator.Identity) {
	if err := s.az.Grant(context.Background(), s.az.Add(id)); err != nil {
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
