package dsn

import (
	"fmt"
	"io"
	"unique"
)

// A Secret is a password, a client secret or a token. All verbs of fmt, slog and
// encoding/json print it masked, also as part of a value whose fields are not exported.
// The zero Secret is empty, and prints as "". Two Secrets are equal if their values are.
// A Secret is immutable and safe for concurrent use.
type Secret struct {
	// fmt prints the fields of a value that it cannot call methods on, but of a pointer
	// that is not the outermost value only the address.
	handle unique.Handle[string]
}

// NewSecret returns the Secret that holds value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{unique.Make(value)}
}

// Value returns what NewSecret was given, and "" for the zero Secret.
func (s Secret) Value() string {
	if s == (Secret{}) {
		return ""
	}
	return s.handle.Value()
}

// String returns a mask, or "" if s is empty.
func (s Secret) String() string {
	if s == (Secret{}) {
		return ""
	}
	return mask
}

// Format prints [Secret.String] for every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns [Secret.String] for encoding/json, slog and other encodings of text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
