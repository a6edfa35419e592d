package dsn

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

// dsns feeds the parser, the writer and the fuzzers: a DSN and the one that Config.DSN
// makes of it.
var dsns = []struct{ in, out string }{
	{"", ""},
	{"  ", ""},
	{"host=h", "host=h"},
	{"host = h  port= 5433", "host=h port=5433"},
	{"database=d", "dbname=d"},
	{"dbname=a dbname=b", "dbname=b"},
	{"user='' host=h", "host=h"},
	{`password='it\'s a \\ b' aad_auth=password`, `aad_auth=password password='it\'s a \\ b'`},
	{`host=a\`, "host=a"},
	{"host='a'port=1", "host=a port=1"},
	{"search_path=''", "search_path=''"},
	{"postgres://", ""},
	{"postgres://h", "host=h"},
	{"postgresql://h:5433/d", "dbname=d host=h port=5433"},
	{"aadpostgres://h/d?aad_auth=azure-cli", "aad_auth=azure-cli dbname=d host=h"},
	{"postgres://me%40contoso.com@h/d", "dbname=d host=h user=me@contoso.com"},
	{"postgres://u:p%2Fw@h/d?aad_auth=password", "aad_auth=password dbname=d host=h password=p/w user=u"},
	{"postgres://[::1]:5433,h2/d", "dbname=d host=::1,h2 port=5433,"},
	{"postgres://h1,h2/d?target_session_attrs=read-write", "dbname=d host=h1,h2 port=, target_session_attrs=read-write"},
	{"postgres:///d?host=/tmp", "dbname=d host=/tmp"},
	{"postgres://h/a+b?application_name=c+d%20e", "application_name='c+d e' dbname=a+b host=h"},
	{"postgres://h?ssl=true", "host=h sslmode=require"},
	{"postgres://h?ssl=true&sslmode=verify-full", "host=h sslmode=verify-full"},
	{"postgres://h?ssl=x&sslmode=verify-full&ssl=true", "host=h sslmode=require"},
	{"postgres://h?myapp.user=x", "host=h myapp.user=x"},
	{"aad_auth=default", ""},
	{"aad_auth=ActiveDirectoryMSI", "aad_auth=managed-identity"},
	{"aad_auth=activedirectorymsi", "aad_auth=managed-identity"},
	{"aad_auth=Managed-Identity,AZURE-CLI", "aad_auth=managed-identity,azure-cli"},
	{"aad_auth='managed-identity, azure-cli'", "aad_auth=managed-identity,azure-cli"},
	{"aad_auth=managed-identity aad_client_id=c", "aad_auth=managed-identity aad_client_id=c"},
	{"aad_auth=managed-identity aad_object_id=o", "aad_auth=managed-identity aad_object_id=o"},
	{"aad_auth=managed-identity aad_resource_id=/subscriptions/s", "aad_auth=managed-identity aad_resource_id=/subscriptions/s"},
	{"aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s", "aad_auth=client-secret aad_client_id=c aad_client_secret=s aad_tenant_id=t"},
	{"aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_send_certificate_chain=1", "aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_send_certificate_chain=true"},
	{"aad_auth=workload-identity aad_federated_token_file=f", "aad_auth=workload-identity aad_federated_token_file=f"},
	{"aad_auth=azure-pipelines aad_service_connection_id=i", "aad_auth=azure-pipelines aad_service_connection_id=i"},
	{"aad_auth=azure-cli aad_subscription='my sub'", "aad_auth=azure-cli aad_subscription='my sub'"},
	{"aad_auth=interactive-browser aad_login_hint=me aad_redirect_url=http://localhost:8400", "aad_auth=interactive-browser aad_login_hint=me aad_redirect_url=http://localhost:8400"},
	{"aad_additionally_allowed_tenants=a,b aad_disable_instance_discovery=true", "aad_additionally_allowed_tenants=a,b aad_disable_instance_discovery=true"},
	{"aad_cloud=USGov aad_authority_host=https://login.example/", "aad_authority_host=https://login.example/ aad_cloud=usgov"},
	{"aad_scope=https://r//.default", "aad_scope=https://r//.default"},
	{"aad_server_type=single", "aad_server_type=single"},
	{"aad_server_type=single aad_token_max_age=0", "aad_server_type=single aad_token_max_age=0s"},
	{"aad_server_type=flexible aad_token_max_age=5m", "aad_server_type=flexible aad_token_max_age=5m0s"},
	{"aad_token_timeout=90s aad_token_max_age=1h", "aad_token_max_age=1h0m0s aad_token_timeout=1m30s"},
	{"aad_token_timeout=30s aad_cloud=auto", ""},
	{"aad_auth=environment aad_authority_host=https://login.example", "aad_auth=environment aad_authority_host=https://login.example"},
	{"aad_auth=azure-developer-cli aad_tenant_id=t", "aad_auth=azure-developer-cli aad_tenant_id=t"},
	{"aad_auth=azure-powershell aad_tenant_id=t", "aad_auth=azure-powershell aad_tenant_id=t"},
	{"aad_auth=activedirectorydevicecode aad_token_timeout=15m", "aad_auth=device-code"},
	{"aad_auth=device-code aad_token_timeout=30s", "aad_auth=device-code aad_token_timeout=30s"},
	{"aad_auth=azure-cli,interactive-browser aad_token_timeout=5m", "aad_auth=azure-cli,interactive-browser"},
	{"aad_auth=access-token aad_token_file=/run/token", "aad_auth=access-token aad_token_file=/run/token"},
	{"aad_auth=access-token password=ey.x.y", "aad_auth=access-token password=ey.x.y"},
	{"aad_insecure=plaintext host=/tmp", "aad_insecure=plaintext host=/tmp"},
	{"service=s aad_client_id=c", "aad_client_id=c service=s"},
}

func TestParseAndWrite(t *testing.T) {
	for _, tt := range dsns {
		c, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if got := c.DSN(); got != tt.out {
			t.Errorf("Parse(%q).DSN() = %q, want %q", tt.in, got, tt.out)
		}
		again, err := Parse(c.DSN())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q: Parse(DSN) = %#v, %v, want %#v", tt.in, again, err, c)
		}
		if clone := c.Clone(); !reflect.DeepEqual(clone, c) {
			t.Errorf("%q: Clone = %#v, want %#v", tt.in, clone, c)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("aad_server_type=Single")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{Params: map[string]string{}, Auth: []Mode{Default}, Cloud: "auto", ServerType: "single",
		TokenTimeout: 30 * time.Second, TokenMaxAge: 5 * time.Minute}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestClone(t *testing.T) {
	c, _ := Parse("host=h aad_auth=azure-cli aad_additionally_allowed_tenants=a")
	d := c.Clone()
	d.Params["host"], d.Auth[0], d.AdditionallyAllowedTenants[0] = "x", Default, "x"
	if c.Params["host"] != "h" || c.Auth[0] != AzureCLI || c.AdditionallyAllowedTenants[0] != "a" {
		t.Errorf("changing the clone changed the original: %v", c)
	}
}

// Every key must survive DSN and Clone, or be added to dsns above.
func TestEveryKeyIsTested(t *testing.T) {
	for _, k := range Keys() {
		found := false
		for _, tt := range dsns {
			found = found || strings.Contains(tt.out, k.Name+"=")
		}
		if !found {
			t.Errorf("no row of dsns formats %s", k.Name)
		}
	}
}

// Every mode, by its name and each alias in any case, is read and written alike.
func TestEveryMode(t *testing.T) {
	for _, m := range Modes() {
		for _, word := range append([]string{string(m.Name)}, m.Aliases...) {
			for _, in := range []string{word, strings.ToUpper(word), strings.ToLower(word)} {
				c, err := Parse("host=h aad_auth=" + in)
				if err != nil || !reflect.DeepEqual(c.Auth, []Mode{m.Name}) {
					t.Errorf("aad_auth=%s: %v, %v", in, c, err)
					continue
				}
				if again, err := Parse(c.DSN()); err != nil || !reflect.DeepEqual(again, c) || again.DSN() != c.DSN() {
					t.Errorf("aad_auth=%s: DSN is not stable: %v, %v", in, again, err)
				}
			}
		}
		for _, list := range [][]string{m.Keys, m.Required} {
			for _, key := range list {
				if lookup(key) == nil {
					t.Errorf("mode %s uses %s, which is no key", m.Name, key)
				}
			}
		}
		// A key that the mode uses is accepted beside it, another is not.
		for _, k := range Keys() {
			values := map[string]string{"aad_auth": "", "aad_redirect_url": "http://localhost", "aad_authority_host": "https://h", "aad_cloud": "public",
				"aad_server_type": "single", "aad_token_max_age": "1m", "aad_token_timeout": "1m", "aad_insecure": "plaintext",
				"aad_disable_instance_discovery": "true", "aad_send_certificate_chain": "true"}
			v, ok := values[k.Name]
			if !ok {
				v = "x"
			}
			if v == "" {
				continue
			}
			if _, err := Parse("aad_auth=" + string(m.Name) + " " + k.Name + "=" + v); (err == nil) != m.uses(k.Name) {
				t.Errorf("%s beside aad_auth=%s: %v", k.Name, m.Name, err)
			}
		}
	}
}

func TestClouds(t *testing.T) {
	for host, want := range map[string]string{
		"a.postgres.database.azure.com": "public", "A.Postgres.Database.Azure.Com.": "public",
		"a.privatelink.postgres.database.azure.com": "public", "a.private.postgres.database.azure.com": "public",
		"a.writer.postgres.database.azure.com": "public", "a.reader.postgres.database.azure.com": "public",
		"c-x.abc.postgres.cosmos.azure.com": "public", "c-x.abc.privatelink.postgres.cosmos.azure.com": "public",
		"a.postgres.database.usgovcloudapi.net": "usgov", "a.private.postgres.database.usgovcloudapi.net": "usgov",
		"a.privatelink.postgres.database.chinacloudapi.cn": "china",
		"a.postgres.database.cloudapi.eaglex.ic.gov":       "usnat",
		"a.postgres.database.cloudapi.microsoft.scloud":    "ussec",
		"db.example.com": "", "": "", "127.0.0.1": "", "evilpostgres.database.azure.com": "", "a.postgres.database.azure.com.example.com": "",
	} {
		if got := CloudOf(host); got != want {
			t.Errorf("CloudOf(%q) = %q, want %q", host, got, want)
		}
	}
	for _, c := range Clouds() {
		if c.Name == "ussec" && c.Scope() != "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default" {
			t.Errorf("its scope is %s", c.Scope())
		}
	}
}

func TestCloudOfAuthority(t *testing.T) {
	for _, row := range []struct{ name, authority, want string }{
		{"public", "https://login.microsoftonline.com/", "public"},
		{"without slash", "https://login.microsoftonline.com", "public"},
		{"with tenant", "https://login.microsoftonline.com/contoso.com/v2.0", "public"},
		{"with port", "https://login.microsoftonline.com:443/", "public"},
		{"upper case", "HTTPS://LOGIN.MICROSOFTONLINE.COM/", "public"},
		{"usgov", "https://login.microsoftonline.us", "usgov"},
		{"china", "https://login.chinacloudapi.cn/", "china"},
		{"usnat", "https://login.microsoftonline.eaglex.ic.gov/", "usnat"},
		{"ussec", "https://login.microsoftonline.microsoft.scloud/", "ussec"},
		{"private", "https://login.example.com/", ""},
		{"subdomain", "https://x.login.microsoftonline.com/", ""},
		{"suffix", "https://login.microsoftonline.com.example.com/", ""},
		{"user", "https://login.microsoftonline.com@example.com/", ""},
		{"host without scheme", "login.microsoftonline.com", ""},
		{"resource", "https://ossrdbms-aad.database.windows.net", ""},
		{"not a URL", "https://%zz", ""},
		{"empty", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := CloudOfAuthority(row.authority); got != row.want {
				t.Errorf("CloudOfAuthority(%q) = %q, want %q", row.authority, got, row.want)
			}
		})
	}
}

func TestCloudOfResource(t *testing.T) {
	for _, row := range []struct{ name, resource, want string }{
		{"public", "https://ossrdbms-aad.database.windows.net", "public"},
		{"with slash", "https://ossrdbms-aad.database.windows.net/", "public"},
		{"scope", "https://ossrdbms-aad.database.windows.net/.default", "public"},
		{"scope with two slashes", "https://ossrdbms-aad.database.windows.net//.default", "public"},
		{"upper case", "https://OSSRDBMS-AAD.database.windows.net", "public"},
		{"Cosmos DB", "https://token.postgres.cosmos.azure.com", "public"},
		{"Cosmos DB's scope", CosmosScope, "public"},
		{"usgov", "https://ossrdbms-aad.database.usgovcloudapi.net/.default", "usgov"},
		{"china", "https://ossrdbms-aad.database.chinacloudapi.cn", "china"},
		{"usnat", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default", "usnat"},
		{"ussec", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default", "ussec"},
		{"ussec without slash", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud", "ussec"},
		{"another service", "https://vault.azure.net/.default", ""},
		{"suffix", "https://ossrdbms-aad.database.windows.net.example.com/.default", ""},
		{"authority", "https://login.microsoftonline.com/", ""},
		{"application ID", "00000000-0000-0000-0000-000000000000", ""},
		{"host without scheme", "ossrdbms-aad.database.windows.net", ""},
		{"not a URL", "https://%zz", ""},
		{"empty", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := CloudOfResource(row.resource); got != row.want {
				t.Errorf("CloudOfResource(%q) = %q, want %q", row.resource, got, row.want)
			}
		})
	}
}

// marker stands where secrets stand; no error may contain it.
const marker = "s3cr3t"

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"aad_tennant_id=x", `"aad_tennant_id" is not known; did you mean aad_tenant_id?`},
		{"aad_unheard_of_thing=x", "write one of aad_auth, "},
		{"host=h fedauth=ActiveDirectoryDefault", `"fedauth" is SQL Server's; write aad_auth`},
		{"server=h;database=d", `"server" is not known; write host, and spaces between`},
		{"Server=h", `write host`},
		{"Host=h;Database=d", `"Host" is not known; keys are lower case: host`},
		{"host=h;dbname=d", `spaces between the pairs`},
		{"jdbc:postgresql://h/d?user=u&password=" + marker, "without jdbc:"},
		{"AAD_AUTH=default", `"AAD_AUTH" is not known; keys are lower case: aad_auth`},
		{"postgres://h?AAD_AUTH=default", "keys are lower case: aad_auth"},
		{"aad-auth=default", "did you mean aad_auth?"},
		{"aadauth=default", "did you mean aad_auth?"},
		{"aad_client_id=a aad_client_id=a aad_auth=managed-identity", `"aad_client_id" is given twice; keep one`},
		{"postgres://h?aad_scope=a&aad_scope=b", `"aad_scope" is given twice`},
		{"aad_auth=managed-identty", `"aad_auth" is "managed-identty"; did you mean managed-identity?`},
		{"aad_auth=kerberos", "write one of default, environment"},
		{"aad_auth=azure-cli,", "empty element"},
		{"aad_auth=azure-cli,AzureDirectory", "write one of"},
		{"aad_auth=azure-cli,ActiveDirectoryAzCli", `names the mode "azure-cli" twice`},
		{"aad_auth=azure-cli,password", `"password" cannot stand in a list`},
		{"aad_auth=access-token,azure-cli", `"access-token" cannot stand in a list`},
		{"aad_auth=", `"aad_auth" is empty; give it a value or leave it out`},
		{"aad_auth=managed-identity aad_client_id=''", `"aad_client_id" is empty`},
		{"aad_client_id=x", `"aad_client_id" is not used by aad_auth=default; drop it, or name a mode that uses it: workload-identity, managed-identity`},
		{"aad_auth=azure-cli aad_client_secret=" + marker, `"aad_client_secret" is not used by aad_auth=azure-cli; drop it, or name a mode that uses it: client-secret`},
		{"aad_auth=password aad_scope=x", `"aad_scope" is not used by aad_auth=password`},
		{"service=s aad_auth=azure-cli aad_client_id=c", "not used by aad_auth=azure-cli"},
		{"password=" + marker, "a password stands beside aad_auth=default, which signs in with a token; drop the password, or write aad_auth=password"},
		{"postgres://u:" + marker + "@h/d?aad_auth=managed-identity", "a password stands beside aad_auth=managed-identity"},
		{"aad_auth=access-token aad_token_file=f password=" + marker, "a password stands beside"},
		{"aad_auth=managed-identity aad_client_id=a aad_object_id=b", "a managed identity is named twice"},
		{"aad_cloud=pulbic", `"aad_cloud" is "pulbic"; did you mean public?`},
		{"aad_cloud=germany", "write one of auto, public, "},
		{"aad_server_type=hyperscale", "write one of flexible, single, cosmos"},
		{"aad_insecure=true", "write one of unverified, plaintext"},
		{"aad_disable_instance_discovery=ja", `is "ja"; write true or false`},
		{"aad_token_timeout=30", "write a duration with its unit"},
		{"aad_token_timeout=0", "write how long to wait"},
		{"aad_token_max_age=-5m", "write a duration with its unit"},
		{"aad_authority_host=http://login.microsoftonline.com", `has the scheme "http"; write https://`},
		{"aad_authority_host=login.microsoftonline.com", "is not a plain URL"},
		{"aad_authority_host=https://u:" + marker + "@login", "is not a plain URL"},
		{"mysql://u:" + marker + "@h/d", `scheme "mysql://" is not known; use postgres://, postgresql:// or aadpostgres://`},
		{"POSTGRES://u:" + marker + "@h/d", `scheme "POSTGRES://" is not known`},
		{"aadpostgres:/u:" + marker + "@h/d", "neither a URL nor name=value pairs"},
		{"postgres://me@contoso.com@h/d", "write each @ of a user name or password as %40, as in me%40contoso.com@host"},
		{"postgres://u:" + marker + "@x@h/d", "write each @"},
		{"postgres://u:x@" + marker + "@h/d", "write each @"},
		{"host=me@h", "the host holds an @"},
		{"password=a b " + marker, "neither a URL nor name=value pairs; quote a value that holds spaces"},
		{"password='" + marker, `the value of "password" has an opening '`},
		{"=x", "neither a URL nor"},
		{"a\"b=x", "empty name or one with spaces, quotes"},
		{"postgres://h?=x", "empty name"},
		{"postgres://h?a%20b=x", "one with spaces, quotes"},
		{"postgres://h?" + marker, "has no =; write name=value"},
		{"postgres://h?user=b=" + marker, `"user" in the URL has a second =`},
		{"postgres://h?password=a&" + marker + "=b=c", "a parameter in the URL has a second ="},
		{"password=a " + marker + "='b", "the value of a parameter has an opening '"},
		{"postgres://h?password=" + marker + "%2", `"password" in the URL ends in a half %-sequence`},
		{"postgres://u:" + marker + "%zz@h", `"password" in the URL holds a bad %-sequence`},
		{"postgres://u:%00@h", "bad %-sequence"},
		{"postgres://h?a%zz=1", "a parameter name of the URL holds a bad"},
		{"postgres://u:" + marker + " x@h", `"password" in the URL holds a space; write it as %20`},
		{"postgres://[::1", "write an IPv6 address as [::1]"},
		{"postgres://[]", "write an IPv6 address as [::1]"},
		{"postgres://[::1]x", "text follows the ]"},
		{"host=h\x00", "NUL byte"},
	} {
		c, err := Parse(tt.in)
		if err == nil {
			t.Errorf("Parse(%q) = %v, want an error", tt.in, c)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%q): %q, want it to contain %q", tt.in, err, tt.want)
		}
		if strings.Contains(err.Error(), marker) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%q): %q holds a secret or a second line", tt.in, err)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for _, in := range []string{
		"aad_auth=client-secret aad_client_secret=" + marker,
		"aad_auth=client-certificate aad_client_certificate_password=" + marker,
		"aad_auth=password password=" + marker,
		"aad_auth=access-token password='" + marker + " x'",
		"sslpassword=" + marker,
	} {
		c, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ptr", c, "value", *c)
		js, err := json.Marshal(struct{ P, V any }{c, *c})
		if err != nil {
			t.Fatal(err)
		}
		var gobbled strings.Builder
		if err := gob.NewEncoder(&gobbled).Encode(c); err == nil || strings.Contains(gobbled.String(), marker) || strings.Contains(c.ConnString(), marker) {
			t.Errorf("%q: gob writes %q, %v; pgx gets %s", in, gobbled.String(), err, c.ConnString())
		}
		if b, err := c.GobEncode(); b != nil || err == nil {
			t.Errorf("%q: gob would write %q", in, b)
		}
		for _, out := range []string{
			c.String(), fmt.Sprint(c, *c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprintf("%d %x %t", c, *c, *c),
			fmt.Sprintf("%v %+v %#v %s %q", *c, *c, *c, *c, *c), log.String(), string(js),
		} {
			if strings.Contains(out, marker) || !strings.Contains(out, mask) {
				t.Errorf("%q prints as %s", in, out)
			}
		}
		if !strings.Contains(c.DSN(), marker) {
			t.Errorf("%q: DSN drops the secret: %s", in, c.DSN())
		}
	}
}
