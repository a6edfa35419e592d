package token

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// maxTokenBytes is what PostgreSQL accepts as a password: PG_MAX_AUTH_TOKEN_LENGTH,
// less the zero that ends it.
const maxTokenBytes = 65534

// checkFormat refuses what cannot be a token, so that nothing else is put into a
// message of the protocol or of SASL. Tokens are opaque, but of printable ASCII
// (RFC 6750). name says which token it is.
func checkFormat(name, value string) error {
	if value == "" {
		return errors.New("the response holds no token")
	}
	if len(value) > maxTokenBytes {
		return fmt.Errorf("%s has %d bytes, and PostgreSQL accepts %d", name, len(value), maxTokenBytes)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%s holds characters that no token has", name)
	}
	return nil
}

// check refuses what cannot be a token, or is for another resource than PostgreSQL,
// before a server does so in fewer words.
func (t *Token) check(scope string) error {
	if err := checkFormat("the response's token", t.Value); err != nil {
		return err
	}
	return checkAudience(t.Claims.Audience, scope)
}

// checkAudience accepts an audience that is not a URL: these are application IDs, of
// which this package does not know all, and the server judges them.
func checkAudience(audience Audience, scope string) error {
	if len(audience) == 0 {
		return nil
	}
	for _, name := range audience {
		if !strings.HasPrefix(name, "https://") || sameHost(name, scope) || dsn.CloudOfResource(name) != "" {
			return nil
		}
	}
	return fmt.Errorf("the token is for the audience %q", []string(audience))
}

func sameHost(a, b string) bool {
	u, errA := url.Parse(a)
	v, errB := url.Parse(b)
	if errA != nil || errB != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Hostname(), v.Hostname())
}
