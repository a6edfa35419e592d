package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Credentials are what a connect presents to the server, for programs that make
// connections of their own, such as psql, pg_dump and other drivers. Printing them masks
// the password.
type Credentials struct {
	User     string    // the role to sign in as
	Password string    // the token; in mode password, what the DSN says
	Expires  time.Time // of the token; zero in mode password
}

// Credentials returns what a connect to the DSN's first host would present now. It
// requests a token if there is none, and connects to nothing. Send the result over
// verified TLS only. ctx bounds the wait for a token. Errors are of type [*Error].
func (c *Connector) Credentials(ctx context.Context) (Credentials, error) {
	if c.err != nil {
		return Credentials{}, c.err
	}
	if c.source == nil {
		return Credentials{User: c.config.User, Password: c.config.Password}, nil
	}
	t, err := c.newAttempt().wait(ctx)
	if err != nil {
		return Credentials{}, err
	}
	role, err := c.authorize(t, c.config.Host, hostNames(&c.config.Config))
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{User: role, Password: t.Value, Expires: t.ExpiresOn}, nil
}

// authorize decides whether t may be presented to host, one of hosts, and as which role.
func (c *Connector) authorize(t *token.Token, host string, hosts []string) (role string, err error) {
	if err := checkToken(t, hosts); err != nil {
		return "", err
	}
	return c.user.roleFor(t, host)
}

// String returns the user name, and a mask in the place of the password.
func (c Credentials) String() string { return fmt.Sprintf("%q, password xxxxx", c.User) }

// Format implements fmt.Formatter: every verb prints what String returns, for %x and %#v
// would print the fields.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText returns what String returns, so that JSON and slog do not leak.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// GobEncode returns an error: gob would write the fields, and knows no text.
func (c Credentials) GobEncode() ([]byte, error) {
	return nil, errors.New("driver: Credentials hold a token and cannot be encoded")
}
