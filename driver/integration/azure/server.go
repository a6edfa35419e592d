package azure

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
)

var serverClaims = []Claim{
	{
		ID: "tls-version", Text: "The server speaks TLS 1.2 or 1.3.", Standing: Documented,
		Hints: []Hint{{hint.TLS, "protocol version not supported"}},
		How:   "sign in as the administrator, and read the connection's state",
		try: func(ctx context.Context, t *trial) {
			if state := t.tlsState(ctx, nil); state != nil {
				t.observe("%s", tls.VersionName(state.Version))
				if state.Version < tls.VersionTLS12 {
					t.contradict("an older version")
				}
			}
		},
	},
	{
		ID: "tls-system-roots", Text: "The system's roots verify the server's certificate by the server's name.", Standing: Documented,
		Pages: []Page{{readme, "`verify-full`"}},
		How:   "sign in with sslmode=verify-full and without sslrootcert",
		try: func(ctx context.Context, t *trial) {
			if t.base.Params["sslrootcert"] != "" {
				t.skip("%s sets sslrootcert", variableDSN)
				return
			}
			if state := t.tlsState(ctx, nil); state != nil && len(state.VerifiedChains) > 0 {
				chain := state.VerifiedChains[0]
				t.observe("the root is %s", chain[len(chain)-1].Subject.CommonName)
			}
		},
	},
	{
		ID: "tls-direct", Text: "The server takes direct TLS (sslnegotiation=direct).", Standing: Unknown,
		How: "sign in as the administrator with sslnegotiation=direct",
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if t.failed("the token", err) {
				return
			}
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			err = t.connect(ctx, &startup{user: who.User, password: who.Token, params: map[string]string{"sslnegotiation": "direct"}})
			if err != nil {
				t.observeError(err)
				t.contradict("the sign-in failed")
			}
		},
	},
	{
		ID: "server-authentication-timeout", Text: "A sign-in has 30 seconds (authentication_timeout).", Standing: Documented,
		How: "SHOW authentication_timeout",
		try: func(ctx context.Context, t *trial) {
			var got string
			if t.failed("SHOW", t.query(ctx, []any{&got}, "SHOW authentication_timeout")) {
				return
			}
			t.observe("authentication_timeout = %s", got)
			if got != "30s" {
				t.contradict("it is %s", got)
			}
		},
	},
	{
		ID: "server-authentication-types", Text: "azure_roles_authtype lists roles and their authentication types.", Standing: Documented,
		How: "count its rows by type",
		try: func(ctx context.Context, t *trial) {
			conn, err := t.administrator(ctx)
			if t.failed("the administrator's session", err) {
				return
			}
			rows, err := conn.Query(ctx, "SELECT a.authtype::text, count(*)::int FROM azure_roles_authtype() AS a(role, authtype) GROUP BY 1 ORDER BY 1")
			if err != nil {
				t.contradict("the function failed")
				return
			}
			for rows.Next() {
				var kind string
				var n int
				if !t.failed("reading a row", rows.Scan(&kind, &n)) {
					t.observe("authentication type %s: %d roles", kind, n)
				}
			}
			if err := rows.Err(); err != nil {
				t.observeError(err)
				t.contradict("the function failed")
			}
		},
	},
	{
		ID: "metadata-unknown-identity", Text: "The text of the metadata service for an identity that the host does not have is known.", Standing: Reported,
		Hints: []Hint{
			{hint.Token, "is not assigned to this resource"}, {hint.Token, "identity not found"},
			{hint.Token, "unable to load the proper managed identity"}, {hint.Token, "asked for the managed identity"},
		},
		How: "request a token for a client ID that nobody has, on a host with a managed identity", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) {
			cfg, err := t.config(ManagedIdentity)
			if t.failed("reading the parameters", err) {
				return
			}
			if len(cfg.Auth) != 1 || cfg.Auth[0] != dsn.ManagedIdentity {
				t.skip("the parameters do not have aad_auth=managed-identity: the run is not on a host of Azure")
				return
			}
			_, err = t.signsIn(ctx, ManagedIdentity, func(c *dsn.Config) {
				c.ObjectID, c.ResourceID = "", ""
				c.ClientID = "00000000-0000-0000-0000-000000000000"
			})
			t.wantRefusal(err)
		},
	},
}

// failoverClaims come last: they disturb the server.
var failoverClaims = []Claim{
	{
		ID: "failover-same-name", Text: "After a failover or restart, the same name leads to a server that takes the same token.", Standing: Documented,
		Hints: signIn("is starting up"),
		How:   "run the command, then sign in by the same name until it works, for two minutes", Needs: []Need{NeedsFailover},
		try: tryFailover,
	},
}

// tlsState signs the administrator in and returns the connection's state, or nil.
func (t *trial) tlsState(ctx context.Context, params map[string]string) *tls.ConnectionState {
	who, err := t.token(ctx, Admin)
	if t.failed("the token", err) {
		return nil
	}
	s := &startup{user: who.User, password: who.Token, params: params}
	if err := t.connect(ctx, s); err != nil {
		t.observeError(err)
		t.contradict("the sign-in failed: %s", firstLine(err))
		return nil
	}
	if s.tls == nil {
		t.contradict("the connection is not TLS")
	}
	return s.tls
}

func tryFailover(ctx context.Context, t *trial) {
	who, err := t.token(ctx, Admin)
	if t.failed("the token", err) || t.failed("the command", t.settings.Failover(ctx)) {
		return
	}
	began := time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := t.connect(attempt, &startup{user: who.User, password: who.Token})
		cancel()
		if err == nil {
			t.observe("a sign-in works %s after the command", time.Since(began).Round(time.Second))
			_, err = t.administrator(ctx) // for what is still to come: its session has ended
			t.failed("the administrator's next session", err)
			return
		}
		if !strings.Contains(err.Error(), "context deadline") {
			t.observeError(err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.contradict("no sign-in has worked in time")
			return
		}
	}
}
