package dsn

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// A secret in a place where none is expected is refused, whatever the notation. The error
// says how to write it, and contains nothing of it.
func TestSecretsInOddPlaces(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"ADO.NET", "database=app;User Id=me;password=" + secret, `a semicolon follows the value of "database"; separate the pairs by spaces`},
		{"ADO.NET, capitals", "Host=h;Username=u;Password=" + secret, `"Host" is not known; write host in lower case, and separate the pairs by spaces`},
		{"ADO.NET, password first", "password=" + secret + ";host=h;user=u aad_auth=password", `a semicolon follows the value of "password"`},
		{"ADO.NET, quoted", "user='app; Pwd = " + secret + "'", `"user" contains another setting, whose value may be a secret`},
		{"ADO.NET, host in the environment", "user=app;password=" + secret + ";host=h", "separate the pairs by spaces"},
		{"ADO.NET, aad_ keys", "aad_auth=client-secret;aad_client_secret=" + secret, `a semicolon follows the value of "aad_auth"`},
		{"ADO.NET, foreign names", "dbname=app;AccountKey=" + secret, `a semicolon follows the value of "dbname"`},
		{"semicolon after a URL", "postgres://u@h/db;password=" + secret, `"dbname" contains another setting, whose value may be a secret`},
		{"semicolon after a port", "postgres://u@h:5432;password=" + secret, "contains another setting"},
		{"semicolon after a parameter", "postgres://u@h/db?sslmode=require;password=" + secret, "has a second ="},
		{"semicolon after a duration", "aad_token_timeout='30s;aad_client_secret=" + secret + "'", "contains another setting"},
		{"semicolon after a cloud", "aad_cloud='public;aad_client_secret=" + secret + "'", "contains another setting"},
		{"semicolon in a path", "aad_authority_host='https://h/;password=" + secret + "'", "contains another setting"},
		{"comma", "host=h user=app,password=" + secret, "contains another setting"},
		{"vertical bar", "host=h user=app|password=" + secret, "contains another setting"},
		{"ampersand without ?", "host=h dbname=app&password=" + secret, "contains another setting"},
		{"percent-encoded", "postgres://h/app%3Bpassword%3D" + secret, "contains another setting"},
		{"percent-encoded twice", "postgres://h/app%253Bpassword%253D" + secret, "contains another setting"},
		{"percent-encoded twice, in a pair", "host=h dbname=app%253Bpassword%253D" + secret, "contains another setting"},
		{"authority of a URL", "host=h aad_scope=api://token=" + secret, "contains another setting"},
		{"HTML", "postgres://h/db?user=app&amp;password=" + secret, "is escaped for HTML; write & in place of &amp;"},
		{"HTML by number", "postgres://h/db?user=app&#38;password=" + secret, "is escaped for HTML"},
		{"option of a command", "host=h dbname='app --password " + secret + "'", "contains another setting"},
		{"option of the server", "host=h options='-c app.password=" + secret + "'", `"options" contains another setting, whose value may be a secret`},
		{"YAML in a value", "host=h dbname='app password: " + secret + "'", "contains another setting"},
		{"hash of Ruby", "host=h dbname='app :password => " + secret + "'", "contains another setting"},

		{"variable before a URL", "DATABASE_URL=postgres://u:" + secret + "@h/db", "a name stands before the URL; remove it"},
		{"variable before a URL, quoted", `DATABASE_URL="postgresql://u:` + secret + `@h/db"`, "a name stands before the URL; remove it"},
		{"YAML before a URL", "url: postgres://u:" + secret + "@h/db", "a name stands before the URL; remove it"},
		{"variable before pairs", "DSN=host=h user=u password=" + secret, "contains another setting"},
		{"export", "export DATABASE_URL=postgres://u:" + secret + "@h/db", "is a line of a script"},
		{"set", "set PGPASSWORD=" + secret, "is a line of a script"},
		{"psql and pairs", `psql "host=h password=` + secret + `"`, "is a command line; write its connection string alone"},
		{"psql and a URL", "psql postgres://u:" + secret + "@h/db", "is a command line"},
		{"pg_dump with a path", "/usr/bin/pg_dump -d postgres://u:" + secret + "@h/db", "is a command line"},
		{"quotes around a URL", `"postgres://u:` + secret + `@h/db"`, "is in quotes; remove the quotes"},
		{"quotes around pairs", "'host=h password=" + secret + "'", "is in quotes"},
		{"JSON", `{"host":"h","password":"` + secret + `="}`, "is JSON, YAML or XML"},
		{"XML", `<add connectionString="Host=h;Password=` + secret + `"/>`, "is JSON, YAML or XML"},
		{"JDBC in capitals", "JDBC:postgresql://h/d?password=" + secret, "remove jdbc:"},
		{"Go's driver for MySQL", "u:" + secret + "@tcp(h:3306)/d?parseTime=true", "a parameter name is empty or contains"},
		{"YAML", "host: h\npassword: " + secret, "neither a URL nor name=value pairs"},

		{"pwd", "host=h pwd=" + secret, `a key with "pwd" in its name is not known, and would be sent to the server as a setting; write password`},
		{"passwd", "host=h passwd=" + secret, "write password"},
		{"pass", "host=h pass=" + secret, "write password"},
		{"client_secret", "host=h client_secret=" + secret, "write aad_client_secret"},
		{"libpq's secret", "host=h oauth_client_secret=" + secret, "write aad_client_secret"},
		{"token", "host=h access_token=" + secret, "write aad_auth=access-token"},
		{"API-Key", "host=h API-Key=" + secret, `a key with "apikey" in its name`},
		{"AccountKey", "host=h AccountKey=" + secret, "remove it"},
		{"sig", "host=h sig=" + secret, `a key with "sig" in its name`},
		{"userPassword", "host=h userPassword=" + secret, "write password"},
		{"setting of an extension", "host=h app.jwt_secret=" + secret, "would be sent to the server"},
		{"environment variable", "PGPASSWORD=" + secret + " PGHOST=h", "write password"},
		{"misspelled password", "host=h pasword=" + secret, "write password"},
		{"misspelled secret", "host=h client_secrt=" + secret, "write aad_client_secret"},
		{"Password", "host=h Password=" + secret, "write password in lower case"},

		{"token as user", "user=eyJhbGciOiJIUzI1NiJ9." + secret, "contains a token; write the token as password with aad_auth=access-token"},
		{"URL as application name", "host=h application_name=postgres://u:" + secret + "@h", "contains a URL"},
		{"URL as host", "host=https://u:" + secret + "@h", "contains a URL"},
		{"key in place of its file", "host=h sslkey='-----BEGIN PRIVATE KEY----- " + secret + "'", "write the path of a file"},
		{"certificate in base64 in place of its file", "aad_auth=client-certificate aad_client_certificate=" + "MII" + strings.Repeat("A", 60) + secret, "write the path of a file"},
		{"PEM in base64", "aad_auth=client-certificate aad_client_certificate=LS0tLS1CRUdJTiBQ" + secret, "write the path of a file"},
		{"encoded colon", "postgres://u%3A" + secret + "@h/db", "write : between user and password"},

		{"in place of a mode", "aad_auth=" + secret, "write one of default, "},
		{"in place of a cloud", "aad_cloud=" + secret, "write one of auto, "},
		{"in place of a boolean", "aad_disable_instance_discovery=" + secret, "write true or false"},
		{"in place of a duration", "aad_token_timeout=" + secret, "write a duration"},
		{"in place of a scheme", "aad_authority_host=" + secret + "://h", "write https://"},
		{"in place of the DSN's scheme", secret + "://h", "the scheme of the URL is not known"},
		{"in place of a port", "port=" + secret, "invalid port"},
		{"in place of a number", "connect_timeout=" + secret, "is not a number"},
		{"in place of sslmode", "sslmode=" + secret, "is not one of disable, allow, prefer, require, verify-ca, verify-full"},
		{"in place of a method", "require_auth=password," + secret, "is not a list of password, md5, "},
		{"in place of a mode of pgx", "default_query_exec_mode=" + secret, "is not one of cache_statement"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse(row.in)
			checkError(t, err, row.want)
		})
	}
}

