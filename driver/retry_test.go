package driver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
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
	newUnlessCached := func(call int64, claims string) (azcore.AccessToken, error) {
		if claims == "" { // a request with claims bypasses the credential's cache
			return agedToken(1, "")
		}
		return recentToken(call, "")
	}
	sameToken := func(int64, string) (azcore.AccessToken, error) { return agedToken(1, "") }
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
			for range 100 {
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
	dsn := "host=one.example.com,two.example.com user=me connect_timeout=5 sslrootcert=" + one.certFile
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

// The tests that follow run for minutes of a synctest bubble, with thousands of sign-ins.
// They call the attempt in the server's place: a TLS handshake for each would take too
// long.

// signIn makes an attempt and, where it should be retried, another, as Connect does. It
// reports whether the server, which rejects with message, accepts a token in the end.
func signIn(t *testing.T, c *Connector, message string, reject func(*token.Token) bool) bool {
	t.Helper()
	for retried := false; ; retried = true {
		a := c.newAttempt()
		if _, err := a.wait(t.Context()); err != nil {
			t.Errorf("the token: %v, want no error", err)
			return false
		}
		if !reject(a.token) {
			a.onSuccess()
			return true
		}
		a.handleRejection(&pgconn.PgError{Code: "28P01", Message: message})
		if retried || !a.shouldRetry(t.Context(), errors.New("rejected")) {
			return false
		}
	}
}

func rejectAll(*token.Token) bool { return true }

// After a rejection a newer token is requested where it may help, and only there.
func TestRenewalAfterRejection(t *testing.T) {
	entratest.CleanEnv(t)
	type want struct {
		at                time.Duration // of the sign-in
		requests, retried int64         // up to and including it
	}
	for _, tt := range []struct {
		name, message  string
		age            time.Duration // of each token
		notCached      bool          // there is no token before the first sign-in
		signedInBefore bool          // the server has accepted a token
		sameToken      bool          // the credential has only one
		want           []want
	}{
		{name: "old token", message: tokenExpired, age: time.Hour, want: []want{
			{at: 0, requests: 1, retried: 1},
		}},
		{name: "recent token", message: tokenExpired, want: []want{
			{at: 0, requests: 0, retried: 0},
			{at: time.Second, requests: 1, retried: 1},
			{at: 2 * time.Second, requests: 1, retried: 1},
		}},
		{name: "old token, just fetched", message: tokenExpired, age: time.Hour, notCached: true, want: []want{
			{at: 0, requests: 1, retried: 0},
		}},
		{name: "message without token, never signed in", message: passwordFailed, age: time.Hour, want: []want{
			{at: 0, requests: 0, retried: 0},
			{at: time.Minute, requests: 0, retried: 0},
		}},
		{name: "message without token, signed in before", message: passwordFailed, age: time.Hour, signedInBefore: true, want: []want{
			{at: 0, requests: 1, retried: 1},
			{at: time.Minute, requests: 1, retried: 1},
			{at: 10 * time.Minute, requests: 1, retried: 1},
		}},
		{name: "message without token, recent token", message: passwordFailed, signedInBefore: true, want: []want{
			{at: 0, requests: 0, retried: 0},
			{at: 30 * time.Second, requests: 0, retried: 0},
			{at: 2 * time.Minute, requests: 1, retried: 1},
		}},
		{name: "message without token, just fetched", message: passwordFailed, age: time.Hour, notCached: true, signedInBefore: true, want: []want{
			{at: 0, requests: 1, retried: 0},
			{at: 2 * time.Second, requests: 2, retried: 1},
		}},
		{name: "same token again", message: tokenExpired, age: time.Hour, sameToken: true, want: []want{
			{at: 0, requests: 2, retried: 0},
			{at: 0, requests: 2, retried: 0},
			{at: time.Second, requests: 4, retried: 0},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
					if tt.sameToken {
						call = 0
					}
					return tokenIssued(start.Add(-tt.age), call), nil
				}}
				c := newConnector(t, "host=h user=u", WithCredential(cred))
				if !tt.notCached {
					if _, err := tokenOf(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				before := cred.Calls.Load()
				c.signedIn.Store(tt.signedInBefore)
				for _, want := range tt.want {
					time.Sleep(want.at - time.Since(start))
					if signIn(t, c, tt.message, rejectAll) {
						t.Fatalf("after %s the sign-in succeeded, want a rejection", want.at)
					}
					if got := cred.Calls.Load() - before; got != want.requests {
						t.Errorf("after %s token requests = %d, want %d", want.at, got, want.requests)
					}
					if got := c.Stats().Retried; got != want.retried {
						t.Errorf("after %s Stats().Retried = %d, want %d", want.at, got, want.retried)
					}
				}
			})
		})
	}
}

// A token that was rejected and replaced does not come back from the credential's own
// cache, although the credential does not cache its successor, which is valid for four
// minutes only.
func TestRefusedTokenDoesNotComeBack(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		rejected := entratest.JWT(map[string]any{"n": 0, "iat": start.Add(-time.Hour).Unix()})
		cred := &entratest.Credential{Get: func(call int64, claims string) (azcore.AccessToken, error) {
			if claims == "" {
				return azcore.AccessToken{Token: rejected, ExpiresOn: start.Add(time.Hour)}, nil
			}
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": call}), ExpiresOn: time.Now().Add(4 * time.Minute)}, nil
		}}
		c := newConnector(t, "host=h user=u", WithCredential(cred))
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for time.Since(start) < 50*time.Minute {
			if !signIn(t, c, tokenExpired, func(presented *token.Token) bool { return presented.Value == rejected }) {
				t.Fatalf("after %s the sign-in was rejected, want it accepted", time.Since(start))
			}
			time.Sleep(time.Second)
		}
		if got := c.Stats().Rejected; got != 1 {
			t.Errorf("Stats().Rejected = %d, want 1", got)
		}
		if got, most := cred.Calls.Load(), int64(2*50); got > most {
			t.Errorf("token requests = %d, want at most %d", got, most)
		}
	})
}

