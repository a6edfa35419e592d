package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5/pgconn"
)

// The steps of a sign-in, in order.
const (
	StepDSN        = "dsn"        // reading the DSN and its surroundings
	StepCredential = "credential" // making the credential
	StepToken      = "token"      // asking for the token
	StepNetwork    = "network"    // name, dial, a broken connection
	StepTLS        = "tls"        // the handshake, or the policy that wants it
	StepSignIn     = "sign-in"    // the server's own refusal
	StepRole       = "role"       // making a role, or reading about it
)

// Error is what opening and connecting return, always as an *Error. Unwrap leads to
// the cause: *pgconn.PgError, azidentity's errors, context errors. It holds no token
// and no secret.
type Error struct {
	Step string // one of the Step constants
	Hint string // what to do, or ""
	Err  error  // never nil

	said string // the words of Err, where many callers share it: reading an HTTP answer changes it
}

// Error returns one line: "aadpostgres: step: cause; hint".
func (e Error) Error() string {
	said := e.said
	if said == "" {
		said = oneLine(cause(e.Err))
	}
	if e.Step != StepDSN && e.Step != StepCredential {
		// Others' words must not pass for a hint.
		said = semicolons.Replace(said)
	}
	if e.Hint == "" {
		return "aadpostgres: " + e.Step + ": " + said
	}
	return "aadpostgres: " + e.Step + ": " + said + "; " + printed(e.Hint)
}

// semicolons are what a hint begins after, and what looks like it.
var semicolons = strings.NewReplacer(";", ",", "\u037e", ",", "\uff1b", ",")

// Unwrap returns Err.
func (e Error) Unwrap() error { return e.Err }

// GoString is Error, so that %#v looks no deeper.
func (e Error) GoString() string { return e.Error() }

// MarshalText is Error, so that JSON and slog look no deeper.
func (e Error) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// cause picks the words to show: the server's, Entra's, or the error's own.
func cause(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message + " (SQLSTATE " + pg.Code + ")"
	}
	said := attempts(err.Error())
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		if said == nil {
			said = []string{firstLine(failed.Error())}
		}
		last := &said[len(said)-1]
		switch words := description(failed.RawResponse); {
		case words == "":
			*last += fmt.Sprintf(" (HTTP %d)", failed.RawResponse.StatusCode)
		case len(said) == 1:
			*last = words
		default:
			name, _, _ := strings.Cut(*last, " ")
			*last = strings.TrimSuffix(name, ":") + ": " + words
		}
	}
	if said != nil {
		return strings.Join(said, " / ")
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return ourParts.Replace(connect.Unwrap().Error())
	}
	return firstLine(err.Error())
}

// ourParts takes out of pgx's words where this package hangs in its hooks, and what it
// asked for there: the server's part follows.
var ourParts = strings.NewReplacer("AfterNetConnect failed: ", "", ": %!w(<nil>)", "",
	fmt.Sprintf("require_auth check failed: authentication method requirement %q failed: ", requireAuth), "")

// description is what Entra said in its answer, or "".
func description(resp *http.Response) string {
	var body struct {
		Description string `json:"error_description"`
	}
	b, err := runtime.Payload(resp)
	if err != nil || json.Unmarshal(b, &body) != nil {
		return ""
	}
	return firstLine(body.Description)
}

// attempts lists what each credential of a chain said, in a few words each. It
// is nil for what is not a chain's error.
func attempts(s string) (said []string) {
	_, list, ok := strings.Cut(s, "\nAttempted credentials:\n")
	if !ok {
		return nil
	}
	for line := range strings.Lines(list) {
		line, ok := strings.CutPrefix(line, "\t")
		if !ok || strings.TrimSpace(line) == "" || line[0] == '\t' {
			continue // more of the credential before
		}
		said = append(said, firstLine(line))
	}
	return said
}

// firstLine is the first line, and the second too where that says why.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), ". To troubleshoot") // and a link, azidentity says
	s, rest, _ := strings.Cut(s, "\n")
	if s = strings.TrimRight(s, " \r"); strings.HasSuffix(s, ":") {
		why, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		s += " " + why
	}
	return strings.TrimRight(s, " \r.:")
}

// oneLine makes text from afar safe to print: no control characters, no line
// breaks, no end of words, no token.
func oneLine(s string) string {
	const most = 500
	s = jot.ReplaceAllString(s, masked) // before it is cut
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.Join(strings.Fields(printed(s)), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// printed replaces what does not print (control characters, escapes, line breaks,
// what changes the direction of text) and tokens, and cuts what nobody would read.
func printed(s string) string {
	const most = 4000
	s = jot.ReplaceAllString(s, masked)
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
