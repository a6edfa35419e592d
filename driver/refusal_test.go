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

const (
	expired = "The access token has expired."
	nobody  = `password authentication failed for user "u"`
)

// judge goes as far as the server's verdict, as Connect does, and tells whether the
// server takes a token in the end.
func judge(t *testing.T, c *Connector, words string, refuse func(*token.Token) bool) bool {
	for again := false; ; again = true {
		a := c.newAttempt()
		if _, err := a.wait(t.Context()); err != nil {
			t.Error(err)
			return false
		}
		if !refuse(a.token) {
			a.onSuccess()
			return true
		}
		a.handleRejection(&pgconn.PgError{Code: "28P01", Message: words})
		if again || !a.shouldRetry(t.Context(), errors.New("refused")) {
			return false
		}
	}
}

// Another token is asked for where that may help, and only there.
func TestAskedAfterARefusal(t *testing.T) {
	entratest.CleanEnv(t)
	const hour = time.Hour
	for _, tt := range []struct {
		name, words       string
		age               time.Duration // of the tokens
		cold, worked      bool          // no token before the connect; a sign-in
		same              bool          // there is no other token
		at                []time.Duration
		requests, retried []int64 // after each connect
	}{
		{name: "old, in words of the token", words: expired, age: hour, at: []time.Duration{0}, requests: []int64{1}, retried: []int64{1}},
		{name: "young", words: expired, at: []time.Duration{0, hour / 3600, 2 * time.Second}, requests: []int64{0, 1, 1}, retried: []int64{0, 1, 1}},
		{name: "just fetched", words: expired, age: hour, cold: true, at: []time.Duration{0}, requests: []int64{1}, retried: []int64{0}},
		{name: "in other words, where none has signed in", words: nobody, age: hour, at: []time.Duration{0, time.Minute}, requests: []int64{0, 0}, retried: []int64{0, 0}},
		{name: "in other words, where one has", words: nobody, age: hour, worked: true, at: []time.Duration{0, time.Minute, 10 * time.Minute}, requests: []int64{1, 1, 1}, retried: []int64{1, 1, 1}},
		{name: "in other words, young", words: nobody, worked: true, at: []time.Duration{0, 30 * time.Second, 2 * time.Minute}, requests: []int64{0, 0, 1}, retried: []int64{0, 0, 1}},
		{name: "in other words, just fetched", words: nobody, age: hour, cold: true, worked: true, at: []time.Duration{0, 2 * time.Second}, requests: []int64{1, 2}, retried: []int64{0, 1}},
		{name: "the same token again", words: expired, age: hour, same: true, at: []time.Duration{0, 0, time.Second}, requests: []int64{2, 2, 4}, retried: []int64{0, 0, 0}},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			cred := &entratest.Credential{Get: func(n int64, _ string) (azcore.AccessToken, error) {
				if tt.same {
					n = 0
				}
				return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n, "iat": start.Add(-tt.age).Unix()}), ExpiresOn: time.Now().Add(2 * time.Hour)}, nil
			}}
			c, err := NewConnector("host=h user=u", WithCredential(cred))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !tt.cold {
				if _, err := tokenOf(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			warm := cred.Calls.Load()
			c.signedIn.Store(tt.worked)
			for i, at := range tt.at {
				time.Sleep(at - time.Since(start))
				if judge(t, c, tt.words, func(*token.Token) bool { return true }) {
					t.Fatal("it works")
				}
				if n, retried := cred.Calls.Load()-warm, c.Stats().Retried; n != tt.requests[i] || retried != tt.retried[i] {
					t.Errorf("%s: after %s %d requests and %d more tries, want %d and %d", tt.name, at, n, retried, tt.requests[i], tt.retried[i])
				}
			}
		})
	}
}

// A token that was refused and replaced does not come back from a credential's cache,
// which does not keep a successor that lives for a few minutes only.
func TestRefusedTokenDoesNotComeBack(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		bad := entratest.JWT(map[string]any{"n": 0, "iat": start.Add(-time.Hour).Unix()})
		cred := &entratest.Credential{Get: func(n int64, claims string) (azcore.AccessToken, error) {
			if claims == "" {
				return azcore.AccessToken{Token: bad, ExpiresOn: start.Add(time.Hour)}, nil
			}
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n}), ExpiresOn: time.Now().Add(4 * time.Minute)}, nil
		}}
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for time.Since(start) < 50*time.Minute {
			if !judge(t, c, expired, func(is *token.Token) bool { return is.Value == bad }) {
				t.Fatalf("refused after %s", time.Since(start))
			}
			time.Sleep(time.Second)
		}
		if st := c.Stats(); st.Rejected != 1 || cred.Calls.Load() > 2*50 {
			t.Errorf("%d requests, %+v", cred.Calls.Load(), st)
		}
	})
}