// In a URL the first @ before a slash ends the user. If it belongs to a value of the
// query, the host would be what follows it, and that host would receive the token.
func TestQueryInPlaceOfUser(t *testing.T) {
	const want = "write each @ of a value as %40, and a / between the host and the ?"
	for _, row := range []struct{ name, in string }{
		{"no path", "aadpostgres://app.postgres.database.azure.com?aad_auth=azure-cli&user=me@contoso.com"},
		{"port and no path", "aadpostgres://app.postgres.database.azure.com:5432?aad_auth=azure-cli&user=me@contoso.com"},
		{"libpq's keys alone", "postgres://h?user=me@contoso.com/db"},
		{"port, libpq's keys alone", "postgres://h:5432?user=me@contoso.com/db"},
		{"several hosts", "postgres://h:5432,h2?user=me@contoso.com"},
		{"secret", "postgres://h?aad_client_secret=" + secret + "@x"},
		{"secret after a port", "postgres://h:5432?aad_client_secret=" + secret + "@x"},
		{"several @", "postgres://h?user=me@contoso.com&application_name=a@b"},
		{"& in place of ?", "postgres://h&user=me@contoso.com"},
		{"; in place of ?", "postgres://h;user=me@contoso.com"},
		{"fragment", "postgres://h#x?user=me@contoso.com"},
		{"? without a value", "postgres://h?me@contoso.com"},
		{"encoded ?", "postgres://h%3Fuser=me@contoso.com"},
		{"backslash in place of /", `postgres://h\db@contoso.com`},
		{"key of ours as user", "postgres://haad_auth@contoso.com"},
		{"key of ours", "postgres://h:aad_auth@contoso.com"},
		{"server's name", "postgres://app.postgres.database.azure.com@contoso.com/db"},
		{"server's name and port", "postgres://app.postgres.database.azure.com:5432@contoso.com/db"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse(row.in)
			checkError(t, err, want)
		})
	}
	for _, row := range []struct{ name, in, out string }{
		{"with a slash", "postgres://h/?user=me@contoso.com", "host=h user=me@contoso.com"},
		{"user encoded", "postgres://me%40contoso.com@h?sslmode=require", "host=h sslmode=require user=me@contoso.com"},
		{"user named like a key", "postgres://h/?user=aad_readers", "host=h user=aad_readers"},
		{"role of a nested resource", "postgres://shop%2Fslots%2Fstaging@h", "host=h user=shop/slots/staging"},
		{"? in a password", "postgres://u:a?b&c@h?aad_auth=password", "aad_auth=password host=h password=a?b&c user=u"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := mustParse(t, row.in)
			if got := c.DSN(); got != row.out {
				t.Errorf("Parse(%q).DSN() = %q, want %q", row.in, got, row.out)
			}
		})
	}
}

