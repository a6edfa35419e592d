package driver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// The steps of a sign-in, in order, and the creation of a role.
const (
	StepDSN        = "dsn"        // reading the DSN and its environment
	StepCredential = "credential" // creating the credential
	StepToken      = "token"      // requesting the token
	StepNetwork    = "network"    // name resolution, the dial, a broken connection
	StepTLS        = "tls"        // the handshake, or the policy that requires it
	StepSignIn     = "sign-in"    // authentication rejected by the server
	StepRole       = "role"       // creating or reading a role
)

// Error is the error of opening a database, connecting, requesting credentials and creating
// a role. It is always returned as an *Error. Errors of queries are pgx's. An Error contains
// no token or secret. errors.As and errors.Is find the cause, such as *pgconn.PgError, an
// error of azidentity or a context error. If the text of a cause contains a secret, a plain
// error with the redacted text replaces it.
type Error struct {
	Step string // one of the Step constants
	Hint string // what to do, or ""
	Err  error  // the cause; never nil

	cause string // text of Err, kept because reading an HTTP response consumes it; "" to read Err
}

// newError returns an error with the hint that the table has for its text.
func newError(step string, err error, facts hint.Facts) *Error {
	h, _ := hint.Find(err.Error(), facts, step)
	return &Error{Step: step, Hint: h, Err: err}
}

// Error returns one line: "aadpostgres: step: cause; hint".
func (e Error) Error() string {
	cause := e.cause
	if cause == "" {
		cause = redact.Line(causeOf(e.Err))
	}
	if e.Step != StepDSN && e.Step != StepCredential {
		// A server's or an authority's text must not pass for a hint.
		cause = semicolons.Replace(cause)
	}
	if e.Hint == "" {
		return "aadpostgres: " + e.Step + ": " + cause
	}
	return "aadpostgres: " + e.Step + ": " + cause + "; " + redact.Printable(e.Hint)
}

// semicolons are the characters that a hint begins after, and those that look alike.
var semicolons = strings.NewReplacer(";", ",", "\u037e", ",", "\uff1b", ",")

// Unwrap returns Err.
func (e Error) Unwrap() error { return e.Err }

// GoString returns what Error returns, so that %#v does not print the fields.
func (e Error) GoString() string { return e.Error() }

// MarshalText returns what Error returns, so that JSON and slog do not print the fields.
func (e Error) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// causeOf returns the text to show of an error: the server's words, or the error's own
// first line.
func causeOf(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message + " (SQLSTATE " + pg.Code + ")"
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return ourParts.Replace(connect.Unwrap().Error())
	}
	return redact.FirstLine(err.Error())
}

// ourParts removes from pgx's text the names of this package's hooks, and what they asked
// for: the server's part follows.
var ourParts = strings.NewReplacer(
	"AfterNetConnect failed: ", "",
	": %!w(<nil>)", "",
	fmt.Sprintf("require_auth check failed: authentication method requirement %q failed: ", requireAuth), "",
)
