package driver

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

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
	made     *Role         // that is being made, if one is
	skew     time.Duration // how far this machine's clock is ahead of the authority's
}

// situation is what is known of the attempt.
func (a *attempt) situation() situation {
	s := a.c.about
	s.host, s.role, s.database = cmp.Or(a.host, s.host), a.user, cmp.Or(s.database, a.user)
	if a.token != nil {
		s.claims, s.issued = a.token.claims, a.token.issued
	}
	switch of := a.c.tokens.(type) {
	case *fixed:
		s.given = true
	case *source:
		s.skew = time.Duration(of.skew.Load())
	}
	return s
}

// explainToken says what to do about a failed token request.
func (s situation) explainToken(err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	hint, _ := s.hint(err, err.Error()+"\n"+cause(err), StepToken)
	return &Error{Step: StepToken, Err: err, Hint: hint, said: oneLine(cause(err))}
}

func explainCredential(err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	hint, _ := situation{}.hint(err, err.Error(), StepCredential)
	return hinted(err, hint)
}

// explain says what to do about a failed connection, and takes the token out of
// what pgx returns.
func (s situation) explain(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		connect.Config.Password = ""
	}
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := &Error{Step: StepNetwork, Err: err}
	var pg *pgconn.PgError
	switch text := cause(err); {
	case errors.As(err, &pg):
		e.Step = StepSignIn
		e.Hint, _ = s.hint(err, pg.Message, StepSignIn)
		if id := s.identity(); id != "" && strings.HasPrefix(pg.Code, "28") {
			e.Hint = strings.TrimPrefix(e.Hint+" (presented: "+id+")", " ")
		}
	default:
		var step string
		if e.Hint, step = s.hint(err, text, StepSignIn, StepTLS, StepNetwork); step != "" {
			e.Step = step
		} else if strings.Contains(text, "tls:") || strings.Contains(text, "x509:") {
			e.Step = StepTLS
		}
	}
	if s.password {
		e.Hint = ""
	}
	return e
}

// hint finds what to do about a text at one of the steps, and that step, or
// nothing.
func (s situation) hint(err error, text string, steps ...string) (hint, step string) {
	const most = 8 << 10 // a hostile server may send a gigabyte
	text = text[:min(len(text), most)]
	if r := find(strings.ReplaceAll(text, "[", "(")+s.marks(text), steps...); r != nil { // the marks are ours
		return s.fill(r.hint, err, text), r.step
	}
	return "", ""
}

// marks says in a text's margin what else speaks for one row or another.
func (s situation) marks(text string) (marks string) {
	mark := func(is bool, name string) {
		if is {
			marks += " [" + name + "]"
		}
	}
	suffix := s.suffix()
	mark(s.serverType != "single" && suffix != "" && strings.HasSuffix(s.role, suffix), "extra @server")
	mark(s.serverType == "single" && suffix != "" && strings.HasSuffix(s.role, suffix+suffix), "double @server")
	mark(s.claims.ofApplication(), "application's token")
	mark(s.misfit(), "person's name, application's token")
	mark(s.skew.Abs() >= time.Minute, "clock")
	mark(s.given, "given token")
	mark(s.audience(text) != "", "resource")
	return marks
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

// fill puts what is known where a hint has it in braces.
func (s situation) fill(hint string, err error, text string) string {
	user := func(name string) string { return (&dsn.Config{Params: map[string]string{"user": name}}).Postgres() }
	asked := s.principal()
	self, selfOr := s.claims.user(), ""
	if self != "" {
		selfOr = ", " + user(self)
	}
	return strings.NewReplacer(
		"{role}", fmt.Sprintf("%q", asked.Name),
		"{roleName}", quoteName(asked.Name),
		"user={bare}", user(s.bare()),
		"{suffix}", s.suffix(),
		"{create}", recipe(asked.SQL()),
		"{rebind}", recipe(asked.rebind()),
		"user={self}", user(cmp.Or(self, "me@contoso.com")),
		"{selfOr}", selfOr,
		"{age}", time.Since(s.issued).Round(time.Second).String(),
		"{audience}", s.audience(text),
		"{resource}", fmt.Sprintf("%q", strings.TrimSuffix(s.scope, "/.default")),
		"{authority}", s.authority,
		"{clock}", apart(s.skew),
		"{names}", certificateNames(err),
		"{host}", fmt.Sprintf("%q", s.host),
		"{database}", quoteName(s.database),
	).Replace(hint)
}

// recipe says where statements are to be run.
func recipe(sql []string, err error) string {
	if err != nil {
		return "mind: " + err.Error()
	}
	return "run as Entra administrator in database postgres: " + strings.Join(sql, " ")
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

func apart(skew time.Duration) string {
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	return skew.Abs().Round(time.Second).String() + " " + way
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