// What is near to this grammar is refused with the form to write.
func TestNearMisses(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"commas between pairs", "host=h, port=5432, user=u", "the host ends in a comma; separate the pairs by spaces"},
		{"comma after the user", "user=u, host=h", `a comma follows the value of "user"; separate the pairs by spaces`},
		{"port in the host", "host=h:5432", "the host contains a port; write it as its own key"},
		{"port in the host, comma", "host=h,5432", "the host contains a port"},
		{"port in the second host", "host=h,h2:5433", "the host contains a port"},
		{"URL as host", "host=https://h", "the host is a URL; write the host's name alone"},
		{"protocol in the host", "host=tcp:h,5432", "the host begins with a protocol"},
		{"brackets", "host=[::1]:5432", "write an IPv6 address without them, as in host=::1 port=5432"},
		{"path in the host", "host=h/db", "the host contains characters that no host name has"},
		{"space in the host", "host='h '", "the host contains characters that no host name has"},
		{"percent-encoded host", "postgres://h%2Fdb%3Fx", "the host contains characters that no host name has"},
		{"double quotes", `host=h user="app"`, `"user" is in double quotes; write single quotes`},
		{"double quotes, key of ours", `aad_auth=managed-identity aad_client_id="c"`, `"aad_client_id" is in double quotes`},
		{"semicolon at the end", "aad_auth=managed-identity aad_client_id=c;", `"aad_client_id" ends in a semicolon`},
		{"unset variable", "aad_auth=managed-identity aad_client_id= user=app", `"aad_client_id" is empty, and the next pair follows; set a value or remove the key`},
		{"unset variable, password", "aad_auth=password password= host=h", `"password" is empty, and the next pair follows`},
		{"unset variable, unknown next key", "host=h user= pwd=x", `"user" is empty, and the next pair follows`},
		{"letters swapped", "hots=h", "a key is not known; did you mean host?"},
		{"letter missing", "aplication_name=x", `"aplication_name" is not known; did you mean application_name?`},
		{"letter missing, in capitals", "host=h SSLMOD=require", "did you mean sslmode?"},
		{"key of ours", "host=h aaad_auth=azure-cli", `"aaad_auth" is not known; did you mean aad_auth?`},
		{"underscore", "ssl_mode=require", `"ssl_mode" is not known; did you mean sslmode?`},
		{"name of another driver", "host=h username=u", `"username" is not known; write user`},
		{"environment variable", "PGHOST=h", `"PGHOST" is not known; write host`},
		{"ssl", "host=h ssl=true", `"ssl" is not known; write sslmode, with one of disable, allow, `},
		{"ssl in a URL", "postgres://h?ssl=1", `"ssl" is not known; write sslmode`},
		{"sslmode in capitals", "sslmode=Require", `"sslmode" is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean require?`},
		{"sslmode with underscore", "sslmode=verify_full", "did you mean verify-full?"},
		{"sslmode of node-postgres", "sslmode=no-verify", "remove it to get verify-full"},
		{"channel binding", "host=h channel_binding=require", `"channel_binding" is require, which only SCRAM can do; remove it`},
		{"token as password", "host=h password=eyJhbGciOiJIUzI1NiJ9.e30." + secret, "set aad_auth=access-token to present this one"},
		{"resource ID as client ID", "aad_auth=managed-identity aad_client_id=/subscriptions/s", `"aad_client_id" is a resource ID; write it as aad_resource_id`},
		{"resource ID as object ID", "aad_auth=managed-identity aad_object_id=/Subscriptions/s", `"aad_object_id" is a resource ID; write it as aad_resource_id`},
		{"GUID as resource ID", "aad_auth=managed-identity aad_resource_id=00000000-0000-0000-0000-00000000000A", "write a client ID as aad_client_id, and an object ID as aad_object_id"},
		{"client ID with default", "host=h aad_client_id=c", "set aad_auth=managed-identity, because aad_auth=default takes the client ID from AZURE_CLIENT_ID alone"},
		{"byte order mark", "\ufeffhost=h", "begins with a byte order mark"},
		{"UTF-16", "\xff\xfeh\x00", "NUL byte"},

		{"line break in a user", "host=h user='app\n'", `key "user" contains a line break or another control character; remove it`},
		{"line break in a URL", "postgres://app\n@h/db", `key "user" contains a line break`},
		{"encoded line break", "postgres://h/db%0a", `key "dbname" contains a line break`},
		{"line break in a password", "aad_auth=password password='" + secret + "\n'", `key "password" contains a line break`},
		{"line break in a key of ours", "aad_auth=managed-identity aad_client_id='c\r\n'", `key "aad_client_id" contains a line break`},
		{"control character in a host", "host='h\x1b'", "the host contains a line break or another control character"},
		{"control character in a name", "us\x01er=x", "a parameter name contains a line break or another control character"},
		{"direction of text", "user='a\u202eb'", `key "user" contains a line break or another control character`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse(row.in)
			checkError(t, err, row.want)
		})
	}
}

