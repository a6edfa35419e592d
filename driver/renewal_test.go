package driver

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// signIn makes an attempt and, where it should be retried, another, as Connect does. It
// reports whether the server, which rejects with message, accepts a token in the end.
//
// These tests make thousands of sign-ins, over minutes or hours of a synctest bubble. So
// they take the server's part in the attempt: a TLS handshake for each would take too long.
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

// A token that is valid when it is sent may have ended when the server checks it. It is
// replaced at once, although it is recent.
func TestTokenThatEndsDuringTheSignIn(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name      string
		notCached bool // the sign-in itself requests the token
	}{
		{name: "cached"},
		{name: "just fetched", notCached: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
					return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": call}), ExpiresOn: time.Now().Add(2 * time.Second)}, nil
				}}
				c := newConnector(t, "host=h user=u", WithCredential(cred))
				if !tt.notCached {
					if _, err := tokenOf(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				delay := 2 * time.Second // of the first check
				accepted := signIn(t, c, tokenExpired, func(tok *token.Token) bool {
					time.Sleep(delay)
					delay = 0
					return !tok.Valid(time.Now())
				})
				if !accepted {
					t.Error("the sign-in failed, want another token and a success")
				}
				if got := cred.Calls.Load(); got != 2 {
					t.Errorf("token requests = %d, want 2", got)
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
				connectors := make([]*Connector, 20)
				if raceDetector {
					connectors = connectors[:4]
				}
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
