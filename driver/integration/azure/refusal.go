package azure

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// otherScope is the scope of a token for another resource than the server's.
const otherScope = "https://vault.azure.net/.default"

var refusalClaims = []Claim{
	{
		ID: "refused-password", Text: "The text for a password in the place of a token is known.", Standing: Reported,
		Hints: signIn("access token has invalid format", "error occurred while validating the access token"),
		How:   "present a password that is no token for the administrator's role",
		try:   presenting(Admin, func(string) string { return nonsense }),
	},
	{
		ID: "refused-quoted", Text: "The text for a token in quotation marks is known.", Standing: Reported,
		Hints: signIn("access token has invalid format", "error occurred while validating the access token"),
		How:   "present the administrator's token in quotation marks",
		try:   presenting(Admin, func(token string) string { return `"` + token + `"` }),
	},
	{
		ID: "refused-signature", Text: "The text for a token that the server cannot validate is known.", Standing: Reported,
		Hints: signIn("error occurred while validating the access token", "access token has invalid format"),
		How:   "present the administrator's token with another signature",
		try:   presenting(Admin, spoil),
	},
	{
		ID: "refused-audience", Text: "The text for a token for another resource is known, and names the resource that the server wants.", Standing: Reported,
		Hints: signIn("valid audience claim"),
		How:   "present a managed identity's token for Azure Key Vault", Needs: []Need{Need(ManagedIdentity)},
		try: tryAudience,
	},
	{
		ID: "refused-role-missing", Text: "A role that does not exist is refused as password authentication failed, with 28P01.", Standing: Documented,
		Hints: signIn("password authentication failed"),
		How:   "present a password that is no token for a role that does not exist",
		try: func(ctx context.Context, t *trial) {
			t.wantRefusal(t.connect(ctx, &startup{user: t.newName("role that does not exist"), password: nonsense}))
		},
	},
	{
		ID: "refused-user-token", Text: "The text for a person's token and an application's role is known.", Standing: Reported,
		Hints: signIn("cannot generate aad_auth_tokentype_app_user"),
		How:   "create a role of type service, and present a person's token", Needs: []Need{Need(Person)},
		try: mapped(Person, "service", func(credentials) string { return uuid.NewString() }),
	},
	{
		ID: "refused-app-token", Text: "The text for an application's token and a person's role is known.", Standing: Reported,
		Hints: signIn("neither an aad_auth_tokentype_app"),
		How:   "create a role of type user, and present a managed identity's token", Needs: []Need{Need(ManagedIdentity)},
		try: mapped(ManagedIdentity, "user", func(credentials) string { return uuid.NewString() }),
	},
	{
		ID: "refused-other-principal", Text: "The text for the role of another application is known.", Standing: Reported,
		Hints: signIn("oid mismatch"),
		How:   "create a role of type service with another object ID, and present a managed identity's token", Needs: []Need{Need(ManagedIdentity)},
		try: mapped(ManagedIdentity, "service", func(credentials) string { return uuid.NewString() }),
	},
	{
		ID: "refused-client-id", Text: "A role that was created with the client ID in the place of the object ID is refused.", Standing: Reported,
		Hints: signIn("oid mismatch"),
		Pages: []Page{{readme, "-object-id"}},
		How:   "create a role with a managed identity's client ID, and present its token", Needs: []Need{Need(ManagedIdentity)},
		try: mapped(ManagedIdentity, "service", func(c credentials) string { return c.Claims.Application() }),
	},
	{
		ID: "refused-group", Text: "The text for a token of somebody who is not in the group is known.", Standing: Reported,
		Hints: signIn("not valid for role*does not contain group", "not valid for role", "oid mismatch"),
		How:   "create a role of type group with an object ID that no group has, and present a managed identity's token", Needs: []Need{Need(ManagedIdentity)},
		try: mapped(ManagedIdentity, "group", func(credentials) string { return uuid.NewString() }),
	},
	{
		ID: "refused-plaintext", Text: "The text for a connection without TLS is known.", Standing: Documented,
		Hints: signIn("no pg_hba.conf entry*no encryption", "ssl connection is required"),
		How:   "connect as the administrator without TLS, with a password that is no token",
		try: func(ctx context.Context, t *trial) {
			user, err := adminRole(ctx, t)
			if !t.failed("the administrator's token", err) {
				t.wantRefusal(t.connect(ctx, &startup{user: user, password: nonsense, plaintext: true}))
			}
		},
	},
	{
		ID: "refused-database", Text: "The text for a database that does not exist is PostgreSQL's, after the token was accepted.", Standing: Documented,
		Hints: signIn("database*does not exist"),
		How:   "sign in as the administrator to a database that does not exist",
		try:   withParam("dbname", "aadpostgres_none"),
	},
	{
		ID: "refused-setting", Text: "The text for a setting that does not exist is PostgreSQL's.", Standing: Documented,
		Hints: signIn("unrecognized configuration parameter"),
		How:   "sign in as the administrator with a setting that does not exist",
		try:   withParam("conformance_none", "on"),
	},
	{
		ID: "refused-nologin", Text: "The text for a role with NOLOGIN is PostgreSQL's.", Standing: Documented,
		Hints: signIn("is not permitted to log in"),
		How:   "create a role for the administrator's own token with NOLOGIN, and sign in",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if t.failed("the administrator's token", err) {
				return
			}
			role := t.createRole(ctx, who.Claims.ObjectID, t.typeOf(who))
			if role == "" || t.failed("ALTER ROLE", t.exec(ctx, "ALTER ROLE "+quoteName(role)+" NOLOGIN")) {
				return
			}
			t.wantRefusal(t.connect(ctx, &startup{user: role, password: who.Token}))
		},
	},
}

// presenting returns a trial that presents something else than an identity's token for the
// identity's role.
func presenting(id Identity, change func(token string) string) func(context.Context, *trial) {
	return func(ctx context.Context, t *trial) {
		who, err := t.token(ctx, id)
		if t.failed("the token", err) {
			return
		}
		password := change(who.Token)
		t.mask.add("token", password)
		t.wantRefusal(t.connect(ctx, &startup{user: who.User, password: password}))
	}
}

// spoil changes the signature of a token.
func spoil(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	if at >= len(token) {
		return token
	}
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

// mapped returns a trial that creates a role of a type with an object ID, and presents an
// identity's token for it.
func mapped(id Identity, objectType string, objectID func(credentials) string) func(context.Context, *trial) {
	return func(ctx context.Context, t *trial) {
		who, err := t.token(ctx, id)
		if t.failed("the token", err) {
			return
		}
		if role := t.createRole(ctx, objectID(who), objectType); role != "" {
			t.wantRefusal(t.connect(ctx, &startup{user: role, password: who.Token}))
		}
	}
}

// withParam returns a trial in which the administrator signs in with one more setting.
func withParam(key, value string) func(context.Context, *trial) {
	return func(ctx context.Context, t *trial) {
		_, err := t.signsIn(ctx, Admin, func(c *dsn.Config) { c.Params[key] = value })
		t.wantRefusal(err)
	}
}

func tryAudience(ctx context.Context, t *trial) {
	_, err := t.signsIn(ctx, ManagedIdentity, func(c *dsn.Config) { c.Scope = otherScope })
	if err == nil {
		t.contradict("the server accepted a token for another resource")
		return
	}
	t.wantRefusal(err)
	resource := strings.TrimRight(t.resource(), "/")
	if !strings.Contains(err.Error(), resource) {
		t.contradict("the text does not name %s", resource)
	}
}