// What resembles a mistake and is none is taken as pgx takes it.
func TestNoMistakes(t *testing.T) {
	for _, row := range []struct{ name, in, out string }{
		{"line break at the end", "host=h user=app\r\n", "host=h user=app"},
		{"line break at the end of a URL", "postgres://h/db\n", "dbname=db host=h"},
		{"line breaks between pairs", "host=h\n\tuser=app\n", "host=h user=app"},
		{"setting in capitals", "host=h TimeZone=UTC DateStyle=ISO", "DateStyle=ISO TimeZone=UTC host=h"},
		{"setting of an extension", "host=h myapp.user=x", "host=h myapp.user=x"},
		{"setting named like a secret", "host=h password_encryption=md5", "host=h password_encryption=md5"},
		{"options", "host=h options='-c search_path=a -c lock_timeout=5'", "host=h options='-c search_path=a -c lock_timeout=5'"},
		{"methods", "host=h require_auth='!md5, !none'", "host=h require_auth='!md5, !none'"},
		{"double quotes in a list", `host=h search_path="Mixed"`, `host=h search_path="Mixed"`},
		{"list", "host=h search_path='a, b'", "host=h search_path='a, b'"},
		{"semicolon in a name", "host=h application_name='a;b'", "host=h application_name=a;b"},
		{"semicolon in a role's name", "host=h user='a;b'", "host=h user=a;b"},
		{"group with a colon", "host=h user='Team: Ops'", "host=h user='Team: Ops'"},
		{"path named like a secret", "host=h sslrootcert=/run/secrets/token/ca.pem", "host=h sslrootcert=/run/secrets/token/ca.pem"},
		{"authority named like a secret", "aad_authority_host=https://token.contoso.com:8443", "aad_authority_host=https://token.contoso.com:8443"},
		{"folder of Windows", `host=C:\\tmp`, `host='C:\\tmp'`},
		{"IPv6 with zone", "host=fe80::1%eth0", "host=fe80::1%eth0"},
		{"empty host in a list", "postgres://foo,,baz/db", "dbname=db host=foo,,baz port=,,"},
		{"= in a password", "host=h password='a=b; c' aad_auth=password", "aad_auth=password host=h password='a=b; c'"},
		{"pairs in a quoted password", "host=h password='a;host=b' aad_auth=password", "aad_auth=password host=h password='a;host=b'"},
		{"channel binding with a password", "host=h aad_auth=password channel_binding=require", "aad_auth=password channel_binding=require host=h"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := mustParse(t, row.in)
			want := mustParse(t, row.out)
			if !reflect.DeepEqual(c, want) {
				t.Errorf("Parse(%q) = %v, want %v", row.in, c, want)
			}
			if again := mustParse(t, c.DSN()); !reflect.DeepEqual(again, c) {
				t.Errorf("Parse(%q) = %v, want %v", c.DSN(), again, c)
			}
		})
	}
}

