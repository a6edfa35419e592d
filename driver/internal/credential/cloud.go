package credential

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A Cloud says what a token is requested for, and from whom.
type Cloud struct {
	Name              string // of a row of dsn.Clouds
	Authority         string // https URL
	Scope             string
	ServerType        string // flexible, single or cosmos
	InstanceDiscovery bool   // let MSAL ask the public cloud about the authority; false: trust it as configured
}

// ResolveCloud returns the cloud, authority and scope of the DSN. If the DSN names no
// cloud, it is that of the first host whose name is in one, or else the public cloud. If
// the DSN names no authority, it is AZURE_AUTHORITY_HOST, or else the cloud's. Settings
// that contradict each other are an error, because a token or a secret could be sent to
// the wrong cloud.
func ResolveCloud(cfg *dsn.Config) (Cloud, error) {
	ofHost, cosmos := cloudOfHosts(cfg.Params["host"])
	name := cfg.Cloud
	if name == "auto" {
		name = cmp.Or(ofHost, "public")
	}
	if ofHost != "" && ofHost != name {
		return Cloud{}, fmt.Errorf("aad_cloud is %s, but the host is in cloud %s", name, ofHost)
	}
	row := cloudNamed(name)
	c := Cloud{
		Name:              name,
		Authority:         cmp.Or(cfg.AuthorityHost, os.Getenv("AZURE_AUTHORITY_HOST"), row.Authority),
		Scope:             cmp.Or(cfg.Scope, row.Scope()),
		ServerType:        cfg.ServerType,
		InstanceDiscovery: row.InstanceDiscovery && !cfg.DisableInstanceDiscovery,
	}
	if c.ServerType == "" && cosmos {
		c.ServerType = "cosmos"
	}
	c.ServerType = cmp.Or(c.ServerType, "flexible")
	if c.ServerType == "cosmos" && cfg.Scope == "" {
		c.Scope = dsn.CosmosScope
		if name != "public" {
			return Cloud{}, fmt.Errorf("the scope of Azure Cosmos DB in cloud %s is not known", name)
		}
	}
	if ofScope := dsn.CloudOfResource(c.Scope); ofScope != "" && ofScope != name {
		return Cloud{}, fmt.Errorf("aad_scope is of cloud %s, but the server is in cloud %s", ofScope, name)
	}
	return c, nil
}

// cloudOfHosts returns the cloud of the first host whose name is in one, and whether that
// host is Azure Cosmos DB's.
func cloudOfHosts(hosts string) (cloud string, cosmos bool) {
	for host := range strings.SplitSeq(hosts, ",") {
		if cloud = dsn.CloudOf(host); cloud != "" {
			host = strings.TrimSuffix(strings.ToLower(host), ".")
			return cloud, strings.HasSuffix(host, dsn.CosmosSuffix)
		}
	}
	return "", false
}

func cloudNamed(name string) dsn.Cloud {
	clouds := dsn.Clouds()
	i := slices.IndexFunc(clouds, func(c dsn.Cloud) bool { return c.Name == name })
	return clouds[i] // dsn.Parse accepts no other name
}

// CheckAuthority refuses the authority of another cloud, for modes that would send it
// their secrets, unless the DSN itself names it.
func (c Cloud) CheckAuthority(cfg *dsn.Config) error {
	cloud := dsn.CloudOfAuthority(c.Authority)
	if cfg.AuthorityHost != "" || cloud == "" || cloud == c.Name {
		return nil
	}
	for _, m := range dsn.Modes() {
		if slices.Contains(cfg.Auth, m.Name) && slices.Contains(m.Keys, "aad_authority_host") {
			return fmt.Errorf("AZURE_AUTHORITY_HOST is of cloud %s, but the server is in cloud %s", cloud, c.Name)
		}
	}
	return nil
}