// A host that refuses for a reason of its own, before another that takes the token, is
// no cause for more requests than one that stands alone.
func TestRefusedHereAndTakenThere(t *testing.T) {
	entratest.CleanEnv(t)
	for _, words := range []string{expired, `no pg_hba.conf entry for host "10.0.0.1"`} {
		synctest.Test(t, func(t *testing.T) {
			same := entratest.JWT(map[string]any{"iat": time.Now().Add(-3 * time.Hour).Unix()}) // a managed identity's, for a day
			cred := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
				return azcore.AccessToken{Token: same, ExpiresOn: time.Now().Add(20 * time.Hour)}, nil
			}}
			c, err := NewConnector("host=one,two user=u", WithCredential(cred))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 600 { // a minute of it
				a := c.newAttempt()
				if _, err := a.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				a.handleRejection(&pgconn.PgError{Code: "28000", Message: words})
				a.onSuccess()
				time.Sleep(100 * time.Millisecond)
			}
			if n := cred.Calls.Load(); n > 2*8 { // each asked past the cache too
				t.Errorf("%s: %d requests in a minute", words, n)
			}
		})
	}
}

// Whoever is refused while another token is on its way waits for that, and a request
// that failed is made again.
func TestSameQuestion(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start, down := time.Now(), false
		cred := &entratest.Credential{Delay: time.Second, Get: func(n int64, _ string) (azcore.AccessToken, error) {
			if down {
				return azcore.AccessToken{}, errors.New("down")
			}
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n, "iat": start.Add(-time.Hour).Unix()}), ExpiresOn: time.Now().Add(2 * time.Hour)}, nil
		}}
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		connect := func(want bool) {
			t.Helper()
			bad, err := tokenOf(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if judge(t, c, nobody, func(is *token.Token) bool { return is.Value == bad.Value }) != want {
						t.Errorf("after %s: signed in: %t", time.Since(start), !want)
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
			wg.Wait()
		}
		c.signedIn.Store(true)
		connect(true)
		if n := cred.Calls.Load(); n != 2 {
			t.Errorf("%d requests", n)
		}
		time.Sleep(time.Second) // less, and the token is as new as can be
		down = true
		connect(false)
		down = false
		time.Sleep(maxRenewalWait)
		time.Sleep(3 * time.Hour) // until the token has expired
		connect(true)
	})
}

// The wait between two questions counts from the first one, however long its answer took.
func TestSlowAnswer(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cred := &entratest.Credential{Delay: 700 * time.Millisecond, Get: func(n int64, _ string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n, "iat": start.Add(-time.Hour).Unix()}), ExpiresOn: start.Add(time.Hour)}, nil
		}}
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for !judge(t, c, expired, func(*token.Token) bool { return cred.Calls.Load() < 3 }) {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(began); took > 1800*time.Millisecond {
			t.Errorf("the third token, asked for after a second, was there after %s", took)
		}
	})
}

// A pool whose tokens are refused though they are young, by a server or an authority
// that is out of order, asks for others, ever more slowly, and is well again
// soon after they are.
func TestBadTokensAreReplaced(t *testing.T) {
	entratest.CleanEnv(t)
	for _, bad := range []struct {
		issued time.Duration
		same   bool // the same again and again
		least  int64
	}{{0, false, 8}, {time.Hour, false, 8}, {0, true, 8}, {time.Hour, true, 8}} {
		synctest.Test(t, func(t *testing.T) {
			start, healthy := time.Now(), false
			cred := &entratest.Credential{Get: func(n int64, _ string) (azcore.AccessToken, error) {
				if bad.same && !healthy {
					n = 0
				}
				return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": n, "iat": start.Add(-bad.issued).Unix()}), ExpiresOn: time.Now().Add(time.Hour)}, nil
			}}
			var pools [20]*Connector
			for i := range pools {
				var err error
				if pools[i], err = NewConnector("host=h user=u", WithCredential(cred)); err != nil {
					t.Fatal(err)
				}
				defer pools[i].Close()
			}
			began := time.Now()
			for time.Since(began) < 3*time.Minute {
				for _, c := range pools {
					if judge(t, c, expired, func(*token.Token) bool { return true }) {
						t.Fatal("it works")
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			// Each pool has six questions in its first minute and one every half minute
			// after that; together they ask no more than once a second.
			if n := cred.Calls.Load(); n > 3*60 || n < bad.least {
				t.Errorf("20 pools made %d requests in three minutes", n)
			}
			healed := cred.Calls.Load()
			healthy, began = true, time.Now()
			for !judge(t, pools[0], expired, func(*token.Token) bool { return cred.Calls.Load() == healed }) {
				if time.Since(began) > maxRenewalWait {
					t.Fatal("a bad token stays")
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Logf("%d requests, back after %s", healed, time.Since(began))
		})
	}
}
