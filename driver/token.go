package driver

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// tokens gives the token to present now. Implementations are safe for
// concurrent use and wait for nothing: a flight is waited for.
type tokens interface {
	// get returns a live token, or the request that will bring one.
	get(log *slog.Logger) (*token, *flight)
	// newer is get for a server that refused a token: it does not return that one
	// if another is to be had.
	newer(than *token, log *slog.Logger) (*token, *flight)
}

// A token is immutable. Its times are wall clock: a laptop that slept must not
// present a dead token.
type token struct {
	value   string
	claims  claims
	cloud   string // whose servers it says it is for; "" if it does not tell
	issued  time.Time
	from    time.Time // a clock before this was set back
	refresh time.Time // from here on a newer one is asked for, in the background
	expires time.Time // or too old to present
}

// backdated is how far before the issue Entra dates a token, so that clocks may
// differ. It is observed, not documented.
const backdated = 5 * time.Minute

func newToken(at azcore.AccessToken, now time.Time, maxAge time.Duration) *token {
	t := &token{value: at.Token, claims: decode(at.Token), issued: now, from: now.Add(-time.Minute), refresh: at.RefreshOn.Round(0), expires: at.ExpiresOn.Round(0)}
	for _, aud := range t.claims.Audience {
		t.cloud = cmp.Or(t.cloud, resourceCloud(aud))
	}
	if iat := t.claims.issued(); !iat.IsZero() && iat.Add(backdated).Before(now) {
		t.issued = iat.Add(backdated)
	}
	if old := t.issued.Add(maxAge); maxAge > 0 && old.Before(t.expires) {
		t.expires = old
	}
	switch left := t.expires.Sub(now); {
	case !t.refresh.IsZero() && !t.refresh.After(now):
		// The credential's cache answered with one that is due already: ask
		// again, but not with every connect.
		t.refresh = now.Add(maxBackoff)
	case !t.refresh.IsZero() && t.refresh.Before(t.expires):
	case left < 10*time.Minute:
		t.refresh = now.Add(left / 2)
	default:
		t.refresh = t.expires.Add(-5 * time.Minute)
	}
	if t.refresh.After(t.expires) {
		t.refresh = t.expires
	}
	return t
}

func (t *token) live(now time.Time) bool { return t != nil && now.Before(t.expires) }

// fresh tells that nothing need be asked. The end of a token that comes from the
// future cannot be trusted; the minute in from is for callers that looked at the
// clock before the token arrived.
func (t *token) fresh(now time.Time) bool {
	return t != nil && now.Before(t.refresh) && now.After(t.from)
}

// young tells that the server's refusal is not for the token's age.
func (t *token) young(now time.Time) bool { return now.Sub(t.issued).Abs() < time.Minute }

// mostToken is what PostgreSQL takes for a password: PG_MAX_AUTH_TOKEN_LENGTH, less
// the zero that ends it.
const mostToken = 65534

// shape refuses what can be no token, so that nothing else is put into a message of
// the protocol or of SASL. Tokens are opaque, but of printable ASCII (RFC 6750).
func shape(value string) error {
	switch {
	case value == "":
		return &Error{Step: StepToken, Err: errors.New("the answer holds no token"), Hint: "check what answers the token request"}
	case len(value) > mostToken:
		return &Error{Step: StepToken, Err: fmt.Errorf("what came as token has %d bytes, of which PostgreSQL takes %d", len(value), mostToken), Hint: "check what answers the token request"}
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return &Error{Step: StepToken, Err: errors.New("what came as token holds characters that no token has"), Hint: "check what answers the token request"}
	}
	return nil
}

// fits refuses what can be no token, or says it is for something else than PostgreSQL,
// before a server does, in fewer words. Audiences that are no URL are the server's
// to judge: application ids, of which this package does not know all.
func (t *token) fits(scope string) error {
	if err := shape(t.value); err != nil {
		return err
	}
	for _, aud := range t.claims.Audience {
		if !strings.HasPrefix(aud, "https://") || sameHost(aud, scope) || resourceCloud(aud) != "" {
			return nil
		}
	}
	if len(t.claims.Audience) == 0 {
		return nil
	}
	return &Error{Step: StepToken, Err: fmt.Errorf("the token is for %q", t.claims.Audience),
		Hint: fmt.Sprintf("get one for %q, or set aad_scope to the other resource if the server wants it", strings.TrimSuffix(scope, "/.default"))}
}
