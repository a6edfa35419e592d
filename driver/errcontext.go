package driver

import (
	"cmp"
	"maps"
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
	intent       intent       // who is meant to sign in
	issuedAt     time.Time    // of the presented token
	secrets      []string     // that the peer was sent, and may repeat
	newRole      *Role        // that is being made
	skew         time.Duration
	roots        roots
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
	if name := tokenUser(x.claims); name != "" && name != x.roleWithoutServer() {
		f["set_own_user"] = setUser(name)
	}
	set := func(name string, known bool) {
		if known {
			f[name] = "yes"
		}
	}
	set("app_token", x.appToken())
	set("user_token", x.userToken())
	set("static_token", x.staticToken)
	if len(x.secrets) > 0 {
		f["token_length"] = strconv.Itoa(len(x.secrets[0]))
	}
	set("long_token", len(x.secrets) > 0 && len(x.secrets[0]) > maxPgBouncerPassword)
	x.roots.facts(f, text)
	x.hostFacts(f, set)
	set("person_name", x.appTokenForUser() || x.otherPerson())
	x.roleFacts(f, text)
	return f
}

// appToken reports whether the token is an application's, or will be where there is none
// yet: by its claims, else by the modes.
func (x errContext) appToken() bool {
	named := x.claims.Person() != "" || x.claims.Guest()
	return x.claims.AppOnly() || (!named && x.intent.onlyApplications())
}

// userToken is appToken for a person's token.
func (x errContext) userToken() bool {
	named := x.claims.Person() != "" || x.claims.Guest()
	return !x.appToken() && (named || x.intent.onlyPersons())
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

// roleFacts adds what a hint may say about the role. It is the one place where SQL comes
// into a hint, so what it withholds no rule can print:
//
//   - SQL that reassigns a role follows only where an administrator creates a role, and has
//     named the principal.
//   - No SQL about the role, not even a GRANT, follows where a setting says that another
//     identity was meant. None that creates it follows where the user's name is another
//     person's, or where the server says that the role exists.
//   - SQL by the token's object ID follows only for a role that has the identity's own name.
//     For any other name it is SQL by name: the server finds the principal of that name,
//     no matter who presents a token. The command that creates the role for this identity under
//     another name follows only if a setting chose the identity.
func (x errContext) roleFacts(f hint.Facts, text string) {
	if x.newRole != nil {
		f["role"] = strconv.Quote(x.newRole.Name)
		f["role_sql"] = quoteIdentifier(x.newRole.Name)
		addCreateSQL(f, *x.newRole)
		if sql, err := x.newRole.rebind(); err == nil {
			f["rebind_sql"] = adminSQL(sql)
		}
		return
	}
	role := x.expectedRole()
	if role.Name == "" {
		return
	}
	f["role"] = strconv.Quote(role.Name)
	f["set_user"] = setUser(x.roleWithoutServer())
	if guid.MatchString(role.Name) {
		f["user_is_id"] = "yes"
	}
	other := x.otherMeant()
	if other == nil {
		f["role_sql"] = quoteIdentifier(role.Name)
	}
	maps.Copy(f, other)
	if other["choose_setting"] != "" && len(x.intent.modes) == 0 {
		f["own_credential"] = "yes"
	}
	if other != nil || f["person_name"] != "" || hint.SaysRoleExists(text) {
		return
	}
	if x.claims.AppOnly() && role.Name != tokenUser(x.claims) {
		role.ObjectID = ""
		role.ClientID = ""
		if x.intent.chose(x.claims) {
			x.addPrincipal(f)
		}
	}
	addCreateSQL(f, role)
}

// addCreateSQL adds the statements that create a role, or why there are none.
func addCreateSQL(f hint.Facts, role Role) {
	sql, err := role.SQL()
	if err != nil {
		f["create_error"] = err.Error()
		return
	}
	f["create_sql"] = adminSQL(sql)
}

// addPrincipal adds how the command aadpostgres role is told the token's application.
func (x errContext) addPrincipal(f hint.Facts) {
	id, flags := x.claims.ObjectID, "NAME -object-id "
	switch x.cloud.ServerType {
	case "single":
		id, flags = x.claims.Application(), "NAME -server-type single -client-id "
	case "cosmos":
		return
	}
	if !guid.MatchString(id) {
		return
	}
	f["principal_kind"] = "service-principal"
	if x.claims.ManagedIdentity != "" {
		f["principal_kind"] = "managed-identity"
	}
	f["principal_flags"] = flags + id
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
