package azure

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// resourceApp is the application ID of the servers' resource in the public cloud.
const resourceApp = "123cd850-d9df-40bd-94d5-c9f07b7fa203"

// maxPgBouncer is the longest password that PgBouncer before 1.26 accepts.
const maxPgBouncer = 2047

var tokenClaims = []Claim{
	{
		ID: "token-audience", Text: "The audience of a token is the cloud's resource, with or without a slash, or the resource's application ID.", Standing: Documented,
		Hints: []Hint{{hint.Token, "the token is for the audience"}},
		How:   "read aud of the administrator's token",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if t.failed("the token", err) {
				return
			}
			t.observe("aud is %s", strings.Join(who.Claims.Audience, ", "))
			ours := func(aud string) bool {
				return aud == resourceApp || dsn.CloudOfResource(aud) != "" && dsn.CloudOfResource(aud) == dsn.CloudOfResource(t.resource())
			}
			if !slices.ContainsFunc(who.Claims.Audience, ours) {
				t.contradict("aud is another value")
			}
		},
	},
	{
		ID: "token-life-person", Text: "A person's token is valid for 5 to 90 minutes.", Standing: Documented,
		How: "read exp and iat of a person's token", Needs: []Need{Need(Person)},
		try: func(ctx context.Context, t *trial) { tryLife(ctx, t, Person, 90*time.Minute) },
	},
	{
		ID: "token-life-managed-identity", Text: "A managed identity's token is valid for 5 minutes to 24 hours.", Standing: Documented,
		Hints: signIn("not valid for role*does not contain group"),
		How:   "read exp and iat of a managed identity's token", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) { tryLife(ctx, t, ManagedIdentity, 25*time.Hour) },
	},
	{
		ID: "token-idtyp", Text: "An application's token has idtyp=app and names its client ID, and a person's has not idtyp=app.", Standing: Documented,
		Hints: signIn("cannot generate aad_auth_tokentype_app_user", "neither an aad_auth_tokentype_app"),
		How:   "read idtyp, appid and azp of a managed identity's token", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, ManagedIdentity)
			if t.failed("the token", err) {
				return
			}
			if who.Claims.Type != "app" {
				t.contradict("idtyp of a managed identity is %q", who.Claims.Type)
			}
			if who.Claims.Application() == "" {
				t.contradict("the token has neither appid nor azp")
			}
			if t.settings.Identities[Person] == "" {
				return
			}
			if who, err = t.token(ctx, Person); !t.failed("the person's token", err) && who.Claims.Type == "app" {
				t.contradict("idtyp of a person is app")
			}
		},
	},
	{
		ID: "token-length", Text: "A managed identity's token has at most 2,047 bytes, so that PgBouncer before 1.26 accepts it.", Standing: Reported,
		Hints: signIn("client sent partial pkt in startup"),
		Pages: []Page{{readme, "PgBouncer before 1.26 takes no token of more than 2,047 characters"}},
		How:   "measure the token", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, ManagedIdentity)
			if t.failed("the token", err) {
				return
			}
			t.observe("the token has %d bytes", len(who.Token))
			if len(who.Token) > maxPgBouncer {
				t.contradict("it is longer")
			}
		},
	},
	{
		ID: "token-reused", Text: "One token signs in any number of connections.", Standing: Inferred,
		Pages: []Page{{readme, "identity share one token"}},
		How:   "present the administrator's token three times",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if t.failed("the token", err) {
				return
			}
			for range 3 {
				if err := t.connect(ctx, &startup{user: who.User, password: who.Token}); err != nil {
					t.observeError(err)
					t.contradict("a sign-in with the same token failed")
				}
			}
		},
	},
	{
		ID: "token-revoked-by-drop", Text: "A role that is dropped refuses at once a token that it has accepted.", Standing: Documented,
		Hints: signIn("password authentication failed"),
		How:   "create a second role for a managed identity, sign in, drop the role, and present the same token", Needs: []Need{Need(ManagedIdentity)},
		try: tryDrop,
	},
}

func tryLife(ctx context.Context, t *trial, id Identity, longest time.Duration) {
	who, err := t.token(ctx, id)
	if t.failed("the token", err) {
		return
	}
	life := time.Duration(who.Claims.Expires-who.Claims.IssuedAt) * time.Second
	t.observe("exp is %s after iat", life)
	if life < 5*time.Minute || life > longest {
		t.contradict("the life is %s", life)
	}
}

func tryDrop(ctx context.Context, t *trial) {
	who, err := t.token(ctx, ManagedIdentity)
	if t.failed("the token", err) {
		return
	}
	role := t.createRole(ctx, who.Claims.ObjectID, "service")
	if role == "" || t.failed("the first sign-in", t.connect(ctx, &startup{user: role, password: who.Token})) {
		return
	}
	if t.failed("DROP ROLE", t.exec(ctx, "DROP ROLE "+quoteName(role))) {
		return
	}
	t.wantRefusal(t.connect(ctx, &startup{user: role, password: who.Token}))
}

// resource returns the resource that the server's tokens are for.
func (r *run) resource() string {
	clouds := dsn.Clouds()
	name := dsn.CloudOf(r.base.Params["host"])
	if i := slices.IndexFunc(clouds, func(c dsn.Cloud) bool { return c.Name == name }); i >= 0 {
		return clouds[i].Resource
	}
	return clouds[0].Resource
}