// The settings of PostgreSQL that a client can set are no mistakes, although a name may
// resemble a key.
func TestServerSettingsAreKnown(t *testing.T) {
	const settings = `application_name array_nulls backend_flush_after backslash_quote bytea_output check_function_bodies client_encoding
		client_min_messages commit_delay constraint_exclusion createrole_self_grant cursor_tuple_fraction DateStyle deadlock_timeout debug_print_parse
		default_statistics_target default_tablespace default_text_search_config default_toast_compression default_transaction_isolation
		default_transaction_read_only effective_cache_size enable_hashagg enable_nestloop exit_on_error extra_float_digits from_collapse_limit geqo
		geqo_seed gin_fuzzy_search_limit gin_pending_list_limit hash_mem_multiplier icu_validation_level idle_in_transaction_session_timeout
		idle_session_timeout IntervalStyle jit jit_provider join_collapse_limit lc_messages lc_monetary lc_numeric lc_time lo_compat_privileges
		local_preload_libraries lock_timeout log_statement maintenance_work_mem md5_password_warnings parallel_setup_cost password_encryption
		plan_cache_mode quote_all_identifiers random_page_cost role row_security scram_iterations search_path seed seq_page_cost
		session_preload_libraries session_replication_role statement_timeout synchronous_commit tcp_keepalives_idle tcp_user_timeout temp_buffers
		temp_tablespaces timezone timezone_abbreviations track_activities transaction_timeout vacuum_cost_delay wal_compression work_mem xmlbinary
		xmloption pg_stat_statements.track pgaudit.log auto_explain.log_min_duration`
	for name := range strings.FieldsSeq(settings) {
		t.Run(name, func(t *testing.T) {
			if err := checkName(name); err != nil {
				t.Errorf("checkName(%q) = %v, want nil", name, err)
			}
		})
	}
}

