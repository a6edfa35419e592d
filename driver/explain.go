package driver

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// explainToken says what to do about a failed token request.
func (s situation) explainToken(err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	text := err.Error()
	if len(text) > 2*mostAnswer { // no answer, but the flood of a developer's tool
		text = text[:mostAnswer]
		err = errors.New(text)
	}
	said := s.mask(cause(err))
	hint, _ := s.hint(err, said+"\n"+text, StepToken) // the cause first: the rest may be long
	return &Error{Step: StepToken, Err: hush(err, s.secrets...), Hint: hint, said: oneLine(said)}
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
	if errors.As(err, &pg) {
		s.maskError(pg)
	}
	text := s.mask(cause(err))
	e.said = oneLine(text)
	if e.Err = hush(err, s.secrets...); pg != nil && !errors.As(e.Err, new(*pgconn.PgError)) {
		e.Err = pg // which is masked
	}
	switch {
	case pg != nil:
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

// mask takes what was shown to others out of what they said.
func (s situation) mask(said string) string { return string(mask([]byte(said), s.secrets)) }

// maskError takes it out of all that a server can say in an error, or a notice.
func (s situation) maskError(e *pgconn.PgError) {
	for _, said := range []*string{&e.Severity, &e.SeverityUnlocalized, &e.Code, &e.Message, &e.Detail, &e.Hint, &e.InternalQuery, &e.Where,
		&e.SchemaName, &e.TableName, &e.ColumnName, &e.DataTypeName, &e.ConstraintName, &e.File, &e.Routine} {
		*said = s.mask(*said)
	}
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
	mark(suffix == "", "address")
	mark(s.claims.ofApplication(), "application's token")
	mark(s.misfit(), "person's name, application's token")
	mark(s.skew.Abs() >= time.Minute, "clock")
	mark(s.given, "given token")
	mark(len(s.secrets) > 0 && len(s.secrets[0]) > 2047, "long token") // an older PgBouncer takes no longer one
	mark(s.audience(text) != "", "resource")
	return marks
}

// fill puts what is known where a hint has it in braces.
func (s situation) fill(hint string, err error, text string) string {
	user := func(name string) string { return (&dsn.Config{Params: map[string]string{"user": name}}).ConnString() }
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

func apart(skew time.Duration) string {
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	return skew.Abs().Round(time.Second).String() + " " + way
}
