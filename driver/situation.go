package driver

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A situation is what is known about a failure. Hints are chosen by it and
// filled from it; anything may be missing.
type situation struct {
	target
	given    bool // the token was handed over, as aad_auth=access-token does
	password bool // aad_auth=password: nothing of Entra is of help
	database string
	host     string
	role     string // as sent to the server
	claims   claims // of the token presented
	issued   time.Time
	secrets  []string      // that were shown to who is spoken to, who may say them again
	made     *Role         // that is being made, if one is
	skew     time.Duration // how far this machine's clock is ahead of the authority's
}

// situation is what is known of the attempt.
func (a *attempt) situation() situation {
	s := a.c.about
	s.host, s.role, s.database = cmp.Or(a.host, s.host), a.user, cmp.Or(s.database, a.user)
	if a.token != nil {
		s.claims, s.issued, s.secrets = a.token.claims, a.token.issued, []string{a.token.value}
	}
	switch of := a.c.tokens.(type) {
	case *fixed:
		s.given = true
	case *source:
		s.skew = time.Duration(of.skew.Load())
	}
	return s
}

// misfit tells that an application signs in by what looks like a person's name.
func (s situation) misfit() bool {
	return s.claims.ofApplication() && strings.Contains(s.bare(), "@") && s.bare() != s.claims.user()
}

// suffix is what single server wants after a user's name, or "" where there is
// no name of a server.
func (s situation) suffix() string {
	if server := serverName(s.host); server != "" {
		return "@" + server
	}
	return ""
}

// bare is the role without the server's name.
func (s situation) bare() string {
	bare, suffix := s.role, s.suffix()
	for suffix != "" && strings.HasSuffix(bare, suffix) {
		bare = strings.TrimSuffix(bare, suffix)
	}
	return bare
}

// principal is the role as it would be made for whoever signs in.
func (s situation) principal() Role {
	if s.made != nil {
		return *s.made
	}
	r := Role{Name: s.role, Kind: "user", ServerType: s.serverType}
	if s.serverType == "single" {
		r.Name = s.bare()
	}
	if s.claims.ofApplication() {
		if r.Kind = "service-principal"; s.serverType == "single" {
			r.ClientID = s.claims.application()
		} else {
			r.ObjectID = s.claims.ObjectID
		}
	}
	return r
}

// identity says who presented a token, never the token.
func (s situation) identity() string {
	var said []string
	for _, c := range []struct{ name, v string }{{"upn", s.claims.UPN}, {"appid", s.claims.application()}, {"oid", s.claims.ObjectID}, {"tid", s.claims.Tenant}} {
		if c.v != "" {
			said = append(said, c.name+"="+fmt.Sprintf("%q", c.v))
		}
	}
	return strings.Join(said, " ")
}

var askedFor = regexp.MustCompile(`(?i)token for (?:the )?resource "(https://[A-Za-z0-9.-]{1,100}/{0,2})"`)

// audience turns the resource that a server names into the key to set, or "" for
// a resource that is none of Azure's PostgreSQL: a hostile server must not talk
// anyone into handing it a token for something else.
func (s situation) audience(text string) string {
	m := askedFor.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	switch of := resourceCloud(m[1]); {
	case sameHost(dsn.CosmosScope, m[1]):
		return "aad_server_type=cosmos"
	case of == "" || s.scope == m[1]+"/.default":
		return ""
	case of != s.cloud:
		return "aad_cloud=" + of
	}
	return "aad_scope=" + m[1] + "/.default"
}
