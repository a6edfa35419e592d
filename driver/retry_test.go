package driver

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// What a server says when it rejects a sign-in: about the token, and about the role.
const (
	tokenExpired   = "The access token has expired. Acquire a new token and try again."
	passwordFailed = `password authentication failed for user "me"`
)

// A sign-in that the server rejects is tried once more with a newer token, where that may
// help. Connects that follow request few tokens, or none, in vain.
func TestRejected(t *testing.T) {
	entratest.CleanEnv(t)
	aged, _ := agedToken(1, "") // once: another second would make another token
	newUnlessCached := func(call int64, claims string) (azcore.AccessToken, error) {
		if claims == "" { // a request with claims bypasses the credential's cache
			return aged, nil
		}
		return recentToken(call, "")
	}
	sameToken := func(int64, string) (azcore.AccessToken, error) { return aged, nil }
	onlyOne := func(call int64, claims string) (azcore.AccessToken, error) {
		if call > 1 {
			return tokenUnavailable(call, claims)
		}
		return agedToken(call, claims)
	}
	for _, tt := range []struct {
		name, code, message string
		get                 func(call int64, claims string) (azcore.AccessToken, error)
		rejectAll           bool  // the server rejects every token, not only the first
		signedInBefore      bool  // the server has accepted a token
		requests            int64 // for the first connect
		laterRequests       int64 // at most, for 100 connects after it
	}{
		{name: "revoked", code: "28P01", message: tokenExpired, get: agedToken, requests: 1},
		{name: "revoked, credential has a cache", code: "28000", message: tokenExpired, get: newUnlessCached, requests: 2},
		{name: "revoked, in a message that names no token", code: "28P01", message: passwordFailed, get: agedToken, signedInBefore: true, requests: 1},
		{name: "no such role", code: "28P01", message: passwordFailed, get: agedToken, rejectAll: true},
		{name: "no such role, named like a refusal of the token", code: "28P01", message: `password authentication failed for user "the access token has expired"`, get: agedToken, rejectAll: true},
		{name: "no such role, a token's in quotation marks", code: "28P01", message: `password authentication failed for user "a" access token has expired "b"`, get: agedToken, rejectAll: true},
		{name: "role of another kind, named token", code: "28000", message: "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[token]", get: agedToken, rejectAll: true},
		{name: "firewall, database named token", code: "28000", message: `no pg_hba.conf entry for host "1.2.3.4", user "token", database "access token has expired", SSL on`, get: agedToken, rejectAll: true},
		{name: "invalid format", code: "28P01", message: "The access token has invalid format. Try again after making sure that the token is passed exactly as returned by the authentication endpoint.", get: agedToken, requests: 1},
		{name: "expired, another wording", code: "28P01", message: "The access token has expired. Acquire a new token and try again.", get: agedToken, requests: 1},
		{name: "not a member yet", code: "28P01", message: "Microsoft Entra access token not valid for role token (does not contain group ID g)", get: agedToken, requests: 1},
		{name: "role dropped", code: "28P01", message: passwordFailed, get: agedToken, signedInBefore: true, requests: 1, rejectAll: true},
		{name: "firewall", code: "28000", message: "no pg_hba.conf entry for host", get: agedToken, rejectAll: true},
		{name: "credential returns the same token", code: "28P01", message: tokenExpired, get: sameToken, requests: 2, laterRequests: 8, rejectAll: true},
		{name: "credential fails", code: "28P01", message: tokenExpired, get: onlyOne, requests: 1, laterRequests: 8, rejectAll: true},
		{name: "token recently issued", code: "28P01", message: tokenExpired, get: recentToken, laterRequests: 8, rejectAll: true},
		{name: "another error", code: "53300", message: "too many connections for token", get: agedToken, rejectAll: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cred := &entratest.Credential{Get: tt.get}
			s := newFakeServer(t, func(s *fakeServer) {
				s.verdict = rejectFirst(errorResponse(tt.code, tt.message))
				if tt.rejectAll {
					s.verdict = func(string) []pgproto3.BackendMessage { return errorResponse(tt.code, tt.message) }
				}
			})
			c := newConnector(t, s.trustedDSN(""), WithCredential(cred))
			if _, err := tokenOf(t.Context(), c); err != nil { // so that the token is cached
				t.Fatal(err)
			}
			c.signedIn.Store(tt.signedInBefore)
			conn, err := c.Connect(t.Context())
			if got := cred.Calls.Load() - 1; got != tt.requests {
				t.Errorf("token requests after the rejection = %d, want %d", got, tt.requests)
			}
			if !tt.rejectAll {
				if err != nil {
					t.Fatalf("Connect() = %v, want no error", err)
				}
				conn.Close()
				checkStats(t, c, 1, 1, 1)
				return
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) {
				t.Fatalf("Connect() = %v, want a *pgconn.PgError", err)
			}
			if pg.Code != tt.code {
				t.Errorf("code = %s, want %s", pg.Code, tt.code)
			}
			later := 100
			if raceDetector {
				later = 20
			}
			for range later {
				if _, err := c.Connect(t.Context()); err == nil {
					t.Fatal("Connect() succeeded, want an error")
				}
			}
			if got := cred.Calls.Load() - 1 - tt.requests; got > tt.laterRequests {
				t.Errorf("token requests for 100 more connects = %d, want at most %d", got, tt.laterRequests)
			}
		})
	}
}

