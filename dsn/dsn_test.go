package dsn

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// secret stands for a secret in DSNs. No error and no printed Config may contain it.
const secret = "s3cr3t"

// valid are DSNs and what Config.DSN makes of them. They feed the tests of the parser
// and the formatter, and seed the fuzz tests. A new key needs a row.
var valid = []struct{ name, in, out string }{
	{"empty", "", ""},
	{"spaces", "  ", ""},
	{"pair", "host=h", "host=h"},
	{"spaces around =", "host = h  port= 5433", "host=h port=5433"},
	{"space after = is skipped", "host= h", "host=h"},
	{"empty quoted value", "search_path=''", "search_path=''"},
	{"quoted value", "user='a b' aad_token_max_age=5m", "aad_token_max_age=5m0s user='a b'"},
	{"escaped value", `password='it\'s a \\ b' aad_auth=password`, `aad_auth=password password='it\'s a \\ b'`},
	{"backslash at the end", `host=a\`, "host=a"},
	{"no space after a quote", "host='a'port=1", "host=a port=1"},
	{"database is dbname", "database=d", "dbname=d"},
	{"last dbname applies", "dbname=a dbname=b", "dbname=b"},
	{"last of database and dbname applies", "search_path='' database=d dbname=e", "dbname=e search_path=''"},
	{"empty user is ignored", "user='' host=h", "host=h"},
	{"service may set the mode", "service=s aad_client_id=c", "aad_client_id=c service=s"},

	{"URL, empty", "postgres://", ""},
	{"URL, host", "postgres://h", "host=h"},
	{"URL, postgresql", "postgresql://h:5433/d", "dbname=d host=h port=5433"},
	{"URL, aadpostgres", "aadpostgres://h/d?aad_auth=azure-cli", "aad_auth=azure-cli dbname=d host=h"},
	{"URL, all parts", "postgres://u:p@h:5432/d?sslmode=require&aad_auth=password", "aad_auth=password dbname=d host=h password=p port=5432 sslmode=require user=u"},
	{"URL, encoded user", "postgres://me%40contoso.com@h/d", "dbname=d host=h user=me@contoso.com"},
	{"URL, encoded password", "postgres://u:p%2Fw@h/d?aad_auth=password", "aad_auth=password dbname=d host=h password=p/w user=u"},
	{"URL, encoded parameter", "postgres://h/a+b?x=%41", "dbname=a+b host=h x=A"},
	{"URL, IPv6 and second host", "postgres://[::1]:5433,h2/d", "dbname=d host=::1,h2 port=5433,"},
	{"URL, hosts without ports", "postgres://h1,h2/d?target_session_attrs=read-write", "dbname=d host=h1,h2 port=, target_session_attrs=read-write"},
	{"URL, hosts with ports", "postgres://h1:1,h2:2/d?target_session_attrs=any", "dbname=d host=h1,h2 port=1,2 target_session_attrs=any"},
	{"URL, host as parameter", "postgres:///d?host=/tmp", "dbname=d host=/tmp"},
	{"URL, + is literal", "postgres://h/a+b?application_name=c+d%20e", "application_name='c+d e' dbname=a+b host=h"},
	{"URL, ssl=true", "postgres://h?ssl=true", "host=h sslmode=require"},
	{"URL, ssl=true with IPv6", "postgres://[::1]:5432,h2/d?ssl=true", "dbname=d host=::1,h2 port=5432, sslmode=require"},
	{"URL, sslmode after ssl", "postgres://h?ssl=true&sslmode=verify-full", "host=h sslmode=verify-full"},
	{"URL, last ssl applies", "postgres://h?ssl=x&sslmode=verify-full&ssl=true", "host=h sslmode=require"},
	{"URL, run-time parameter", "postgres://h?myapp.user=x", "host=h myapp.user=x"},

	{"default mode", "aad_auth=default", ""},
	{"alias", "aad_auth=ActiveDirectoryMSI", "aad_auth=managed-identity"},
	{"alias in lower case", "aad_auth=activedirectorymsi", "aad_auth=managed-identity"},
	{"list in mixed case", "aad_auth=Managed-Identity,AZURE-CLI", "aad_auth=managed-identity,azure-cli"},
	{"list with space", "aad_auth='managed-identity, azure-cli'", "aad_auth=managed-identity,azure-cli"},
	{"managed identity by client ID", "aad_auth=managed-identity aad_client_id=c", "aad_auth=managed-identity aad_client_id=c"},
	{"managed identity by object ID", "aad_auth=managed-identity aad_object_id=o", "aad_auth=managed-identity aad_object_id=o"},
	{"managed identity by resource ID", "aad_auth=managed-identity aad_resource_id=/subscriptions/s", "aad_auth=managed-identity aad_resource_id=/subscriptions/s"},
	{"client secret", "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s", "aad_auth=client-secret aad_client_id=c aad_client_secret=s aad_tenant_id=t"},
	{"client secret alone", "aad_auth=client-secret aad_client_secret=s", "aad_auth=client-secret aad_client_secret=s"},
	{"client certificate", "aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_send_certificate_chain=1", "aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=p aad_send_certificate_chain=true"},
	{"workload identity", "aad_auth=workload-identity aad_federated_token_file=f", "aad_auth=workload-identity aad_federated_token_file=f"},
	{"Azure Pipelines", "aad_auth=azure-pipelines aad_service_connection_id=i", "aad_auth=azure-pipelines aad_service_connection_id=i"},
	{"Azure CLI", "aad_auth=azure-cli aad_subscription='my sub'", "aad_auth=azure-cli aad_subscription='my sub'"},
	{"Azure Developer CLI", "aad_auth=azure-developer-cli aad_tenant_id=t", "aad_auth=azure-developer-cli aad_tenant_id=t"},
	{"Azure PowerShell", "aad_auth=azure-powershell aad_tenant_id=t", "aad_auth=azure-powershell aad_tenant_id=t"},
	{"browser", "aad_auth=interactive-browser aad_login_hint=me aad_redirect_url=http://localhost:8400", "aad_auth=interactive-browser aad_login_hint=me aad_redirect_url=http://localhost:8400"},
	{"token file", "aad_auth=access-token aad_token_file=/run/token", "aad_auth=access-token aad_token_file=/run/token"},
	{"token as password", "aad_auth=access-token password=ey.x.y", "aad_auth=access-token password=ey.x.y"},

	{"tenants and discovery", "aad_additionally_allowed_tenants=a,b aad_disable_instance_discovery=true", "aad_additionally_allowed_tenants=a,b aad_disable_instance_discovery=true"},
	{"cloud and authority", "aad_cloud=USGov aad_authority_host=https://login.example/", "aad_authority_host=https://login.example/ aad_cloud=usgov"},
	{"authority of environment", "aad_auth=environment aad_authority_host=https://login.example", "aad_auth=environment aad_authority_host=https://login.example"},
	{"scope", "aad_scope=https://r//.default", "aad_scope=https://r//.default"},
	{"single server", "aad_server_type=single", "aad_server_type=single"},
	{"single server without maximum age", "aad_server_type=single aad_token_max_age=0", "aad_server_type=single aad_token_max_age=0s"},
	{"flexible server with single's maximum age", "aad_server_type=flexible aad_token_max_age=5m", "aad_server_type=flexible aad_token_max_age=5m0s"},
	{"durations", "aad_token_timeout=90s aad_token_max_age=1h", "aad_token_max_age=1h0m0s aad_token_timeout=1m30s"},
	{"explicit defaults", "aad_token_timeout=30s aad_cloud=auto", ""},
	{"timeout default of device-code", "aad_auth=activedirectorydevicecode aad_token_timeout=15m", "aad_auth=device-code"},
	{"timeout other than device-code's default", "aad_auth=device-code aad_token_timeout=30s", "aad_auth=device-code aad_token_timeout=30s"},
	{"timeout default of a list", "aad_auth=azure-cli,interactive-browser aad_token_timeout=5m", "aad_auth=azure-cli,interactive-browser"},
	{"insecure", "aad_insecure=plaintext host=/tmp", "aad_insecure=plaintext host=/tmp"},
}

// invalid are DSNs and a part of the error that Parse returns.
var invalid = []struct{ name, in, want string }{
	{"misspelled key", "aad_tennant_id=x", `"aad_tennant_id" is not known; did you mean aad_tenant_id?`},
	{"unknown key", "aad_unheard_of_thing=x", "write one of aad_auth, "},
	{"hyphens", "aad-auth=default", "did you mean aad_auth?"},
	{"no separator", "aadauth=default", "did you mean aad_auth?"},
	{"upper case", "AAD_AUTH=default", `"AAD_AUTH" is not known; write aad_auth in lower case`},
	{"upper case in a URL", "postgres://h?AAD_AUTH=default", "write aad_auth in lower case"},
	{"capital", "Host=h;Database=d", `"Host" is not known; write host in lower case`},
	{"SQL Server's fedauth", "host=h fedauth=ActiveDirectoryDefault", `"fedauth" belongs to SQL Server; write aad_auth`},
	{"SQL Server's form", "server=h;database=d", `"server" is not known; write host, and separate the pairs by spaces`},
	{"SQL Server's Server", "Server=h", `write host`},
	{"semicolons", "host=h;dbname=d", `separate the pairs by spaces`},
	{"JDBC", "jdbc:postgresql://h/d?user=u&password=" + secret, "remove jdbc:"},
	{"repeated key", "aad_client_id=a aad_client_id=a aad_auth=managed-identity", `"aad_client_id" is given twice; keep one`},
	{"repeated key in a URL", "postgres://h?aad_scope=a&aad_scope=b", `"aad_scope" is given twice`},
	{"empty mode", "aad_auth=", `"aad_auth" is empty; set a value or remove the key`},
	{"empty key", "aad_auth=managed-identity aad_client_id=''", `"aad_client_id" is empty`},

	{"misspelled mode", "aad_auth=managed-identty", `"aad_auth" is "managed-identty"; did you mean managed-identity?`},
	{"unknown mode", "aad_auth=kerberos", "write one of default, environment"},
	{"comma at the end", "aad_auth=azure-cli,", "empty element"},
	{"unknown mode in a list", "aad_auth=azure-cli,AzureDirectory", "write one of"},
	{"mode and its alias", "aad_auth=azure-cli,ActiveDirectoryAzCli", `names the mode "azure-cli" twice`},
	{"password in a list", "aad_auth=azure-cli,password", `"password" cannot be in a list; set it alone`},
	{"access-token in a list", "aad_auth=access-token,azure-cli", `"access-token" cannot be in a list`},
	{"key that default does not use", "aad_client_id=x", `"aad_client_id" is not used by aad_auth=default; remove it, or set a mode that uses it: workload-identity, managed-identity`},
	{"key that azure-cli does not use", "aad_auth=azure-cli aad_client_secret=" + secret, `"aad_client_secret" is not used by aad_auth=azure-cli; remove it, or set a mode that uses it: client-secret`},
	{"key that password does not use", "aad_auth=password aad_scope=x", `"aad_scope" is not used by aad_auth=password`},
	{"unused key with a service", "service=s aad_auth=azure-cli aad_client_id=c", "not used by aad_auth=azure-cli"},
	{"password with default", "password=" + secret, "a password is set, but aad_auth=default authenticates with a token; remove the password, or set aad_auth=password"},
	{"password with managed-identity", "postgres://u:" + secret + "@h/d?aad_auth=managed-identity", "a password is set, but aad_auth=managed-identity"},
	{"password with a token file", "aad_auth=access-token aad_token_file=f password=" + secret, "a password is set"},
	{"two IDs", "aad_auth=managed-identity aad_client_id=a aad_object_id=b", "a managed identity has more than one ID; keep one of aad_client_id, "},

	{"misspelled cloud", "aad_cloud=pulbic", `"aad_cloud" is "pulbic"; did you mean public?`},
	{"unknown cloud", "aad_cloud=germany", "write one of auto, public, "},
	{"unknown server type", "aad_server_type=hyperscale", "write one of flexible, single, cosmos"},
	{"unknown insecure", "aad_insecure=true", "write one of unverified, plaintext"},
	{"not a boolean", "aad_disable_instance_discovery=ja", `"aad_disable_instance_discovery" is not a boolean; write true or false`},
	{"duration without unit", "aad_token_timeout=30", "write a duration with its unit"},
	{"timeout of 0", "aad_token_timeout=0", "is 0; write a longer duration"},
	{"negative duration", "aad_token_max_age=-5m", "write a duration with its unit"},
	{"http authority", "aad_authority_host=http://login.microsoftonline.com", `has the scheme "http"; write https://`},
	{"authority without scheme", "aad_authority_host=login.microsoftonline.com", "is not an absolute URL"},
	{"authority with a password", "aad_authority_host=https://u:" + secret + "@login", "is not an absolute URL without user"},

	{"another scheme", "mysql://u:" + secret + "@h/d", `scheme "mysql://" is not known; use postgres://, postgresql:// or aadpostgres://`},
	{"scheme in upper case", "POSTGRES://u:" + secret + "@h/d", `scheme "POSTGRES://" is not known`},
	{"one slash", "aadpostgres:/u:" + secret + "@h/d", "neither a URL nor name=value pairs"},
	{"@ in the user", "postgres://me@contoso.com@h/d", "write each @ of a user name or password as %40, as in me%40contoso.com@host"},
	{"@ in the password", "postgres://u:" + secret + "@x@h/d", "write each @"},
	{"@ in the password, secret last", "postgres://u:x@" + secret + "@h/d", "write each @"},
	{"@ in a pair", "host=me@h", "the host contains an @"},
	{"space in a value", "password=a b " + secret, "neither a URL nor name=value pairs; quote a value that contains spaces"},
	{"unclosed quote", "password='" + secret, `the value of "password" has an opening '`},
	{"unclosed quote, unknown name", "password=a " + secret + "='b", "the value of a parameter has an opening '"},
	{"no name", "=x", "neither a URL nor"},
	{"quote in a name", "a\"b=x", "name is empty or contains spaces, quotes"},
	{"no name in a URL", "postgres://h?=x", "name is empty"},
	{"space in a name", "postgres://h?a%20b=x", "contains spaces, quotes"},
	{"no = in a URL", "postgres://h?" + secret, "has no =; write name=value"},
	{"second = in a URL", "postgres://h?user=b=" + secret, `"user" in the URL has a second =`},
	{"second =, unknown name", "postgres://h?password=a&" + secret + "=b=c", "a parameter in the URL has a second ="},
	{"incomplete %", "postgres://h?password=" + secret + "%2", `"password" in the URL ends in an incomplete %-sequence`},
	{"invalid %", "postgres://u:" + secret + "%zz@h", `"password" in the URL has an invalid %-sequence`},
	{"%00", "postgres://u:%00@h", "invalid %-sequence"},
	{"invalid % in a name", "postgres://h?a%zz=1", "a parameter name of the URL has an invalid"},
	{"space in a URL", "postgres://u:" + secret + " x@h", `"password" in the URL contains a space; write it as %20`},
	{"unclosed bracket", "postgres://[::1", "write an IPv6 address as [::1]"},
	{"empty brackets", "postgres://[]", "write an IPv6 address as [::1]"},
	{"text after a bracket", "postgres://[::1]x", "text follows the ]"},
	{"NUL", "host=h\x00", "NUL byte"},
}

func TestParse(t *testing.T) {
	for _, row := range valid {
		t.Run(row.name, func(t *testing.T) {
			c := mustParse(t, row.in)
			if got := c.DSN(); got != row.out {
				t.Errorf("Parse(%q).DSN() = %q, want %q", row.in, got, row.out)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, row := range valid {
		t.Run(row.name, func(t *testing.T) {
			c := mustParse(t, row.in)
			if got := mustParse(t, c.DSN()); !reflect.DeepEqual(got, c) {
				t.Errorf("Parse(%q) = %#v, want %#v", c.DSN(), got, c)
			}
			if got := c.Clone(); !reflect.DeepEqual(got, c) {
				t.Errorf("Clone() = %#v, want %#v", got, c)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, row := range invalid {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse(row.in)
			checkError(t, err, row.want)
		})
	}
}

func TestDefaults(t *testing.T) {
	got := mustParse(t, "aad_server_type=Single")
	want := &Config{
		Params:       map[string]string{},
		Auth:         []Mode{Default},
		Cloud:        "auto",
		ServerType:   "single",
		TokenTimeout: 30 * time.Second,
		TokenMaxAge:  5 * time.Minute,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCloneIsDeep(t *testing.T) {
	const in = "host=h aad_auth=azure-cli aad_additionally_allowed_tenants=a"
	c := mustParse(t, in)
	d := c.Clone()
	d.Params["host"] = "x"
	d.Auth[0] = Default
	d.AdditionallyAllowedTenants[0] = "x"
	if want := mustParse(t, in); !reflect.DeepEqual(c, want) {
		t.Errorf("after changing the clone, got %v, want %v", c, want)
	}
}

func TestHost(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"none", "", ""},
		{"one", "host=a", "a"},
		{"two", "host=a,b", "a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := mustParse(t, row.in).Host(); got != row.want {
				t.Errorf("Host() = %q, want %q", got, row.want)
			}
		})
	}
}

func mustParse(t *testing.T, s string) *Config {
	t.Helper()
	c, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return c
}

// checkError checks that err contains a text, is one line, and contains no secret.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got error %q, want one with %q", err, want)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("got error %q, want one without the secret", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %q, want one line", err)
	}
}
