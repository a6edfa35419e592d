package emulator_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// exportsOf returns the environment of a program on a host.
func exportsOf(t *testing.T, az *emulator.Azure, h emulator.Host, id emulator.Identity) map[string]string {
	t.Helper()
	exports, err := az.Exports(h, id)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, kv := range exports {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	return env
}

// proxyClient returns a client that has a host's environment: its proxy and its roots.
func proxyClient(t *testing.T, env map[string]string) *http.Client {
	t.Helper()
	proxy, err := url.Parse(env["HTTPS_PROXY"])
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// The proxy of a host leads the authorities of every cloud to the emulator, and Entra
// answers instance discovery for the authorities that Microsoft's libraries know.
func TestProxyToAuthorities(t *testing.T) {
	az := emulator.Start(t)
	client := proxyClient(t, exportsOf(t, az, emulator.AppService, az.Identity("app")))
	for _, tt := range []struct {
		authority string
		isKnown   bool
	}{
		{"login.microsoftonline.com", true},
		{"LOGIN.microsoftonline.com", true},
		{"login.windows.net", true},
		{"login.microsoft.com", true},
		{"sts.windows.net", true},
		{"login.microsoftonline.us", true},
		{"login.usgovcloudapi.net", true},
		{"login.chinacloudapi.cn", true},
		{"login.partner.microsoftonline.cn", true},
		{"login.microsoftonline.eaglex.ic.gov", false},
		{"login.microsoftonline.microsoft.scloud", false},
	} {
		t.Run(tt.authority, func(t *testing.T) {
			resp, err := client.Get("https://" + tt.authority + "/" + emulator.TenantID + "/v2.0/.well-known/openid-configuration")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if want := "/oauth2/v2.0/token"; !strings.Contains(string(body), want) {
				t.Errorf("configuration = %s, want %q in it", body, want)
			}
			resp, err = client.Get(publicAuthority + "/common/discovery/instance?api-version=1.1&authorization_endpoint=" +
				url.QueryEscape("https://"+tt.authority+"/organizations/oauth2/v2.0/authorize"))
			if err != nil {
				t.Fatal(err)
			}
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if isKnown := resp.StatusCode == http.StatusOK && strings.Contains(string(body), strings.ToLower(`"`+tt.authority+`"`)); isKnown != tt.isKnown {
				t.Errorf("instance discovery answers %d %s, want it to know the authority: %t", resp.StatusCode, body, tt.isKnown)
			}
		})
	}
}

// The proxy refuses every host but the authorities, other ports of theirs, and this
// machine, and says why in a form that Go's client prints.
func TestProxyRefuses(t *testing.T) {
	az := emulator.Start(t)
	client := proxyClient(t, exportsOf(t, az, emulator.AppService, az.Identity("app")))
	for _, tt := range []struct{ name, url, host string }{
		{"another host", "https://example.com/", "example.com:443"},
		{"plain http", "http://example.com/", "example.com"},
		{"authority by plain http", "http://login.microsoftonline.com/", "login.microsoftonline.com"},
		{"another port of an authority", "https://login.microsoftonline.com:5432/", "login.microsoftonline.com:5432"},
		{"name that starts like an authority", "https://login.microsoftonline.com.evil.example/", "login.microsoftonline.com.evil.example:443"},
		{"server of the database", "https://app.postgres.database.azure.com/", "app.postgres.database.azure.com:443"},
		{"this machine", fmt.Sprintf("https://127.0.0.2:%d/", az.Port()), fmt.Sprintf("127.0.0.2:%d", az.Port())},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := client.Get(tt.url)
			got := fmt.Sprint(err)
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				got = string(body)
				if resp.StatusCode != http.StatusForbidden {
					t.Errorf("status = %d, want %d", resp.StatusCode, http.StatusForbidden)
				}
			}
			want := fmt.Sprintf("%q is unreachable, because the emulator lets nothing leave this machine; add the host to NO_PROXY to reach it", tt.host)
			if !strings.Contains(got, want) {
				t.Errorf("the proxy answers %q, want %q", got, want)
			}
		})
	}
	// A program that probes for a metadata service sees a host without one.
	for _, host := range []string{"169.254.169.254", "169.254.169.254:80", "169.254.10.1", "[fe80::1]"} {
		t.Run("metadata service "+host, func(t *testing.T) {
			resp, err := client.Get("http://" + host + "/metadata/identity/oauth2/token")
			if err == nil {
				resp.Body.Close()
				t.Fatalf("the proxy answers %s, want no response", resp.Status)
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("error = %v, want %v", err, io.EOF)
			}
		})
	}
}

// The proxy listens on this machine only, and Close ends its tunnels.
func TestProxyCloses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	az, err := emulator.New(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	env := exportsOf(t, az, emulator.AppService, az.Identity("app"))
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if !strings.HasPrefix(env[name], "http://127.0.0.1:") {
			t.Errorf("%s = %q, want an address of 127.0.0.1", name, env[name])
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(env["HTTPS_PROXY"], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT login.microsoftonline.com:443 HTTP/1.1\r\nHost: login.microsoftonline.com:443\r\n\r\n")
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(status, "200") {
		t.Fatalf("the proxy answers %q, %v, want 200", status, err)
	}
	if err := az.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
