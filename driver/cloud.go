package driver

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A target is what a token is asked for, and from whom.
type target struct {
	cloud      string
	authority  string
	scope      string
	serverType string
	discovery  bool // ask about the authority before use
}

// resolve finds cloud, authority and scope by the DSN, else by the first host
// whose name tells, else the public cloud's. Two answers that contradict each other
// are an error: a token or a secret could go where it does not belong.
func resolve(cfg *dsn.Config) (target, error) {
	name, of, cosmos := cfg.Cloud, "", false
	for host := range strings.SplitSeq(cfg.Params["host"], ",") {
		if of == "" {
			of = dsn.CloudOf(host)
			cosmos = strings.HasSuffix(strings.TrimSuffix(strings.ToLower(host), "."), dsn.CosmosSuffix)
		}
	}
	if name == "auto" {
		name = cmp.Or(of, "public")
	} else if of != "" && of != name {
		return target{}, fmt.Errorf("aad_cloud=%s contradicts the host, which is of cloud %s; drop aad_cloud or correct the host", name, of)
	}
	var c dsn.Cloud
	for _, c = range dsn.Clouds() {
		if c.Name == name {
			break
		}
	}
	t := target{
		cloud:      name,
		authority:  cmp.Or(cfg.AuthorityHost, os.Getenv("AZURE_AUTHORITY_HOST"), c.Authority),
		scope:      cmp.Or(cfg.Scope, c.Scope()),
		serverType: cfg.ServerType,
		discovery:  c.InstanceDiscovery && !cfg.DisableInstanceDiscovery,
	}
	if t.serverType == "" {
		t.serverType = "flexible"
		if cosmos {
			t.serverType = "cosmos"
		}
	}
	if t.serverType == "cosmos" && cfg.Scope == "" {
		if t.scope = dsn.CosmosScope; name != "public" {
			return target{}, fmt.Errorf("the scope of Azure Cosmos DB in cloud %s is not known; set aad_scope", name)
		}
	}
	if of := resourceCloud(t.scope); of != "" && of != name {
		return target{}, fmt.Errorf("aad_scope is of cloud %s, the server of %s; drop aad_scope or correct the host", of, name)
	}
	return t, nil
}

// foreign refuses the authority of another cloud, for modes that would ask it and
// show it their secrets, unless the DSN itself names it.
func (t target) foreign(cfg *dsn.Config) error {
	of := authorityCloud(t.authority)
	if cfg.AuthorityHost != "" || of == "" || of == t.cloud {
		return nil
	}
	for _, m := range dsn.Modes() {
		if slices.Contains(cfg.Auth, m.Name) && slices.Contains(m.Keys, "aad_authority_host") {
			return &Error{Step: StepDSN, Err: fmt.Errorf("AZURE_AUTHORITY_HOST is of cloud %s, the server of %s", of, t.cloud),
				Hint: "unset it, or name it as aad_authority_host to mean it"}
		}
	}
	return nil
}

// authorityCloud finds the cloud of an authority's URL, or "".
func authorityCloud(authority string) string {
	return cloudWhere(func(c dsn.Cloud) bool { return sameHost(c.Authority, authority) })
}

// resourceCloud finds the cloud of a resource or scope, with or without slashes,
// or "".
func resourceCloud(resource string) string {
	if sameHost(dsn.CosmosScope, resource) {
		return "public"
	}
	return cloudWhere(func(c dsn.Cloud) bool { return sameHost(c.Resource, resource) })
}

func cloudWhere(is func(dsn.Cloud) bool) string {
	for _, c := range dsn.Clouds() {
		if is(c) {
			return c.Name
		}
	}
	return ""
}

func sameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Host != "" && strings.EqualFold(u.Hostname(), v.Hostname())
}
