package dsn

import (
	"net/url"
	"slices"
	"strings"
)

// A Cloud is a row of the table of clouds, which code, error texts and
// documentation read.
type Cloud struct {
	Name              string // value of aad_cloud
	Authority         string // https URL of its Entra
	Resource          string // what a token is asked for: the scope is this and "/.default"
	HostSuffix        string // of its servers' names, a leading dot included
	InstanceDiscovery bool   // the Microsoft Authentication Library knows the authority; else it would ask the public cloud about it
	Source            string // where the facts come from
}

// Scope is what to ask a token for.
func (c Cloud) Scope() string { return c.Resource + "/.default" }

const documented = "documented: Azure CLI's cloud.py, go-autorest's environments.go"

var clouds = []Cloud{
	{"public", "https://login.microsoftonline.com/", "https://ossrdbms-aad.database.windows.net", ".postgres.database.azure.com", true, documented},
	{"usgov", "https://login.microsoftonline.us/", "https://ossrdbms-aad.database.usgovcloudapi.net", ".postgres.database.usgovcloudapi.net", true, documented},
	{"china", "https://login.chinacloudapi.cn/", "https://ossrdbms-aad.database.chinacloudapi.cn", ".postgres.database.chinacloudapi.cn", true, documented},
	{"usnat", "https://login.microsoftonline.eaglex.ic.gov/", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov", ".postgres.database.cloudapi.eaglex.ic.gov", false,
		"authority and resource documented: Azure Data Studio's settings; suffix inferred from Azure CLI"},
	// The slash is part of the resource: its scope has two.
	{"ussec", "https://login.microsoftonline.microsoft.scloud/", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud/", ".postgres.database.cloudapi.microsoft.scloud", false,
		"authority reported by users; resource and suffix inferred from usnat's"},
}

// Clouds returns the table of clouds, in the order in which documentation lists them.
func Clouds() []Cloud { return slices.Clone(clouds) }

// Azure Cosmos DB for PostgreSQL wants tokens for a resource of its own. Its
// names are documented, its resource is reported by users. It is known of the
// public cloud only.
const (
	CosmosSuffix = ".postgres.cosmos.azure.com"
	CosmosScope  = "https://token.postgres.cosmos.azure.com/.default"
)

// CloudOf finds the cloud of a server by the end of its name, and returns "" for
// a name that is of none: private link zones, virtual endpoints and networks put
// labels of their own before the suffix.
func CloudOf(host string) string {
	host = "." + strings.TrimSuffix(strings.ToLower(host), ".")
	for _, c := range clouds {
		if strings.HasSuffix(host, c.HostSuffix) {
			return c.Name
		}
	}
	if strings.HasSuffix(host, CosmosSuffix) {
		return "public"
	}
	return ""
}

// CloudOfAuthority returns the Name of the cloud whose Entra is at that https URL,
// or "" if there is none. Only the URL's host is compared, in any case.
func CloudOfAuthority(authority string) string {
	for _, c := range clouds {
		if sameHost(c.Authority, authority) {
			return c.Name
		}
	}
	return ""
}

// CloudOfResource returns the Name of the cloud of a token's resource or scope, or ""
// if there is none. Only the URL's host is compared, in any case: trailing slashes and
// "/.default" make no difference. The resource of Azure Cosmos DB is of cloud public.
func CloudOfResource(resource string) string {
	if sameHost(CosmosScope, resource) {
		return "public"
	}
	for _, c := range clouds {
		if sameHost(c.Resource, resource) {
			return c.Name
		}
	}
	return ""
}

// sameHost reports whether both URLs are valid and have the same host. Ports are ignored.
func sameHost(a, b string) bool {
	urlA, err := url.Parse(a)
	if err != nil || urlA.Host == "" {
		return false
	}
	urlB, err := url.Parse(b)
	if err != nil {
		return false
	}
	return strings.EqualFold(urlA.Hostname(), urlB.Hostname())
}

func cloudNames() []string {
	names := make([]string, len(clouds))
	for i, c := range clouds {
		names[i] = c.Name
	}
	return names
}

// undiscovered lists the clouds whose authority only the DSN vouches for.
func undiscovered() (names []string) {
	for _, c := range clouds {
		if !c.InstanceDiscovery {
			names = append(names, c.Name)
		}
	}
	return names
}
