package credential

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// metadataAddress is where a virtual machine's instance metadata service answers.
const metadataAddress = "169.254.169.254"

// endpointVariables are those by which a host names the endpoint of its managed identity.
// The list holds all names that azidentity and MSAL have, whether this version reads them
// or not.
var endpointVariables = []string{"IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"}

// isIdentityEndpoint reports whether u is of a managed identity's endpoint on this host.
// The fixed addresses are those of a virtual machine and of Azure Arc's agent. A host is
// believed about its own endpoint, so that a name in a variable may resolve to any address.
func isIdentityEndpoint(u *url.URL) bool {
	switch origin(u) {
	case "http://" + metadataAddress + ":80", "http://127.0.0.1:40342":
		return true
	}
	return isNamedBy(u, endpointVariables...)
}

// isNamedBy reports whether u has the scheme, host and port of a URL in one of the
// variables.
func isNamedBy(u *url.URL, variables ...string) bool {
	for _, name := range variables {
		named, err := url.Parse(os.Getenv(name))
		if err == nil && named.Host != "" && origin(named) == origin(u) {
			return true
		}
	}
	return false
}

// origin returns the scheme, host and port of u in the form in which they can be compared.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "" && u.Scheme == "https":
		port = "443"
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

// isLocal reports whether the host of u is this machine, or can be reached only on its own
// link. Names are not resolved.
func isLocal(u *url.URL) bool {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	return err == nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast())
}

// environmentProxy reads the environment once in a process. Tests replace it.
var environmentProxy = http.ProxyFromEnvironment

// proxyFor chooses the proxy of a request from the environment. What stands on this host
// is asked directly: a proxy does not have this host's identity, and would read the secret
// and the token, because these endpoints have no TLS.
func proxyFor(r *http.Request) (*url.URL, error) {
	if isLocal(r.URL) || isIdentityEndpoint(r.URL) {
		return nil, nil
	}
	proxy, err := environmentProxy(r)
	if err != nil {
		// The error quotes the URL, which may hold the proxy's password.
		return nil, nonRetriable{errors.New("the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL")}
	}
	return proxy, nil
}

// isOfMetadataService reports whether a response has the form of a managed identity's
// endpoint. The response of a proxy, or of another cloud's metadata service, does not.
func isOfMetadataService(resp *http.Response, body []byte) bool {
	if resp.StatusCode == http.StatusUnauthorized && strings.HasPrefix(resp.Header.Get("Www-Authenticate"), "Basic realm=") {
		return true // Azure Arc's agent names the file of its key, and the body says nothing
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return false
	}
	_, ok := fields["access_token"].(string)
	return ok || resp.StatusCode/100 != 2
}
