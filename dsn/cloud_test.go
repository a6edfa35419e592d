package dsn

import "testing"

func TestCloudOf(t *testing.T) {
	for _, row := range []struct{ name, host, want string }{
		{"public", "a.postgres.database.azure.com", "public"},
		{"upper case and trailing dot", "A.Postgres.Database.Azure.Com.", "public"},
		{"private link", "a.privatelink.postgres.database.azure.com", "public"},
		{"private DNS zone", "a.private.postgres.database.azure.com", "public"},
		{"writer endpoint", "a.writer.postgres.database.azure.com", "public"},
		{"reader endpoint", "a.reader.postgres.database.azure.com", "public"},
		{"Cosmos DB", "c-x.abc.postgres.cosmos.azure.com", "public"},
		{"Cosmos DB, private link", "c-x.abc.privatelink.postgres.cosmos.azure.com", "public"},
		{"usgov", "a.postgres.database.usgovcloudapi.net", "usgov"},
		{"usgov, private DNS zone", "a.private.postgres.database.usgovcloudapi.net", "usgov"},
		{"china, private link", "a.privatelink.postgres.database.chinacloudapi.cn", "china"},
		{"usnat", "a.postgres.database.cloudapi.eaglex.ic.gov", "usnat"},
		{"ussec", "a.postgres.database.cloudapi.microsoft.scloud", "ussec"},
		{"another domain", "db.example.com", ""},
		{"empty", "", ""},
		{"IP address", "127.0.0.1", ""},
		{"suffix without dot", "evilpostgres.database.azure.com", ""},
		{"suffix in the middle", "a.postgres.database.azure.com.example.com", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := CloudOf(row.host); got != row.want {
				t.Errorf("CloudOf(%q) = %q, want %q", row.host, got, row.want)
			}
		})
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

func TestScope(t *testing.T) {
	for _, row := range []struct{ cloud, want string }{
		{"public", "https://ossrdbms-aad.database.windows.net/.default"},
		{"usgov", "https://ossrdbms-aad.database.usgovcloudapi.net/.default"},
		{"china", "https://ossrdbms-aad.database.chinacloudapi.cn/.default"},
		{"usnat", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov/.default"},
		{"ussec", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud//.default"},
	} {
		t.Run(row.cloud, func(t *testing.T) {
			for _, c := range Clouds() {
				if c.Name != row.cloud {
					continue
				}
				if got := c.Scope(); got != row.want {
					t.Errorf("Scope() = %q, want %q", got, row.want)
				}
				return
			}
			t.Errorf("Clouds() has no %s", row.cloud)
		})
	}
}
