// Package redact takes secrets out of text and errors, and makes text from elsewhere
// safe to print.
//
// A peer that was sent a secret may repeat it in an error that ends up in a log. A proxy
// may quote the request, for example, and a server may log the token that it rejects.
package redact

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
)

// Mask stands in the place of a secret. It is the word that pgx uses.
const Mask = "xxxxx"

const (
	minSecret = 6    // bytes; a shorter secret would be found in any text
	maxLine   = 500  // characters that Line returns
	maxPrint  = 4000 // bytes that Printable returns
)

// jwtPattern matches a JWT, or the beginning of one.
var jwtPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*`)

// Text returns s with each of the secrets, and whatever looks like a JWT, masked.
// Secrets of fewer than six bytes are left.
func Text(s string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			s = strings.ReplaceAll(s, secret, Mask)
		}
	}
	return jwtPattern.ReplaceAllString(s, Mask)
}

// Error returns err, or an error with its redacted text alone if the text held a
// secret: an error that wraps another one prints that one too.
func Error(err error, secrets ...string) error {
	text := err.Error()
	redacted := Text(text, secrets...)
	if redacted == text {
		return err
	}
	return errors.New(redacted)
}

// Line makes text from elsewhere safe to print in one line: no control characters, no
// JWT, and no more than 500 characters and an ellipsis.
func Line(s string) string {
	s = jwtPattern.ReplaceAllString(s, Mask) // before a JWT is cut in two
	if len(s) > 4*maxLine {
		s = s[:4*maxLine]
	}
	s = strings.Join(strings.Fields(Printable(s)), " ")
	if r := []rune(s); len(r) > maxLine {
		s = string(r[:maxLine]) + "..."
	}
	return s
}

// Printable masks JWTs and replaces what does not print (control characters, escapes,
// line breaks, marks that change the direction of text) by spaces. It returns no more
// than 4,000 bytes.
func Printable(s string) string {
	s = jwtPattern.ReplaceAllString(s, Mask)
	if len(s) > maxPrint {
		s = s[:maxPrint] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// FirstLine returns the first line of an error's text, with the second one where the
// first ends in a colon. It drops azidentity's link to its troubleshooting guide and a
// full stop at the end.
func FirstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), ". To troubleshoot")
	s, rest, _ := strings.Cut(s, "\n")
	s = strings.TrimRight(s, " \r")
	if strings.HasSuffix(s, ":") {
		reason, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		s += " " + reason
	}
	return strings.TrimRight(s, " \r.:")
}
