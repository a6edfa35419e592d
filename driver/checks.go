package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// checkConfig reports on each step of a preparation.
func (d *diagnosis) checkConfig(p *preparation, text string) bool {
	if err := p.parse(text); err != nil {
		return d.report(Check{Name: "options", Err: err})
	}
	options := Check{Name: "options", Found: p.c.maskedDSN}
	t := p.c.config.TLSConfig
	switch {
	case p.c.policy.insecure == "unverified" && (t == nil || !verifies(t)):
		options.warn("TLS does not verify the server", nil)
	case p.c.policy.insecure == "plaintext" && t == nil:
		options.warn("the token is sent in the clear", nil)
	case p.ignoresToken():
		options.warn("a token in PGPASSWORD is not used", nil)
	case p.cfg.ClientID != "" && !guid.MatchString(p.cfg.ClientID):
		options.warn("aad_client_id is not a GUID", nil)
	}
	if !d.report(options) {
		return false
	}
	if !p.needsToken() {
		return true
	}
	if err := p.resolveCloud(); err != nil {
		return d.report(Check{Name: "cloud", Err: err})
	}
	cloud := p.c.baseContext.cloud
	found := fmt.Sprintf("%s: authority %s, scope %s, server type %s", cloud.Name, cloud.Authority, cloud.Scope, cloud.ServerType)
	if !d.report(Check{Name: "cloud", Found: found}) {
		return false
	}
	credential := Check{Name: "credential", Found: p.credentialName(), Err: p.makeSource()}
	p.c.baseContext.intent.warnOfVariable(&credential)
	return d.report(credential)
}

// warnOfVariable warns of a variable that names an identity and is not read.
func (i intent) warnOfVariable(check *Check) {
	variable, mode := i.ignoredVariable()
	facts := hint.Facts{"ignoring_mode": string(mode)}
	if mode == dsn.ManagedIdentity {
		facts["host_identity"] = "yes"
	}
	switch variable {
	case "AZURE_FEDERATED_TOKEN_FILE":
		check.warn("AZURE_FEDERATED_TOKEN_FILE is set, and the mode does not read it", facts)
	case "AZURE_CLIENT_ID":
		check.warn("AZURE_CLIENT_ID is set, and the mode does not read it", facts)
	}
}

// fetchToken requests the token while the connect is under way, which waits for the same
// request.
func (d *diagnosis) fetchToken(ctx context.Context) chan Check {
	done := make(chan Check, 1)
	began := time.Now()
	a := d.c.newAttempt()
	go func() {
		t, err := a.wait(ctx)
		d.token = t
		d.tokenAt = time.Now()
		check := Check{Name: "token", Err: err, Took: time.Since(began)}
		if err == nil {
			check.Found = "valid until " + t.ExpiresOn.UTC().Format(time.RFC3339)
			d.warnOfToken(&check)
		}
		done <- check
	}()
	return done
}

// warnOfToken says what to correct although a token was fetched.
func (d *diagnosis) warnOfToken(check *Check) {
	switch source := d.c.source.(type) {
	case *token.File:
		if mode := source.Exposed(); mode != 0 {
			check.warn("others may read or replace the token file", hint.Facts{"file": source.Path, "mode": mode.String()})
		}
	case *token.Cache:
		if skew := formatSkew(source.Skew()); skew != "" {
			check.warn("the clocks differ", hint.Facts{"skew": skew})
		}
	}
}

// checkClaims says whose token it is, as far as the token does.
func (d *diagnosis) checkClaims() bool {
	claims := d.token.Claims
	check := Check{Name: "claims"}
	if len(claims.Audience) == 0 {
		check.Found = "the token is opaque"
		check.warn(check.Found, nil)
		return d.report(check)
	}
	parts := []string{fmt.Sprintf("aud=%q", []string(claims.Audience))}
	if id := identityOf(claims); id != "" {
		parts = append(parts, id)
	}
	if end := claims.ExpiresTime(); !end.IsZero() {
		parts = append(parts, "exp="+end.UTC().Format(time.RFC3339))
	}
	check.Found = strings.Join(parts, " ")
	check.Err = checkToken(d.token, hostNames(&d.c.config.Config))
	return d.report(check)
}

