package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Credentials are what a connect presents to the server, for programs that make
// connections of their own, such as psql, pg_dump and other drivers. Printing them masks
// the password, also if they are an unexported field of another value.
type Credentials struct {
	User     string     // the PostgreSQL role
	Password dsn.Secret // the token; in mode password, the password of the DSN, PGPASSWORD or the password file

	// Expires is when the driver stops presenting the token: at its expiry, or at
	// aad_token_max_age if that is earlier. It is one hour from now if a supplied token does
	// not state its expiry, and zero in mode password.
	Expires time.Time
}

// Credentials returns the role and token that a connect to the DSN's first host would use
// now. It requests a token if none is cached, and does not connect to the server. Send the
// result over verified TLS only. With [WithOpenFunc] there is no token. ctx bounds the wait
// for a token. Errors are of type [*Error].
func (c *Connector) Credentials(ctx context.Context) (Credentials, error) {
	if c.err != nil {
		return Credentials{}, c.err
	}
	if c.source == nil {
		return Credentials{User: c.config.User, Password: dsn.NewSecret(c.config.Password)}, nil
	}
	t, err := c.newAttempt().wait(ctx)
	if err != nil {
		return Credentials{}, err
	}
	role, err := c.authorize(t, c.config.Host, hostNames(&c.config.Config))
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{User: role, Password: dsn.NewSecret(t.Value), Expires: t.ExpiresOn}, nil
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

// Format prints [Credentials.String] for every verb of fmt, because other verbs would print
// the fields.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText returns what String returns, so that JSON and slog do not leak.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// GobEncode always returns an error, because encoding/gob would encode the token.
func (c Credentials) GobEncode() ([]byte, error) {
	return nil, errors.New("driver: Credentials hold a token and cannot be encoded")
}
