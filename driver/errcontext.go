package driver

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// An errContext is what is known about a failure. Hints are chosen by it and filled in
// from it. Any field may be unknown.
type errContext struct {
	cloud        credential.Cloud
	staticToken  bool // the program or a person has fetched the token, as in mode access-token
	passwordMode bool
	database     string
	host         string
	role         string       // as sent to the server
	claims       token.Claims // of the presented token
	issuedAt     time.Time    // of the presented token
	secrets      []string     // that the peer was sent, and may repeat
	newRole      *Role        // that is being made
	skew         time.Duration
}

// errContext returns what is known about the attempt.
func (a *attempt) errContext() errContext {
	x := a.c.baseContext
	x.host = cmp.Or(a.host, x.host)
	x.role = cmp.Or(a.role, a.c.user.name)
	x.database = cmp.Or(x.database, x.role)
	if a.token != nil {
		x.claims = a.token.Claims
		x.issuedAt = a.token.IssuedAt
		x.secrets = []string{a.token.Value}
	}
	if cache, ok := a.c.source.(*token.Cache); ok {
		x.skew = cache.Skew()
	}
	return x
}

// facts lists what is known for the table of hints. text is what the peer said, err the
// cause.
func (x errContext) facts(text string, err error) hint.Facts {
	f := hint.Facts{
		"authority":         x.cloud.Authority,
		"set_audience":      x.setAudience(text),
		"certificate_names": certificateNames(err),
		"skew":              formatSkew(x.skew),
	}
	if x.cloud.Scope != "" {
		f["resource"] = strconv.Quote(strings.TrimSuffix(x.cloud.Scope, "/.default"))
	}
	if x.database != "" {
		f["database_sql"] = quoteIdentifier(x.database)
	}
	if !x.issuedAt.IsZero() {
		f["token_age"] = time.Since(x.issuedAt).Round(time.Second).String()
	}
	if name := tokenUser(x.claims); name != "" {
		f["set_own_user"] = setUser(name)
	}
	set := func(name string, known bool) {
		if known {
			f[name] = "yes"
		}
	}
	set("app_token", x.claims.AppOnly())
	set("user_token", x.claims.Person() != "" && !x.claims.AppOnly())
	set("static_token", x.staticToken)
	set("long_token", len(x.secrets) > 0 && len(x.secrets[0]) > maxPgBouncerPassword)
	x.hostFacts(f, set)
	x.roleFacts(f, set)
	return f
}

// maxPgBouncerPassword is how many bytes of a password PgBouncer accepts before 1.26.
const maxPgBouncerPassword = 2047

func (x errContext) hostFacts(f hint.Facts, set func(string, bool)) {
	suffix := serverSuffix(x.host)
	f["server_suffix"] = suffix
	if x.host != "" {
		f["host"] = strconv.Quote(x.host)
	}
	set("host_is_address", x.host != "" && suffix == "")
	if suffix == "" {
		return
	}
	single := x.cloud.ServerType == "single"
	set("server_suffix_extra", !single && strings.HasSuffix(x.role, suffix))
	set("server_suffix_double", single && strings.HasSuffix(x.role, suffix+suffix))
}

func (x errContext) roleFacts(f hint.Facts, set func(string, bool)) {
	role := x.expectedRole()
	if role.Name == "" {
		return
	}
	f["role"] = strconv.Quote(role.Name)
	f["role_sql"] = quoteIdentifier(role.Name)
	f["set_user"] = setUser(x.roleWithoutServer())
	set("person_name", x.appTokenForUser())
	set("user_is_id", guid.MatchString(role.Name))
	if sql, err := role.SQL(); err == nil {
		f["create_sql"] = adminSQL(sql)
	} else {
		f["create_error"] = err.Error()
	}
	if sql, err := role.rebind(); err == nil {
		f["rebind_sql"] = adminSQL(sql)
	} else {
		f["rebind_error"] = err.Error()
	}
}

// setUser writes the DSN's setting of a user.
func setUser(name string) string {
	return (&dsn.Config{Params: map[string]string{"user": name}}).ConnString()
}

// adminSQL says where statements are to be run.
func adminSQL(statements []string) string {
	return "run as Entra administrator in database postgres: " + strings.Join(statements, " ")
}

// formatSkew says how far this machine's clock is from the authority's, or "" if it is
// less than a minute.
func formatSkew(skew time.Duration) string {
	amount := skew.Abs().Round(time.Second).String()
	if skew >= time.Minute {
		return amount + " ahead of"
	}
	if skew <= -time.Minute {
		return amount + " behind"
	}
	return ""
}

// appTokenForUser reports whether an application signs in with what looks like a person's
// name.
func (x errContext) appTokenForUser() bool {
	name := x.roleWithoutServer()
	return x.claims.AppOnly() && strings.Contains(name, "@") && name != tokenUser(x.claims)
}

// roleWithoutServer is the role without the server's name at its end.
func (x errContext) roleWithoutServer() string {
	suffix := serverSuffix(x.host)
	role := x.role
	for suffix != "" && strings.HasSuffix(role, suffix) {
		role = strings.TrimSuffix(role, suffix)
	}
	return role
}

// expectedRole is the role as it would be made for the identity that signs in.
func (x errContext) expectedRole() Role {
	if x.newRole != nil {
		return *x.newRole
	}
	r := Role{Name: x.role, Kind: "user", ServerType: x.cloud.ServerType}
	single := r.ServerType == "single"
	if single {
		r.Name = x.roleWithoutServer()
	}
	if !x.claims.AppOnly() {
		return r
	}
	r.Kind = "service-principal"
	if single {
		r.ClientID = x.claims.Application()
	} else {
		r.ObjectID = x.claims.ObjectID
	}
	return r
}

// identityOf says who presented a token, never the token.
func identityOf(c token.Claims) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+strconv.Quote(value))
		}
	}
	add("upn", c.UPN)
	add("appid", c.Application())
	add("oid", c.ObjectID)
	add("tid", c.Tenant)
	return strings.Join(parts, " ")
}

var tokenForResource = regexp.MustCompile(`(?i)token for (?:the )?resource "(https://[A-Za-z0-9.-]{1,100}/{0,2})"`)

// setAudience returns the DSN setting that requests the resource named by a server. It
// returns "" unless the resource is Azure's PostgreSQL: a hostile server must not obtain a
// token for another service.
func (x errContext) setAudience(text string) string {
	m := tokenForResource.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	resource := m[1]
	if strings.TrimRight(resource, "/")+"/.default" == dsn.CosmosScope {
		return "aad_server_type=cosmos"
	}
	cloud := dsn.CloudOfResource(resource)
	if cloud == "" || x.cloud.Scope == resource+"/.default" {
		return ""
	}
	if cloud != x.cloud.Name {
		return "aad_cloud=" + cloud
	}
	return fmt.Sprintf("aad_scope=%s/.default", resource)
}