// checkStats checks a connector's counts.
func checkStats(t *testing.T, c *Connector, signIns, rejected, retried int64) {
	t.Helper()
	st := c.Stats()
	if st.SignIns != signIns {
		t.Errorf("Stats().SignIns = %d, want %d", st.SignIns, signIns)
	}
	if st.Rejected != rejected {
		t.Errorf("Stats().Rejected = %d, want %d", st.Rejected, rejected)
	}
	if st.Retried != retried {
		t.Errorf("Stats().Retried = %d, want %d", st.Retried, retried)
	}
}

// Through BeforeConnect a rejected sign-in is not tried again, but the next connect has a
// newer token. No tracer sees the rejected one.
func TestRejectedThroughBeforeConnect(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.verdict = rejectFirst(errorResponse("28P01", tokenExpired)) })
	cred := &entratest.Credential{Get: agedToken}
	c := newConnector(t, s.trustedDSN(""), WithCredential(cred))
	rejected, err := tokenOf(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	connect := func() error {
		config := c.Config()
		trace := &passwordTracer{}
		config.Tracer = trace
		if err := c.BeforeConnect(t.Context(), config); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			conn.Close(t.Context())
		}
		if strings.Contains(trace.seen, entratest.Marker) {
			t.Errorf("the tracer saw %q, want no token", trace.seen)
		}
		return err
	}
	var pg *pgconn.PgError
	if err := connect(); !errors.As(err, &pg) {
		t.Fatalf("the first connect = %v, want a *pgconn.PgError", err)
	}
	// A connect may still present the rejected token while the newer one is being fetched.
	if _, err := c.source.Refresh(rejected, observer{c}).Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := connect(); err != nil {
		t.Errorf("the next connect = %v, want no error", err)
	}
	if got := cred.Calls.Load(); got != 2 {
		t.Errorf("token requests = %d, want 2", got)
	}
}

// pgx reads a rejection of OAUTHBEARER by itself, without calling OnPgError. It is retried
// as any other.
func TestOAuthBearerRefused(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.authRequest = &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}
		s.verdict = rejectFirstConnection(errorResponse("28000", tokenExpired))
	})
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Get: agedToken}))
	if _, err := tokenOf(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatalf("Connect() = %v, want no error", err)
	}
	conn.Close()
	checkStats(t, c, 1, 1, 1)
}

// After a refusal over TLS pgx must not try again without TLS. The error is not
// driver.ErrBadConn either, on which database/sql would try three times.
func TestRefusedOnce(t *testing.T) {
	entratest.CleanEnv(t)
	for _, code := range []string{"28000", "28P01", "53300", "57P03"} {
		t.Run(code, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				s.reply = []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "no\x1b[31m\nway"}}
			})
			err := ping(t, s.trustedDSN("sslmode=prefer"), WithCredential(&entratest.Credential{}))
			var pg *pgconn.PgError
			if !errors.As(err, &pg) {
				t.Fatalf("ping = %v, want a *pgconn.PgError", err)
			}
			if pg.Code != code {
				t.Errorf("code = %s, want %s", pg.Code, code)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("ping = %q, want no control characters", err)
			}
			if got := s.connections(); got != 1 {
				t.Errorf("connections = %d, want 1", got)
			}
		})
	}
}

// The first host rejects the token, the second accepts it but does not suit the program.
// That is an error, and no panic.
func TestOneHostRejectsAnotherDoesNotSuit(t *testing.T) {
	entratest.CleanEnv(t)
	one := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28000", "the access token has expired") })
	two := newFakeServer(t, nil)
	dsn := "host=one.example.com,two.example.com user=me connect_timeout=5 sslrootcert=" + entratest.Quote(one.certFile)
	servers := resolveTo(map[string]*fakeServer{"one.example.com": one, "two.example.com": two})
	c := newConnector(t, dsn, servers, WithCredential(&entratest.Credential{Get: agedToken}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return errors.New("not suitable") }
	}))
	for _, name := range []string{"no token cached", "token cached"} {
		_, err := c.Connect(t.Context())
		if want := "the access token has expired"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Connect() with %s = %v, want %q in it", name, err, want)
		}
	}
}
