package azure

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// nonsense is a password that is no secret.
const nonsense = "not-a-password"

// trySignIn signs an identity in. With derive, the driver takes the name from the token,
// which must be that of the parameters.
func trySignIn(ctx context.Context, t *trial, id Identity, derive bool) {
	var change func(*dsn.Config)
	if derive {
		cfg, err := t.config(id)
		if t.failed("reading the parameters", err) {
			return
		}
		if cfg.Params["user"] == "" {
			t.observe("the parameters name no user")
		}
		change = func(c *dsn.Config) { delete(c.Params, "user") }
	}
	user, err := t.signsIn(ctx, id, change)
	t.wantUser(ctx, id, user, err)
}

// wantUser judges a sign-in: its session_user is the identity's role.
func (t *trial) wantUser(ctx context.Context, id Identity, user string, err error) {
	if err != nil {
		t.observeError(err)
		t.contradict("the sign-in failed: %s", firstLine(err))
		return
	}
	who, err := t.token(ctx, id)
	if !t.failed("the token", err) && user != who.User {
		t.contradict("session_user is another role than user")
	}
}

func adminRole(ctx context.Context, t *trial) (string, error) {
	who, err := t.token(ctx, Admin)
	return who.User, err
}

func noRole(_ context.Context, t *trial) (string, error) {
	return t.newName("role that does not exist"), nil
}

// methodsFor returns what the server asks for when a role signs in. The password is no
// secret, so the sign-in fails.
func methodsFor(ctx context.Context, t *trial, role func(context.Context, *trial) (string, error)) []string {
	user, err := role(ctx, t)
	if t.failed("the administrator's token", err) {
		return nil
	}
	s := &startup{user: user, password: nonsense}
	err = t.connect(ctx, s)
	if err == nil {
		t.contradict("the server accepted a password that is none")
		return s.methods
	}
	t.observe("the server asks for %s", strings.Join(s.methods, ", "))
	t.observeError(err)
	if len(s.methods) == 0 {
		t.skip("the server has sent no authentication request: %s", firstLine(err))
	}
	return s.methods
}

func tryMethod(ctx context.Context, t *trial, role func(context.Context, *trial) (string, error), want string) {
	got := methodsFor(ctx, t, role)
	if len(got) > 0 && !slices.Contains(got, want) {
		t.contradict("the server asks for %s", strings.Join(got, ", "))
	}
}

func tryOAuth(ctx context.Context, t *trial) {
	for _, role := range []func(context.Context, *trial) (string, error){adminRole, noRole} {
		if slices.Contains(methodsFor(ctx, t, role), "OAUTHBEARER") {
			t.contradict("the server offers OAUTHBEARER")
		}
	}
}

// issuerHost returns the host of an issuer's URL, if it is one of a cloud's.
func issuerHost(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return "not a URL"
	}
	if u.Host == "sts.windows.net" || dsn.CloudOfAuthority(issuer) != "" {
		return u.Host
	}
	return "another host"
}

// swapCase returns a name in the other case.
func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}
