package driver

import (
	"cmp"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// explainToken says what to do about a failed token request.
func (x errContext) explainToken(err error) *Error {
	var failed *token.Error
	if !errors.As(err, &failed) {
		failed = &token.Error{Err: err, Exchange: token.Exchange{Cause: causeOf(err)}}
	}
	x.skew = failed.Exchange.Skew
	x.cloud.Authority = cmp.Or(failed.Exchange.Endpoint, x.cloud.Authority)
	text := failed.Detail()
	h, _ := hint.Find(text, x.tokenFacts(text, err, failed.Exchange), hint.Token)
	return &Error{Step: StepToken, Hint: h, Err: failed.Err, cause: redact.Line(failed.Error())}
}

// tokenFacts adds what is known of the request. Nobody has asked the authority where a
// developer tool or a managed identity of a list has failed.
func (x errContext) tokenFacts(text string, err error, known token.Exchange) hint.Facts {
	f := x.facts(text, err)
	f["asked"] = known.Endpoint
	f["login_command"] = known.LoginCommand
	f["try_command"] = known.TryCommand
	if known.Endpoint == "" && known.TryCommand != "" {
		delete(f, "authority")
	}
	if known.Endpoint == "" && known.Credential == string(dsn.ManagedIdentity) {
		f["authority"] = "the managed identity's endpoint"
	}
	return f
}

// explainCredential says what to do where a credential cannot be made.
func (x errContext) explainCredential(err error) *Error {
	return newError(StepCredential, err, x.facts(err.Error(), err))
}

// explain says what to do about a failed connection, and takes the token out of what pgx
// returns.
func (x errContext) explain(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		connect.Config.Password = ""
	}
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return x.explainRefusal(err, pg)
	}
	cause := x.redactText(causeOf(err))
	e := &Error{Step: StepNetwork, Err: redact.Error(err, x.secrets...), cause: redact.Line(cause)}
	h, step := hint.Find(cause, x.facts(cause, err), hint.SignIn, hint.TLS, hint.Network)
	if step != "" {
		e.Step = step
	} else if strings.Contains(cause, "tls:") || strings.Contains(cause, "x509:") {
		e.Step = StepTLS
	}
	e.Hint = x.orNone(h)
	return e
}

// explainRefusal says what to do about a refusal of the server's.
func (x errContext) explainRefusal(err error, pg *pgconn.PgError) *Error {
	x.redactError(pg)
	e := &Error{Step: StepSignIn, Err: redact.Error(err, x.secrets...), cause: redact.Line(x.redactText(causeOf(err)))}
	if !errors.As(e.Err, new(*pgconn.PgError)) {
		e.Err = pg // which is redacted
	}
	h, _ := hint.Find(pg.Message, x.facts(pg.Message, err), hint.SignIn)
	if id := identityOf(x.claims); id != "" && strings.HasPrefix(pg.Code, "28") {
		h = strings.TrimPrefix(h+" (presented: "+id+")", " ")
	}
	e.Hint = x.orNone(h)
	return e
}

// orNone drops the hint in mode password, about which the table knows nothing.
func (x errContext) orNone(h string) string {
	if x.passwordMode {
		return ""
	}
	return h
}

// redactText takes what was presented out of a peer's text.
func (x errContext) redactText(s string) string { return redact.Text(s, x.secrets...) }

// redactError takes it out of all that a server can say in an error, or in a notice.
func (x errContext) redactError(e *pgconn.PgError) {
	fields := []*string{
		&e.Severity, &e.SeverityUnlocalized, &e.Code, &e.Message, &e.Detail, &e.Hint, &e.InternalQuery, &e.Where,
		&e.SchemaName, &e.TableName, &e.ColumnName, &e.DataTypeName, &e.ConstraintName, &e.File, &e.Routine,
	}
	for _, field := range fields {
		*field = x.redactText(*field)
	}
}
