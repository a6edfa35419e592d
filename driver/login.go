package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Credentials is what a connect presents to the server, for programs that make
// connections of their own: psql, pg_dump, other drivers. Printing one masks the
// password.
type Credentials struct {
	User     string    // the role to sign in as
	Password string    // the token; in mode password what the DSN says
	Expires  time.Time // of the token; zero in mode password
}

// Credentials returns what a connect to the DSN's first host would present now. It asks
// for a token if there is none at hand, and connects to nothing. What it returns
// must be sent over verified TLS only. Errors are of type [*Error].
func (c *Connector) Credentials(ctx context.Context) (Credentials, error) {
	if c.err != nil {
		return Credentials{}, c.err
	}
	if c.tokens == nil {
		return Credentials{User: c.config.User, Password: c.config.Password}, nil
	}
	t, err := c.attempt("").wait(ctx)
	if err != nil {
		return Credentials{}, err
	}
	user, err := c.present(t, c.config.Host, hosts(&c.config.Config))
	return Credentials{User: user, Password: t.value, Expires: t.expires}, err
}

// present judges whether t may be shown to host, one of hosts, and as whom.
func (c *Connector) present(t *token, host string, hosts []string) (user string, err error) {
	if err := c.guard.meant(t, hosts); err != nil {
		return "", err
	}
	return c.user.of(t, host)
}

// String names the user alone.
func (l Credentials) String() string { return fmt.Sprintf("%q, password xxxxx", l.User) }

// MarshalText is String, so that JSON and slog cannot leak.
func (l Credentials) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// GobEncode refuses: gob would write the fields, and knows no text.
func (l Credentials) GobEncode() ([]byte, error) {
	return nil, errors.New("driver: a Credentials holds a token and is not written")
}

// Format is String for every verb: %x and %#v would print the fields.
func (l Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, l.String()) }
