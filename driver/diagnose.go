package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A Check is one line of a diagnosis: what was looked at and what was found. It
// holds no secret.
type Check struct {
	Name   string        `json:"name"` // options, cloud, credential, token, claims, user, dns, tcp, tls, sign-in or role
	Status Status        `json:"status"`
	Found  string        `json:"found"`          // one line
	Hint   string        `json:"hint,omitempty"` // what to do; "" where all is well
	Took   time.Duration `json:"took_ns"`        // 0 where there was nothing to wait for
	Err    error         `json:"-"`              // why it fails; nil unless Status is fail
}

// A Status is the outcome of a [Check].
type Status string

const (
	StatusOK   Status = "ok"
	StatusWarn Status = "warn" // it works here, with the reservation in Check.Hint
	StatusFail Status = "fail"
)

// Diagnose signs in step by step, from the DSN to the role's attributes, and yields
// what it finds at each. It ends at the first check that fails. It makes one
// connection, as [Connector.Connect] does, and reads once over it, for which the
// identity's own rights are enough. In mode password it leaves out what is Entra's.
//
// ctx bounds all of it. Each range over the sequence is a sign-in of its own.
func Diagnose(ctx context.Context, dsn string, opts ...Option) iter.Seq[Check] {
	return func(yield func(Check) bool) {
		(&diagnosis{yield: yield}).walk(ctx, dsn, opts)
	}
}

type diagnosis struct {
	yield func(Check) bool
	c     *Connector
	trace trace
	token *token
	ready time.Time // when the token was there
}

func (d *diagnosis) say(c Check) bool {
	c.Status = cmp.Or(c.Status, StatusOK)
	if c.Err != nil {
		c.Status = StatusFail
		var e *Error
		if errors.As(c.Err, &e) {
			alone := *e // its words were read once, by whoever made it
			alone.Hint = ""
			c.Found, c.Hint = strings.TrimPrefix(alone.Error(), "aadpostgres: "+e.Step+": "), e.Hint
		} else {
			c.Found = c.Err.Error()
		}
	}
	c.Found, c.Hint = printed(c.Found), printed(c.Hint) // certificates and tokens are others' words too
	return d.yield(c) && c.Err == nil
}

func (d *diagnosis) walk(ctx context.Context, s string, opts []Option) {
	c, err := newConnector(s, append(slices.Clone(opts), WithConnConfig(d.trace.hang)))
	if d.c = c; c != nil {
		c.trace = &d.trace
		c.driver = &Driver{opts}
		defer c.Close()
	}
	if !d.prepared(err) {
		return
	}
	var fetched chan Check
	if c.tokens != nil {
		fetched = d.fetch(ctx)
	}
	conn, err := c.Connect(ctx)
	signedIn := time.Now()
	if conn != nil {
		defer conn.Close()
	}
	if fetched != nil && (!d.say(<-fetched) || !d.claims() || !d.user()) {
		return
	}
	if !d.way(err) {
		return
	}
	if std, ok := conn.(*stdlib.Conn); ok && err == nil {
		d.session(ctx, std.Conn(), signedIn)
	}
}

// prepared tells what NewConnector made of the DSN and its surroundings, or where
// it failed.
func (d *diagnosis) prepared(err error) bool {
	stage := "options"
	if d.c != nil {
		stage = d.c.stage
	}
	if err != nil && stage == "options" {
		return d.say(Check{Name: stage, Err: err})
	}
	c := Check{Name: "options", Found: d.c.text}
	switch {
	case d.c.guard.insecure == "unverified" && d.verified() == "not verified":
		c.Status, c.Hint = StatusWarn, "drop aad_insecure outside of tests: whoever stands in the way can take the token"
	case d.c.guard.insecure == "plaintext" && d.c.config.TLSConfig == nil:
		c.Status, c.Hint = StatusWarn, "drop aad_insecure unless the proxy on this host is yours: the token travels readable"
	}
	a := d.c.about
	if !d.say(c) {
		return false
	}
	if a.password {
		return true
	}
	if err != nil && stage == "cloud" {
		return d.say(Check{Name: stage, Err: err})
	}
	return d.say(Check{Name: "cloud", Found: fmt.Sprintf("%s: authority %s, scope %s, server type %s", a.cloud, a.authority, a.scope, a.serverType)}) &&
		d.say(Check{Name: "credential", Found: d.c.who, Err: err})
}