// checkUser says which role signs in, and where its name is from.
func (d *diagnosis) checkUser() bool {
	host := d.c.config.Host
	name, err := d.c.user.roleFor(d.token, host)
	if err != nil {
		return d.report(Check{Name: "user", Err: err})
	}
	check := Check{Name: "user", Found: fmt.Sprintf("%q, as given", name)}
	if d.c.user.name == "" {
		check.Found = fmt.Sprintf("%q, from the token", name)
	}
	x := d.c.baseContext
	x.host = host
	x.role = name
	x.claims = d.token.Claims
	facts := x.facts("", nil)
	switch {
	case len(name) > maxNameBytes:
		facts["max_name"] = strconv.Itoa(maxNameBytes)
		facts["name_length"] = strconv.Itoa(len(name))
		check.warn("the user name is too long", facts)
	case facts["server_suffix_extra"] != "":
		check.warn("the user name ends in the server's name", facts)
	case facts["meant_by"] != "":
		check.warn("another identity was meant", facts)
	case facts["person_name"] != "" && facts["user_token"] != "":
		check.warn("the user is another person's", facts)
	case guid.MatchString(name):
		check.warn("the user name is an ID", nil)
	case facts["person_name"] != "":
		check.warn("an application signs in with a person's name", facts)
	}
	return d.report(check)
}

// checkNetwork says how far the connect came before the sign-in.
func (d *diagnosis) checkNetwork(err error) bool {
	steps := []string{"dns", "tcp", "tls"}
	if network, _ := pgconn.NetworkAddress(d.c.config.Host, 5432); network == "unix" {
		steps = steps[1:]
	}
	for _, name := range steps {
		if !d.checkStep(name, err) {
			return false
		}
	}
	return true
}

// checkStep reports on one step of a connect that ended with err, which may be nil.
func (d *diagnosis) checkStep(name string, err error) bool {
	step, reached := d.trace.step(name)
	if len(step.found) == 0 && brokeOff(err) {
		return d.report(Check{Name: name, Err: err, Took: step.took})
	}
	if !reached {
		return true // the connect was refused before
	}
	check := Check{Name: name, Found: strings.Join(step.found, "; "), Took: step.took}
	if step.err != nil {
		check.warn("one host failed", hint.Facts{"failure": redact.Line(step.err.Error())})
	}
	if name == "tls" && check.Found != "none" {
		check.Found += ", " + verification(d.c.config.TLSConfig)
	}
	return d.report(check)
}

// brokeOff reports whether a connect ended before the server judged the sign-in.
func brokeOff(err error) bool {
	if err == nil {
		return false
	}
	var e *Error
	if !errors.As(err, &e) {
		return true
	}
	return e.Step == StepNetwork || e.Step == StepTLS
}

func (d *diagnosis) checkSignIn(err error) bool {
	if err == nil {
		return true
	}
	return d.report(Check{Name: "sign-in", Err: err})
}

// checkRole says who is signed in where, and what the server says about the role.
func (d *diagnosis) checkRole(ctx context.Context, conn *pgx.Conn, signedIn time.Time) {
	began := d.trace.latest()
	if d.tokenAt.After(began) {
		began = d.tokenAt
	}
	signIn := Check{Name: "sign-in", Found: "done", Took: signedIn.Sub(began)}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(conn.Config().ConnectTimeout, stepTimeout))
	defer cancel()
	r, err := readRole(ctx, conn, "session_user")
	if err == nil {
		signIn.Found = fmt.Sprintf("as %q on %s, PostgreSQL %s, database %q", r.name, conn.PgConn().Conn().RemoteAddr(), r.version, r.database)
	}
	if !d.report(signIn) {
		return
	}
	role := Check{Name: "role", Took: time.Since(asked)}
	if err != nil {
		role.Found = "cannot be read: " + redact.Line(causeOf(err))
		role.warn("the role cannot be read", nil)
	} else {
		role.Found = r.String()
	}
	d.report(role)
}