// The environment and the service file are held to the same rules. The error names the
// variable or the section, and not the value.
func TestOddEnvironment(t *testing.T) {
	for _, row := range []struct {
		name, dsn string
		vars      map[string]string
		services  string
		want      string
	}{
		{name: "line break in PGHOST", vars: map[string]string{"PGHOST": "h\n"}, want: "PGHOST contains a line break"},
		{name: "line break in PGUSER", vars: map[string]string{"PGUSER": "app\n"}, want: "PGUSER contains a line break"},
		{name: "line break in PGDATABASE", vars: map[string]string{"PGDATABASE": "app\n"}, want: "PGDATABASE contains a line break"},
		{name: "line break in PGPASSWORD", dsn: "aad_auth=password", vars: map[string]string{"PGPASSWORD": secret + "\n"}, want: "PGPASSWORD contains a line break"},
		{name: "line break in AZURE_CLIENT_SECRET", dsn: "aad_auth=client-secret aad_tenant_id=t aad_client_id=c", vars: map[string]string{"AZURE_CLIENT_SECRET": secret + "\n"}, want: "AZURE_CLIENT_SECRET contains a line break"},
		{name: "certificate in AZURE_CLIENT_CERTIFICATE_PATH", dsn: "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c", vars: map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "-----BEGIN " + secret}, want: "AZURE_CLIENT_CERTIFICATE_PATH contains a certificate or a key; write the path"},
		{name: "port in PGHOST", vars: map[string]string{"PGHOST": "h:5432"}, want: "PGHOST contains a port"},
		{name: "secret in PGUSER", vars: map[string]string{"PGUSER": "u;password=" + secret}, want: "PGUSER contains another setting"},
		{name: "PGSSLMODE", vars: map[string]string{"PGSSLMODE": secret}, want: "PGSSLMODE is not one of disable, "},
		{name: "PGCHANNELBINDING", dsn: "host=h", vars: map[string]string{"PGCHANNELBINDING": "require"}, want: "PGCHANNELBINDING is require, which only SCRAM can do; remove it"},
		{name: "secret in a section", dsn: "service=s", services: "[s]\npwd=" + secret, want: `service "s": a key with "pwd" in its name`},
		{name: "secret behind a value of a section", dsn: "service=s", services: "[s]\nuser=u;password=" + secret, want: `service "s": key "user" contains another setting`},
		{name: "control character in a section", dsn: "service=s", services: "[s]\nuser=a\x01", want: `service "s": key "user" contains a line break or another control character`},
		{name: "sslmode in a section", dsn: "service=s", services: "[s]\nsslmode=Require", want: "did you mean require?"},
		{name: "channel binding in a section", dsn: "service=s", services: "[s]\nchannel_binding=require", want: `"channel_binding" is require`},
	} {
		t.Run(row.name, func(t *testing.T) {
			vars := map[string]string{"HOME": "/home/me"}
			for name, v := range row.vars {
				vars[name] = v
			}
			_, err := ParseEnv(row.dsn, fakeEnv(vars, "/home/me/.pg_service.conf", row.services))
			checkError(t, err, row.want)
		})
	}
}