// fetch asks for the token while the connect is under way, which waits for the same.
func (d *diagnosis) fetch(ctx context.Context) chan Check {
	done := make(chan Check, 1)
	began := time.Now()
	a := d.c.attempt("")
	go func() {
		t, err := a.wait(ctx)
		check := Check{Name: "token", Err: err, Took: time.Since(began)}
		d.token, d.ready = t, time.Now()
		if err == nil {
			check.Found = fmt.Sprintf("valid until %s", t.expires.UTC().Format(time.RFC3339))
			if check.Hint = d.doubt(); check.Hint != "" {
				check.Status = StatusWarn
			}
		}
		done <- check
	}()
	return done
}

// doubt says what is to be mended where a token was got, though it was.
func (d *diagnosis) doubt() string {
	switch of := d.c.tokens.(type) {
	case *fixed:
		if mode := of.exposed(); mode != 0 {
			return fmt.Sprintf("chmod 600 %s: its mode is %s, by which others may read the token or replace it", of.file, mode)
		}
	case *source:
		if skew := time.Duration(of.skew.Load()); skew.Abs() >= time.Minute {
			return "check this machine's clock: it is " + apart(skew) + " the authority's"
		}
	}
	return ""
}

// claims tells whose token it is, as far as the token does.
func (d *diagnosis) claims() bool {
	c := d.token.claims
	if len(c.Audience) == 0 {
		return d.say(Check{Name: "claims", Status: StatusWarn, Found: "the token is opaque", Hint: "nothing can be said about it here; the server will judge"})
	}
	said := []string{fmt.Sprintf("aud=%q", []string(c.Audience))}
	if id := (situation{claims: c}).identity(); id != "" {
		said = append(said, id)
	}
	if end := c.expires(); !end.IsZero() {
		said = append(said, "exp="+end.UTC().Format(time.RFC3339))
	}
	return d.say(Check{Name: "claims", Found: strings.Join(said, " "), Err: d.c.guard.meant(d.token, hosts(&d.c.config.Config))})
}

// user tells the role's name, and where it is from.
func (d *diagnosis) user() bool {
	host := d.c.config.Host
	name, err := d.c.user.of(d.token, host)
	if err != nil {
		return d.say(Check{Name: "user", Err: err})
	}
	from := "as given"
	if d.c.user.name == "" {
		from = "from the token"
	}
	c := Check{Name: "user", Found: fmt.Sprintf("%q, %s", name, from)}
	about := d.c.about
	about.host, about.role, about.claims = host, name, d.token.claims
	switch suffix := about.suffix(); {
	case len(name) > maxName:
		c.Hint = fmt.Sprintf("PostgreSQL keeps %d bytes of a name; this one has %d", maxName, len(name))
	case about.serverType != "single" && suffix != "" && strings.HasSuffix(name, suffix):
		c.Hint = "check the user: only single server wants " + suffix + " after the name"
	case about.misfit():
		c.Hint = "check who signs in: the name looks like a person's, the token is an application's"
	}
	if c.Hint != "" {
		c.Status = StatusWarn
	}
	return d.say(c)
}

// way tells how far the connect came.
func (d *diagnosis) way(err error) bool {
	var e *Error
	if err != nil && !errors.As(err, &e) {
		e = &Error{Step: StepNetwork, Err: err}
	}
	names := []string{"dns", "tcp", "tls"}
	if network, _ := pgconn.NetworkAddress(d.c.config.Host, 5432); network == "unix" {
		names = names[1:]
	}
	for _, name := range names {
		l := d.trace.steps[name]
		failed := e != nil && (l == nil || l.said == nil) && (e.Step == StepNetwork || e.Step == StepTLS)
		if l == nil && !failed {
			continue // refused before it came to that
		}
		c := Check{Name: name}
		if l != nil {
			c.Found, c.Took = strings.Join(l.said, "; "), l.took
			if l.err != nil && !failed {
				c.Status, c.Hint = StatusWarn, "check the host that failed: "+oneLine(l.err.Error())
			}
		}
		if name == "tls" && !failed && c.Found != "none" {
			c.Found += ", " + d.verified()
		}
		if failed {
			c.Err = err
		}
		if !d.say(c) {
			return false
		}
	}
	if err != nil {
		return d.say(Check{Name: "sign-in", Err: err})
	}
	return true
}
