package azure

import (
	"context"
	"slices"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Claims returns the table of claims, in the order in which they are tried. Those that wait
// for a token to expire come last: the credential may be unable to request another one.
func Claims() []Claim {
	return slices.Concat(cloudClaims(), signInClaims, tokenClaims, refusalClaims, provisioningClaims, serverClaims, failoverClaims, waitClaims)
}

const (
	readme  = "README.md"
	emulate = "driver/emulator/azure.sql"
)

func signIn(wordings ...string) (hints []Hint) {
	for _, w := range wordings {
		hints = append(hints, Hint{hint.SignIn, w})
	}
	return hints
}

// cloudClaims are one for each row of the table of clouds.
func cloudClaims() (claims []Claim) {
	for _, c := range dsn.Clouds() {
		standing := Documented
		if !c.InstanceDiscovery {
			standing = Inferred
		}
		claims = append(claims, Claim{
			ID:       "cloud-" + c.Name,
			Text:     "In cloud " + c.Name + ", servers have the suffix " + c.HostSuffix + ", and a token of " + c.Authority + " for " + c.Resource + " signs in.",
			Standing: standing,
			Clouds:   []string{c.Name},
			How:      "the administrator signs in with the settings that follow from the host",
			try:      func(ctx context.Context, t *trial) { tryCloud(ctx, t, c) },
		})
	}
	return claims
}

func tryCloud(ctx context.Context, t *trial, c dsn.Cloud) {
	host := t.base.Params["host"]
	got := dsn.CloudOf(host)
	if got == "" && t.settings.Target != "Azure" {
		got = "public" // as the emulator's gateway takes it
	}
	if got != c.Name {
		t.skip("the server is in cloud %s", map[bool]string{true: "unknown", false: got}[got == ""])
		return
	}
	cfg, err := t.config(Admin)
	if t.failed("reading the administrator's parameters", err) {
		return
	}
	if cfg.Scope != "" || cfg.AuthorityHost != "" {
		t.skip("the administrator's parameters set a scope or an authority")
		return
	}
	who, err := t.token(ctx, Admin)
	if t.failed("the administrator's token", err) {
		return
	}
	t.observe("the issuer of the token is %s", issuerHost(who.Claims.Issuer))
	if _, err := t.signsIn(ctx, Admin, nil); err != nil {
		t.observeError(err)
		t.contradict("the sign-in failed")
	}
}

var signInClaims = []Claim{
	{
		ID: "sign-in-person", Text: "A person signs in with the UPN as the role's name and the person's own token as the password.", Standing: Documented,
		Pages: []Page{{readme, "else the person's UPN"}},
		How:   "sign in without user, so that the name comes from the token", Needs: []Need{Need(Person)},
		try: func(ctx context.Context, t *trial) { trySignIn(ctx, t, Person, true) },
	},
	{
		ID: "sign-in-group", Text: "A member signs in as a group with the group's display name as the role's name and the member's own token.", Standing: Documented,
		Pages: []Page{{readme, "sign in as a group must name the role"}},
		How:   "sign in with user as the group's role", Needs: []Need{Need(Group)},
		try: func(ctx context.Context, t *trial) { trySignIn(ctx, t, Group, false) },
	},
	{
		ID: "sign-in-managed-identity", Text: "A managed identity signs in with its role's name.", Standing: Documented,
		Pages: []Page{{readme, "aad_auth=managed-identity"}},
		How:   "sign in with the parameters as given", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) { trySignIn(ctx, t, ManagedIdentity, false) },
	},
	{
		ID: "sign-in-managed-identity-name", Text: "The last segment of the claim xms_mirid is the name of a managed identity, and of its role.", Standing: Inferred,
		Pages: []Page{{readme, "the name comes from the token: the managed identity's"}},
		How:   "sign in without user, so that the name comes from the token", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) { trySignIn(ctx, t, ManagedIdentity, true) },
	},
	{
		ID: "sign-in-service-principal", Text: "A service principal signs in with its display name as the role's name.", Standing: Documented,
		Pages: []Page{{readme, "Applications, guests and"}},
		How:   "sign in with the parameters as given", Needs: []Need{Need(ServicePrincipal)},
		try: func(ctx context.Context, t *trial) { trySignIn(ctx, t, ServicePrincipal, false) },
	},
	{
		ID: "sign-in-cleartext", Text: "The server asks for a cleartext password if the role is an Entra role.", Standing: Inferred,
		Hints: signIn("server requested"),
		How:   "read the server's authentication request for the administrator's role",
		try:   func(ctx context.Context, t *trial) { tryMethod(ctx, t, adminRole, "cleartext password") },
	},
	{
		ID: "sign-in-scram", Text: "The server asks for SCRAM if the role does not exist or is not an Entra role.", Standing: Inferred,
		Hints: signIn("server requested scram-sha-256"),
		How:   "read the server's authentication request for a role that does not exist",
		try:   func(ctx context.Context, t *trial) { tryMethod(ctx, t, noRole, "SCRAM-SHA-256") },
	},
	{
		ID: "sign-in-no-oauthbearer", Text: "The server does not offer OAUTHBEARER.", Standing: Unknown,
		Pages: []Page{{"driver/limit.go", "password,oauth"}},
		How:   "read the server's authentication request for the administrator's role and for a role that does not exist",
		try:   tryOAuth,
	},
	{
		ID: "sign-in-channel-binding", Text: "A sign-in with channel_binding=require fails, because a cleartext password is not bound to the TLS channel.", Standing: Inferred,
		Hints: signIn("channel binding"),
		How:   "sign in as the administrator with channel_binding=require",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if !t.failed("the administrator's token", err) {
				t.wantRefusal(t.connect(ctx, &startup{user: who.User, password: who.Token, params: map[string]string{"channel_binding": "require"}}))
			}
		},
	},
	{
		ID: "sign-in-name-case", Text: "Role names are case-sensitive: another case is as a role that does not exist.", Standing: Documented,
		Hints: signIn("password authentication failed"),
		How:   "sign in as the administrator's role in another case",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if !t.failed("the administrator's token", err) {
				t.wantRefusal(t.connect(ctx, &startup{user: swapCase(who.User), password: nonsense}))
			}
		},
	},
	{
		ID: "sign-in-pgbouncer", Text: "The server's PgBouncer passes tokens on.", Standing: Documented,
		Hints: []Hint{{hint.Network, "connection refused"}},
		How:   "sign in on the port of PgBouncer", Needs: []Need{NeedsPgBouncer},
		try: func(ctx context.Context, t *trial) {
			user, err := t.signsIn(ctx, Admin, func(c *dsn.Config) {
				c.Params["port"] = t.settings.PgBouncerPort
				c.Params["default_query_exec_mode"] = "cache_describe"
			})
			t.wantUser(ctx, Admin, user, err)
		},
	},
}
