package driver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A Check is one line of a diagnosis: what was checked and what was found. It holds no
// secret.
type Check struct {
	Name   string        `json:"name"` // options, cloud, credential, token, claims, user, dns, tcp, tls, direct-tls, sign-in or role
	Status Status        `json:"status"`
	Found  string        `json:"found"`          // what was found, or the cause of the failure, in one line
	Hint   string        `json:"hint,omitempty"` // what to do; "" if there is nothing to do
	Took   time.Duration `json:"took_ns"`        // 0 where there was nothing to wait for
	Err    error         `json:"-"`              // an *Error if Status is StatusFail, else nil
}

// A Status is the outcome of a [Check].
type Status string

// The outcomes of a [Check].
const (
	StatusOK   Status = "ok"
	StatusWarn Status = "warn" // the step succeeded, but see Check.Hint
	StatusFail Status = "fail"
)

// Diagnose connects to the database and yields one [Check] for each step, from the DSN to the
// attributes of the role. It stops after the first failed check. It opens one connection, as
// [Connector.Connect] does, runs one query that requires no privileges, and closes the
// connection. With PostgreSQL 17 and newer it also begins a connection with TLS, and closes
// it, to see whether sslnegotiation=auto would save a round trip. It may use a token that this process has cached. In mode password it skips the
// checks cloud, credential, token, claims and user. ctx bounds the whole iteration. Besides,
// name resolution, each host and the query have connect_timeout each, or ten seconds if it is
// not set, and the token has aad_token_timeout. Each range over the sequence connects again.
func Diagnose(ctx context.Context, dsn string, opts ...Option) iter.Seq[Check] {
	return func(yield func(Check) bool) {
		d := &diagnosis{yield: yield}
		d.run(ctx, dsn, opts)
	}
}

type diagnosis struct {
	yield   func(Check) bool
	c       *Connector
	auto    bool // sslnegotiation=auto
	trace   connTrace
	token   *token.Token
	tokenAt time.Time // when the token was there
}

func (d *diagnosis) run(ctx context.Context, dsn string, opts []Option) {
	opts = append(slices.Clone(opts), WithConnConfig(d.trace.attach))
	p := &preparation{options: newOptions(opts)}
	defer func() {
		if p.c != nil {
			p.c.Close() // also if the caller stops at a check before the connect
		}
	}()
	if !d.checkConfig(p, dsn) {
		return
	}
	d.c = p.c
	d.auto = p.auto()
	var fetched chan Check
	if d.c.source != nil {
		fetched = d.fetchToken(ctx)
	}
	conn, err := d.c.Connect(withConnTrace(ctx, &d.trace))
	signedIn := time.Now()
	if conn != nil {
		defer conn.Close()
	}
	if fetched != nil && (!d.report(<-fetched) || !d.checkClaims() || !d.checkUser()) {
		return
	}
	if !d.checkNetwork(err) || !d.checkSignIn(err) {
		return
	}
	std, ok := conn.(*stdlib.Conn)
	if ok && d.checkDirectTLS(ctx, std.Conn().PgConn()) {
		d.checkRole(ctx, std.Conn(), signedIn)
	}
}

// checkDirectTLS says whether the server accepts direct TLS, and what that saves.
func (d *diagnosis) checkDirectTLS(ctx context.Context, conn *pgconn.PgConn) bool {
	t, ok := conn.Conn().(*tls.Conn)
	if !ok || !direct.Supports(conn.ParameterStatus("server_version")) {
		return true
	}
	check := Check{Name: "direct-tls", Found: "in use"}
	if d.c.config.SSLNegotiation == "direct" {
		return d.report(check)
	}
	began := time.Now()
	roundTrip, err := d.c.tryDirectTLS(ctx, t)
	check.Took = time.Since(began)
	switch {
	case err != nil:
		check.Found = "not accepted, connections negotiate TLS: " + redact.Line(err.Error())
	case d.auto:
		check.Found = fmt.Sprintf("accepted, each connection after the first saves a round trip of %s", roundTrip.Round(10*time.Microsecond))
	default:
		check.Found = fmt.Sprintf("accepted, with sslnegotiation=auto each connection after the first would save a round trip of %s", roundTrip.Round(10*time.Microsecond))
	}
	return d.report(check)
}

// report yields a check, and returns whether to go on.
func (d *diagnosis) report(c Check) bool {
	c.Status = cmp.Or(c.Status, StatusOK)
	if c.Err != nil {
		c.Status = StatusFail
		c.Found, c.Hint = causeAndHint(c.Err)
	}
	// Certificates and tokens hold text from elsewhere too.
	c.Found = redact.Printable(c.Found)
	c.Hint = redact.Printable(c.Hint)
	return d.yield(c) && c.Err == nil
}

// causeAndHint takes an error apart.
func causeAndHint(err error) (cause, remedy string) {
	var e *Error
	if !errors.As(err, &e) {
		return err.Error(), ""
	}
	bare := *e
	bare.Hint = ""
	return strings.TrimPrefix(bare.Error(), "aadpostgres: "+e.Step+": "), e.Hint
}

// warn turns a check into a warning with the hint that the table has for a finding.
func (c *Check) warn(finding string, facts hint.Facts) {
	c.Status = StatusWarn
	c.Hint, _ = hint.Find(finding, facts, hint.Diagnosis)
}

// verification says how TLS verifies the first host, as it does the others.
func verification(t *tls.Config) string {
	switch {
	case t == nil || !verifies(t):
		return "not verified"
	case t.InsecureSkipVerify: // verify-ca, or the program's own way
		return "verified, by its issuer alone"
	}
	return "verified"
}
