package driver

import (
	"context"
	"crypto/x509"
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
)

// Error is what opening and connecting return. Unwrap leads to the cause:
// *pgconn.PgError, azidentity's errors, context errors. It never holds a token or
// a secret.
type Error struct {
	Step string // one of the Step constants
	Hint string // what to do, or ""
	Err  error  // never nil
}

// Error returns one line: "aadpostgres: step: cause; hint".
func (e Error) Error() string {
	s := "aadpostgres: " + e.Step + ": " + oneLine(cause(e.Err))
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

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
		return connect.Unwrap().Error()
	}
	return firstLine(err.Error())
}

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
		if !ok || line[0] == '\t' {
			continue // more of the credential before
		}
		line, _, _ = strings.Cut(line, ". To troubleshoot")
		said = append(said, firstLine(line))
	}
	return said
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimRight(s, " \r.:")
}

// oneLine makes text from afar safe to print: no control characters, no line
// breaks, no end of words.
func oneLine(s string) string {
	const most = 500
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// explainToken says what to do about a failed token request.
func explainToken(err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := &Error{Step: StepToken, Err: err, Hint: hint(StepToken, err.Error(), "")}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Hint = "the authority did not answer in time; check the way to it, or raise aad_token_timeout"
	}
	return e
}

// explain says what to do about a failed connection of user, and takes the token
// out of what pgx returns. Without a token (mode password) no word about Entra is
// of help.
func explain(err error, user string, token bool) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		connect.Config.Password = ""
	}
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := &Error{Step: StepNetwork, Err: err}
	var (
		pg      *pgconn.PgError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &pg):
		e.Step = StepSignIn
		e.Hint = hint(StepSignIn, pg.Message, user)
	case errors.As(err, &name):
		e.Step = StepTLS
		e.Hint = "the certificate is for " + certificateNames(name.Certificate.DNSNames) + "; connect by one of these names"
	case errors.As(err, &unknown):
		e.Step = StepTLS
		e.Hint = "name the certificate authority's file with sslrootcert; Azure's own are in the system's roots"
	case strings.Contains(err.Error(), "server refused TLS"):
		e.Step = StepTLS
		e.Hint = "check host and port: Azure always speaks TLS; aad_insecure=plaintext sends the token without"
	case strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509:"):
		e.Step = StepTLS
	case strings.Contains(err.Error(), "authentication method requirement"):
		e.Step = StepSignIn
		e.Hint = hint(StepSignIn, err.Error(), user)
	}
	if !token {
		e.Hint = ""
	}
	return e
}
