package emulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// authorityAliases are the other host names of the clouds' authorities, by the name of the
// cloud. Entra lists them in its answer to instance discovery.
var authorityAliases = map[string][]string{
	"public": {"login.windows.net", "login.microsoft.com", "sts.windows.net"},
	"usgov":  {"login.usgovcloudapi.net"},
	"china":  {"login.partner.microsoftonline.cn"},
}

// authorities returns every host name of a cloud's authority.
func authorities(c dsn.Cloud) []string {
	return append([]string{hostOf(c.Authority)}, authorityAliases[c.Name]...)
}

// publicAuthority returns the URL of the public cloud's authority.
func publicAuthority() string {
	clouds := dsn.Clouds()
	return clouds[slices.IndexFunc(clouds, func(c dsn.Cloud) bool { return c.Name == "public" })].Authority
}

// cloudOf returns the cloud whose authority has that host name.
func cloudOf(authority string) (dsn.Cloud, bool) {
	for _, c := range dsn.Clouds() {
		if slices.Contains(authorities(c), strings.ToLower(authority)) {
			return c, true
		}
	}
	return dsn.Cloud{}, false
}

// serveInstanceDiscovery answers whether Microsoft's public cloud knows an authority.
func (a *Azure) serveInstanceDiscovery(w http.ResponseWriter, r *http.Request) {
	endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	var metadata []any
	isKnown := false
	for _, c := range dsn.Clouds() {
		if !c.InstanceDiscovery {
			continue
		}
		names := authorities(c)
		metadata = append(metadata, map[string]any{"preferred_network": names[0], "preferred_cache": names[min(1, len(names)-1)], "aliases": names})
		isKnown = isKnown || (err == nil && endpoint.Scheme == "https" && slices.Contains(names, strings.ToLower(endpoint.Host)))
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(pathOf(endpoint), "/"), "/")
	if !isKnown || tenant == "" {
		a.writeError(w, http.StatusBadRequest, "invalid_instance", 50049, "Unknown or invalid instance.")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + endpoint.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata,
	})
}

// pathOf returns the path of a URL, or "" for nil.
func pathOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Path
}

// hasResource reports whether the cloud of an authority has a resource. An authority
// that is not a cloud's, such as the emulator's own address, has every one.
func hasResource(authority, resource string) bool {
	isURL := strings.HasPrefix(resource, "https://")
	c, ok := cloudOf(authority)
	if !ok {
		return isURL
	}
	if strings.TrimSuffix(resource, "/") == strings.TrimSuffix(c.Resource, "/") {
		return true
	}
	if c.Name != "public" {
		return false
	}
	return resource+"/.default" == dsn.CosmosScope || (isURL && !isPostgresResource(resource))
}

// isPostgresResource reports whether a resource is that of PostgreSQL in any cloud.
func isPostgresResource(resource string) bool { return strings.Contains(resource, "//ossrdbms-aad.") }