// fmt cannot call the methods of a field that is not exported, and prints what it holds.
func TestUnexportedFieldsPrintNoSecret(t *testing.T) {
	c := mustParse(t, "host=h aad_auth=client-secret aad_client_secret="+secret+" sslpassword="+secret)
	p := mustParse(t, "host=h aad_auth=password password="+secret)
	certificate := mustParse(t, "host=h aad_auth=client-certificate aad_client_certificate_password="+secret)
	for _, row := range []struct {
		name  string
		value any
	}{
		{"Config", struct{ db Config }{*c}},
		{"Config with a password", struct{ db Config }{*p}},
		{"Config with a certificate", struct{ db Config }{*certificate}},
		{"pointer", struct{ db *Config }{c}},
		{"pointer to both", &struct{ db Config }{*c}},
		{"interface", struct{ db any }{*c}},
		{"slice", struct{ db []Config }{[]Config{*c}}},
		{"map", struct{ db map[string]Config }{map[string]Config{"k": *c}}},
		{"nested", struct{ v struct{ db Config } }{struct{ db Config }{*c}}},
		{"Secret", struct{ s Secret }{NewSecret(secret)}},
		{"pointer to a Secret", struct{ s *Secret }{&c.ClientSecret}},
		{"clone", struct{ db *Config }{c.Clone()}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%5.3s"} {
			t.Run(row.name+"/"+verb, func(t *testing.T) {
				if got := fmt.Sprintf(verb, row.value); strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) {
					t.Errorf("Sprintf(%q) = %s, want no secret in it", verb, got)
				}
			})
		}
		t.Run(row.name+"/slog", func(t *testing.T) {
			var text, json strings.Builder
			slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", row.value)
			slog.New(slog.NewJSONHandler(&json, nil)).Info("m", "k", row.value)
			if got := text.String() + json.String(); strings.Contains(got, secret) {
				t.Errorf("slog writes %s, want no secret in it", got)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	if got := NewSecret(secret); got != NewSecret(secret) {
		t.Error("NewSecret of one value twice differs, want equal Secrets")
	}
	if got := NewSecret(""); got != (Secret{}) {
		t.Errorf("NewSecret(%q) = %#v, want the zero Secret", "", got)
	}
	if got := NewSecret(secret).Value(); got != secret {
		t.Errorf("Value() = %q, want %q", got, secret)
	}
	if got := (Secret{}).Value(); got != "" {
		t.Errorf("Value() of the zero Secret = %q, want %q", got, "")
	}
	if got := fmt.Sprintf("%v%s%#v", NewSecret(secret), NewSecret(secret), Secret{}); got != mask+mask {
		t.Errorf("printed Secrets are %q, want %q", got, mask+mask)
	}
}

// A program may still put a secret into Params. It is masked, and pgx does not see it.
func TestSecretsInParams(t *testing.T) {
	for _, name := range []string{"password", "sslpassword", "pwd", "app.token"} {
		t.Run(name, func(t *testing.T) {
			c := mustParse(t, "host=h")
			c.Params[name] = secret
			if got := c.String() + c.ConnString(); strings.Contains(got, secret) {
				t.Errorf("String() and ConnString() = %q, want no secret in it", got)
			}
			if got := c.DSN(); !strings.Contains(got, name+"="+secret) {
				t.Errorf("DSN() = %q, want the secret in it", got)
			}
		})
	}
}
