package driver

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A cloud is a row of the table of clouds. The authorities, resources and the
// suffixes of public, usgov and china are documented by Microsoft (Azure CLI
// cloud.py); ussec's authority is reported, ussec's resource and the suffixes of
// usnat and ussec are inferred: aad_authority_host and aad_scope override them.
type cloud struct {
	name      string
	authority string
	resource  string // the scope is this and "/.default"
	suffix    string // of its servers' names
	known     bool   // MSAL knows the authority without asking the public cloud
}

var clouds = []cloud{
	{"public", "https://login.microsoftonline.com/", "https://ossrdbms-aad.database.windows.net", ".postgres.database.azure.com", true},
	{"usgov", "https://login.microsoftonline.us/", "https://ossrdbms-aad.database.usgovcloudapi.net", ".postgres.database.usgovcloudapi.net", true},
	{"china", "https://login.chinacloudapi.cn/", "https://ossrdbms-aad.database.chinacloudapi.cn", ".postgres.database.chinacloudapi.cn", true},
	{"usnat", "https://login.microsoftonline.eaglex.ic.gov/", "https://ossrdbms-aad.database.cloudapi.eaglex.ic.gov", ".postgres.database.cloudapi.eaglex.ic.gov", false},
	// The slash is part of the resource: its scope has two.
	{"ussec", "https://login.microsoftonline.microsoft.scloud/", "https://ossrdbms-aad.database.cloudapi.microsoft.scloud/", ".postgres.database.cloudapi.microsoft.scloud", false},
}

const (
	cosmosSuffix = ".postgres.cosmos.azure.com"
	cosmosScope  = "https://token.postgres.cosmos.azure.com/.default"
)

// cloudOf finds the cloud of a host by its suffix, and "" for a name of no cloud.
func cloudOf(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, c := range clouds {
		if strings.HasSuffix(host, c.suffix) {
			return c.name
		}
	}
	if strings.HasSuffix(host, cosmosSuffix) {
		return "public"
	}
	return ""
}

// A target is what a token is asked for, and from whom.
type target struct {
	cloud      string
	authority  string
	scope      string
	serverType string
	discovery  bool // ask about the authority before use
}

// resolve finds cloud, authority and scope by the DSN, else by the first host's
// suffix, else the public cloud's.
func resolve(cfg *dsn.Config) (target, error) {
	host := cfg.Host()
	name := cfg.Cloud
	if of := cloudOf(host); name == "auto" {
		name = cmp.Or(of, "public")
	} else if of != "" && of != name {
		return target{}, fmt.Errorf("aad_cloud=%s contradicts the host, which is of cloud %s; drop aad_cloud or correct the host", name, of)
	}
	var c cloud
	for _, c = range clouds {
		if c.name == name {
			break
		}
	}
	t := target{
		cloud:      name,
		authority:  cmp.Or(cfg.AuthorityHost, os.Getenv("AZURE_AUTHORITY_HOST"), c.authority),
		scope:      cfg.Scope,
		serverType: cfg.ServerType,
		discovery:  c.known && !cfg.DisableInstanceDiscovery,
	}
	if t.serverType == "" {
		t.serverType = "flexible"
		if strings.HasSuffix(strings.ToLower(host), cosmosSuffix) {
			t.serverType = "cosmos"
		}
	}
	if t.scope == "" {
		t.scope = c.resource + "/.default"
		if t.serverType == "cosmos" {
			t.scope = cosmosScope
		}
	}
	return t, nil
}
