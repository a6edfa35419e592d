package credential

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// hostEnv has an endpoint of each kind that a host can name.
func hostEnv(t *testing.T) {
	t.Helper()
	entratest.CleanEnv(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://10.1.2.3:4001/msi/token?x=y")
	t.Setenv("MSI_ENDPOINT", "HTTP://Machine-Learning.example./MSI/auth")
	t.Setenv("IMDS_ENDPOINT", "http://[fd00::1]:40342")
	t.Setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "https://pod.example")
}

// What stands on this host is asked directly. All else goes through the proxy that the
// environment names.
func TestProxyFor(t *testing.T) {
	rows := []struct {
		url     string
		proxied bool
	}{
		{"http://169.254.169.254/metadata/identity/oauth2/token", false},
		{"http://169.254.129.7:8081/msi/token", false},
		{"http://[fe80::1%25eth0]/", false},
		{"http://[::ffff:169.254.169.254]/", false},
		{"http://127.0.0.1:41234/MSI/token", false},
		{"http://127.8.9.10/", false},
		{"http://[::1]:40342/", false},
		{"http://localhost:42356/msi/token", false},
		{"http://LOCALHOST./", false},
		{"http://identity.localhost/", false},
		{"http://10.1.2.3:4001/other", false},
		{"http://machine-learning.example:80/MSI/auth", false},
		{"http://[FD00::1]:40342/", false},
		{"https://pod.example:443/", false},

		{"http://10.1.2.3:4002/msi/token", true},
		{"https://10.1.2.3:4001/msi/token", true},
		{"http://10.1.2.4:4001/", true},
		{"https://machine-learning.example/", true},
		{"http://pod.example/", true},
		{"http://other.machine-learning.example/", true},
		{"https://login.microsoftonline.com/t/token", true},
		{"https://localhost.example/", true},
		{"https://169.254.169.254.example/", true},
		{"https://169.253.1.1/", true},
		{"https://168.63.129.16/", true},
	}
	hostEnv(t)
	const proxy = "http://proxy.example:3128"
	t.Cleanup(func() { environmentProxy = http.ProxyFromEnvironment })
	environmentProxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	for _, row := range rows {
		t.Run(row.url, func(t *testing.T) {
			u, err := url.Parse(row.url)
			if err != nil {
				t.Fatal(err)
			}
			got, err := proxyFor(&http.Request{URL: u})
			if err != nil {
				t.Fatal(err)
			}
			if (got != nil) != row.proxied {
				t.Errorf("proxyFor() = %v, want a proxy: %v", got, row.proxied)
			}
		})
	}
}

// A proxy whose URL cannot be read is not quoted, because it may hold a password.
func TestInvalidProxy(t *testing.T) {
	t.Cleanup(func() { environmentProxy = http.ProxyFromEnvironment })
	environmentProxy = func(*http.Request) (*url.URL, error) {
		return nil, errors.New("invalid proxy address http://user:" + entratest.Marker)
	}
	_, err := proxyFor(&http.Request{URL: &url.URL{Scheme: "https", Host: "login.example"}})
	const want = "the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL"
	if err == nil || err.Error() != want {
		t.Errorf("proxyFor() = %v, want %q", err, want)
	}
}

// What responds at a managed identity's endpoint is known by its form.
func TestIsOfMetadataService(t *testing.T) {
	rows := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   bool
	}{
		{"token", 200, nil, `{"access_token":"x","expires_on":"1"}`, true},
		{"page", 200, nil, `<html>`, false},
		{"nothing", 200, nil, ``, false},
		{"no token", 200, nil, `{"value":"x"}`, false},
		{"null", 200, nil, `null`, false},
		{"token that is not text", 200, nil, `{"access_token":5}`, false},
		{"refusal of a virtual machine", 400, nil, `{"error":"invalid_request","error_description":"Identity not found"}`, true},
		{"refusal of App Service", 400, nil, `{"statusCode":400,"message":"Unable to load the proper Managed Identity."}`, true},
		{"refusal of Service Fabric", 404, nil, `{"error":{"code":"ManagedIdentityNotFound","message":"x"}}`, true},
		{"refusal without a text", 503, nil, `{}`, true},
		{"challenge of Azure Arc", 401, http.Header{"Www-Authenticate": {`Basic realm=/var/opt/azcmagent/tokens/x.key`}}, ``, true},
		{"challenge of a proxy", 401, http.Header{"Www-Authenticate": {`Negotiate`}}, ``, false},
		{"page of a proxy", 403, nil, `<html>blocked</html>`, false},
		{"Docker Desktop", 403, nil, `connecting to 169.254.169.254:80: network is unreachable`, false},
		{"proxy that asks who you are", 407, nil, ``, false},
		{"array", 400, nil, `["x"]`, false},
		{"string", 502, nil, `"bad gateway"`, false},
		{"null of a proxy", 502, nil, `null`, false},
		{"JSON cut off", 400, nil, `{"error":"invalid`, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: row.status, Header: row.header}
			if got := isOfMetadataService(resp, []byte(row.body)); got != row.want {
				t.Errorf("isOfMetadataService() = %v, want %v", got, row.want)
			}
		})
	}
}
