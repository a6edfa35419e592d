package driver

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
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
	if pg := refusedBearer(err); pg != nil {
		return x.explainRefusal(fmt.Errorf("%w: %w", pg, err), pg)
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

// refusedBearer returns the server's refusal of an OAUTHBEARER token, or nil. In SASL the
// server refuses first, without an error of PostgreSQL's, and pgx ends the connect before
// that follows: its code is the one that PostgreSQL has for it.
func refusedBearer(err error) *pgconn.PgError {
	const code = "28000" // invalid_authorization_specification
	switch text := err.Error(); {
	case strings.HasPrefix(text, "OAuth authentication failed: "):
		return &pgconn.PgError{Severity: "FATAL", Code: code, Message: text}
	case strings.HasPrefix(text, "invalid OAuth error response from server: "):
		return &pgconn.PgError{Severity: "FATAL", Code: code, Message: "invalid OAuth error response from server"}
	}
	// pgx puts names in front of the text, and they may be any.
	switch inner := err.(type) {
	case interface{ Unwrap() error }:
		if err := inner.Unwrap(); err != nil {
			return refusedBearer(err)
		}
	case interface{ Unwrap() []error }:
		for _, err := range inner.Unwrap() {
			if e := refusedBearer(err); e != nil {
				return e
			}
		}
	}
	return nil
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
