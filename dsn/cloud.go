package dsn

import (
	"net/url"
	"slices"
	"strings"
)

// A Cloud holds the endpoints of one Azure cloud. It is a row of the table that
// [Clouds] returns.
type Cloud struct {
	// Name is the value of aad_cloud, such as public.
	Name string

	// Authority is the https URL of the cloud's Entra, with a trailing slash.
	Authority string

	// Resource is the URL that a token must be issued for. It may end with a slash.
	Resource string

	// HostSuffix is the end of every server's host name. It begins with a dot.
	HostSuffix string

	// InstanceDiscovery reports whether the Microsoft Authentication Library knows
	// Authority. If it is false, instance discovery must be disabled, because the
	// library would ask the public cloud to validate Authority.
	InstanceDiscovery bool

	// Source names the documents that the row is taken from, and what is inferred.
	Source string
}

// Scope returns the scope of a token request, which is Resource and "/.default".
func (c Cloud) Scope() string { return c.Resource + "/.default" }

const documented = "documented in Azure CLI's cloud.py and go-autorest's environments.go"

var clouds = []Cloud{
	{
		Name:              "public",
		Authority:         "https://login.microsoftonline.com/",
		Resource:          "https://ossrdbms-aad.database.windows.net",
		HostSuffix:        ".postgres.database.azure.com",
		InstanceDiscovery: true,
		Source:            documented,
	},
	{
		Name:              "usgov",
		Authority:         "https://login.microsoftonline.us/",
		Resource:          "https://ossrdbms-aad.database.usgovcloudapi.net",
		HostSuffix:        ".postgres.database.usgovcloudapi.net",
		InstanceDiscovery: true,
		Source:            documented,
	},
	{
		Name:              "china",
		Authority:         "https://login.chinacloudapi.cn/",
		Resource:          "https://ossrdbms-aad.database.chinacloudapi.cn",
		HostSuffix:        ".postgres.database.chinacloudapi.cn",
		InstanceDiscovery: true,
		Source:            documented,
	},
	{
		Name:       "usnat",
		Authority:  "https://login.microsoftonline.eaglex.ic.gov/",
		Resource:   "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov",
		HostSuffix: ".postgres.database.cloudapi.eaglex.ic.gov",
		Source:     "authority and resource documented in Azure Data Studio's settings, suffix inferred from Azure CLI",
	},
	{
		Name:       "ussec",
		Authority:  "https://login.microsoftonline.microsoft.scloud/",
		Resource:   "https://ossrdbms-aad.database.cloudapi.microsoft.scloud/", // the server wants a scope with two slashes
		HostSuffix: ".postgres.database.cloudapi.microsoft.scloud",
		Source:     "authority reported by users, resource and suffix inferred from usnat",
	},
}

// Clouds returns a copy of the table of clouds, in the order of the documentation.
func Clouds() []Cloud { return slices.Clone(clouds) }

// The endpoints of Azure Cosmos DB for PostgreSQL, which differ from those of
// [Cloud]. They are known for the public cloud only.
const (
	// CosmosSuffix is the end of every server's host name. It is documented by Azure.
	CosmosSuffix = ".postgres.cosmos.azure.com"

	// CosmosScope is the scope of a token request. Its resource is reported by users.
	CosmosScope = "https://token.postgres.cosmos.azure.com/.default"
)

// CloudOf returns the Name of the cloud of a server, or "" if the host name has no known
// suffix. host is one name without a port. Case and a trailing dot are ignored. Host names
// of private endpoints, private networks and virtual endpoints have the same suffixes.
// Hosts of Azure Cosmos DB for PostgreSQL belong to public.
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

// CloudOfAuthority returns the Name of the cloud that an Entra authority belongs to,
// or "" if there is none. authority is an https URL, of which only the host is
// compared, without case.
func CloudOfAuthority(authority string) string {
	for _, c := range clouds {
		if sameHost(c.Authority, authority) {
			return c.Name
		}
	}
	return ""
}

// CloudOfResource returns the Name of the cloud that a token's resource or scope
// belongs to, or "" if there is none. resource is an https URL, of which only the host
// is compared, without case: trailing slashes and "/.default" are ignored. Azure Cosmos
// DB's resource belongs to public.
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

// cloudsWithoutDiscovery lists the clouds that need instance discovery disabled.
func cloudsWithoutDiscovery() []string {
	var names []string
	for _, c := range clouds {
		if !c.InstanceDiscovery {
			names = append(names, c.Name)
		}
	}
	return names
}