// A host that always rejects, before a host that accepts the token, causes no more token
// requests than a host that always rejects alone.
func TestOneHostRejectsAnotherAccepts(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct{ name, message string }{
		{name: "message about the token", message: tokenExpired},
		{name: "message about the host", message: `no pg_hba.conf entry for host "10.0.0.1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				value := entratest.JWT(map[string]any{"iat": time.Now().Add(-3 * time.Hour).Unix()})
				cred := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) { // a managed identity's: the same for a day
					return azcore.AccessToken{Token: value, ExpiresOn: time.Now().Add(20 * time.Hour)}, nil
				}}
				c := newConnector(t, "host=one,two user=u", WithCredential(cred))
				for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(100 * time.Millisecond) {
					a := c.newAttempt()
					if _, err := a.wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					a.handleRejection(&pgconn.PgError{Code: "28000", Message: tt.message})
					a.onSuccess()
				}
				const most = 2 * 8 // each is followed by one that bypasses the credential's cache
				if got := cred.Calls.Load(); got > most {
					t.Errorf("token requests in a minute = %d, want at most %d", got, most)
				}
			})
		})
	}
}

// Sign-ins that are rejected while a newer token is being fetched wait for that token. A
// renewal that failed is made again.
func TestRejectionsShareOneRenewal(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		available := true
		cred := &entratest.Credential{Delay: time.Second, Get: func(call int64, claims string) (azcore.AccessToken, error) {
			if !available {
				return tokenUnavailable(call, claims)
			}
			return tokenIssued(start.Add(-time.Hour), call), nil
		}}
		c := newConnector(t, "host=h user=u", WithCredential(cred))
		signInThrice := func(want bool) {
			t.Helper()
			rejected, err := tokenOf(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					got := signIn(t, c, passwordFailed, func(presented *token.Token) bool { return presented.Value == rejected.Value })
					if got != want {
						t.Errorf("after %s the sign-in succeeded: %t, want %t", time.Since(start), got, want)
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
			wg.Wait()
		}
		c.signedIn.Store(true)
		signInThrice(true)
		if got := cred.Calls.Load(); got != 2 {
			t.Errorf("token requests = %d, want 2", got)
		}
		time.Sleep(time.Second) // for less than that the token is the newest there can be
		available = false
		signInThrice(false)
		available = true
		time.Sleep(maxRenewalWait)
		time.Sleep(3 * time.Hour) // until the token has expired
		signInThrice(true)
	})
}

// The wait between two renewals counts from the first one's request, not from its response.
func TestRenewalWaitCountsFromTheRequest(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cred := &entratest.Credential{Delay: 700 * time.Millisecond, Get: func(call int64, _ string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": call, "iat": start.Add(-time.Hour).Unix()}), ExpiresOn: start.Add(time.Hour)}, nil
		}}
		c := newConnector(t, "host=h user=u", WithCredential(cred))
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		untilThirdToken := func(*token.Token) bool { return cred.Calls.Load() < 3 }
		for !signIn(t, c, tokenExpired, untilThirdToken) {
			time.Sleep(50 * time.Millisecond)
		}
		const most = 1800 * time.Millisecond // it is requested after a second
		if took := time.Since(began); took > most {
			t.Errorf("the third token took %s, want at most %s", took, most)
		}
	})
}

// Where new tokens are rejected too, since the server or the authority is out of order,
// the connectors of one identity request others at growing intervals. They connect soon
// after the fault has ended.
func TestBadTokensAreReplaced(t *testing.T) {
	entratest.CleanEnv(t)
	// Each connector makes six renewals in its first minute and one every half minute after
	// that. Together they make at most one a second.
	const (
		outage        = 3 * time.Minute
		leastRequests = 8
		mostRequests  = 3 * 60
	)
	for _, tt := range []struct {
		name      string
		age       time.Duration // of each token
		sameToken bool          // the credential has only one until the fault has ended
	}{
		{name: "recent tokens"},
		{name: "old tokens", age: time.Hour},
		{name: "recent token, always the same", sameToken: true},
		{name: "old token, always the same", age: time.Hour, sameToken: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				healthy := false
				cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
					if tt.sameToken && !healthy {
						call = 0
					}
					return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": call, "iat": start.Add(-tt.age).Unix()}), ExpiresOn: time.Now().Add(time.Hour)}, nil
				}}
				var connectors [20]*Connector
				for i := range connectors {
					connectors[i] = newConnector(t, "host=h user=u", WithCredential(cred))
				}
				for time.Since(start) < outage {
					for _, c := range connectors {
						if signIn(t, c, tokenExpired, rejectAll) {
							t.Fatal("the sign-in succeeded, want a rejection")
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				requests := cred.Calls.Load()
				if requests > mostRequests {
					t.Errorf("token requests of 20 connectors in %s = %d, want at most %d", outage, requests, mostRequests)
				}
				if requests < leastRequests {
					t.Errorf("token requests of 20 connectors in %s = %d, want at least %d", outage, requests, leastRequests)
				}
				healthy = true
				recovery := time.Now()
				untilNextToken := func(*token.Token) bool { return cred.Calls.Load() == requests }
				for !signIn(t, connectors[0], tokenExpired, untilNextToken) {
					if took := time.Since(recovery); took > maxRenewalWait {
						t.Fatalf("after %s the sign-in is still rejected, want it accepted within %s", took, maxRenewalWait)
					}
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("token requests = %d, recovery after %s", requests, time.Since(recovery))
			})
		})
	}
}
