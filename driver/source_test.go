package driver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

var quiet = slog.New(slog.DiscardHandler)

// ask waits for a token as a connect does.
func ask(s tokens, ctx context.Context) (*token, error) {
	t, f := s.get(quiet)
	if f == nil {
		return t, nil
	}
	return f.Token(ctx)
}

func sourceOf(cred *fakeCredential) *source {
	return &source{ask: asker(cred, "scope"), timeout: 30 * time.Second}
}

// lives answers with tokens of that life, named by their number.
func lives(d time.Duration) func(int64, string) (azcore.AccessToken, error) {
	return func(n int64, _ string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: strings.Repeat("x", int(n)), ExpiresOn: time.Now().Add(d)}, nil
	}
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{delay: time.Second}
		s := sourceOf(cred)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := ask(s, context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := cred.calls.Load(); n != 1 {
			t.Errorf("100 callers made %d requests", n)
		}
	})
}

// A caller that gives up returns at once; the request goes on for the others.
// So it is with a credential that does not hear its context.
func TestCallerGivesUp(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := sourceOf(&fakeCredential{delay: 5 * time.Second, deaf: deaf})
			other := make(chan error, 1)
			go func() { _, err := ask(s, context.Background()); other <- err }()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := ask(s, ctx)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("got %v after %s", err, time.Since(began))
			}
			if err := <-other; err != nil {
				t.Errorf("the other: %v", err)
			}
		})
	}
}

func TestTokenTimeout(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := sourceOf(&fakeCredential{delay: time.Hour, deaf: deaf})
			began := time.Now()
			_, err := ask(s, context.Background())
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 30*time.Second || !strings.Contains(err.Error(), "raise aad_token_timeout") {
				t.Errorf("got %v after %s", err, time.Since(began))
			}
			time.Sleep(time.Hour) // until the deaf one has ended too
		})
	}
}

// A token is renewed in the background before it ends; the old one serves
// meanwhile, and still does when the renewal fails.
func TestRefreshAhead(t *testing.T) {
	for _, tt := range []struct{ life, fresh time.Duration }{{time.Hour, 54 * time.Minute}, {6 * time.Minute, 2 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			cred := &fakeCredential{get: lives(tt.life), delay: time.Second}
			s := sourceOf(cred)
			token := func() string {
				t.Helper()
				began := time.Now()
				tok, err := ask(s, context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if cred.calls.Load() > 1 && time.Since(began) != 0 {
					t.Error("a caller waited for the renewal")
				}
				return tok.value
			}
			token()
			time.Sleep(tt.fresh)
			if token(); cred.calls.Load() != 1 {
				t.Error("a fresh token was renewed")
			}
			time.Sleep(tt.life - tt.fresh - 30*time.Second)
			if token() != "x" {
				t.Error("the old token did not serve")
			}
			time.Sleep(2 * time.Second)
			if token() != "xx" {
				t.Error("the renewal did not arrive")
			}
			cred.get = func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, errors.New("down") }
			time.Sleep(tt.life - time.Minute)
			for range 10 {
				if token() != "xx" {
					t.Error("a failed renewal cost the old token")
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// Without a token a failure is remembered, so that a pool that retries cannot
// hammer the authority; the first call after it is over asks again.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		cred := &fakeCredential{get: func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, down }}
		s := sourceOf(cred)
		for range 6000 { // 100 a second for a minute
			if _, err := ask(s, context.Background()); !errors.Is(err, down) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := cred.calls.Load(); n > 8 {
			t.Errorf("%d requests in a minute", n)
		}
		cred.get = nil
		time.Sleep(maxBackoff)
		if _, err := ask(s, context.Background()); err != nil {
			t.Errorf("after recovery: %v", err)
		}
	})
}

// The credential's own cache may answer with an old token: then it is asked
// past that cache, and if that fails too the token is not presented.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := time.Now()
		honest := true
		cred := &fakeCredential{get: func(_ int64, claims string) (azcore.AccessToken, error) {
			if claims != "" && honest {
				issued = time.Now()
			}
			return azcore.AccessToken{Token: jwt(map[string]any{"iat": issued.Unix()}), ExpiresOn: issued.Add(time.Hour)}, nil
		}}
		s := sourceOf(cred)
		s.maxAge = 5 * time.Minute
		for range 10 {
			tok, err := ask(s, context.Background())
			if err != nil || time.Since(tok.issued) > s.maxAge {
				t.Fatalf("%v: a token %s old", err, time.Since(tok.issued))
			}
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		honest = false
		time.Sleep(10 * time.Minute)
		if _, err := ask(s, context.Background()); err == nil || !strings.Contains(err.Error(), "raise aad_token_max_age") {
			t.Errorf("got %v", err)
		}
	})
}

// A credential's cache that keeps answering with a token that is due for renewal
// is not asked with every connect.
func TestRefreshOnInThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{get: func(int64, string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Hour), RefreshOn: time.Now().Add(-time.Minute)}, nil
		}}
		s := sourceOf(cred)
		for range 600 { // a minute
			if _, err := ask(s, context.Background()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := cred.calls.Load(); n > 3 {
			t.Errorf("%d requests in a minute", n)
		}
	})
}

func TestExpiredToken(t *testing.T) {
	cred := &fakeCredential{get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(-time.Second)}, nil
	}}
	if _, err := ask(sourceOf(cred), context.Background()); err == nil || !strings.Contains(err.Error(), "check this machine's clock") {
		t.Errorf("got %v", err)
	}
}

// steady connects as a pool does, 200 times a second for d, and tells how long
// callers waited for a token and how many got none.
func steady(s *source, d time.Duration) (waited time.Duration, failed int) {
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		wg.Go(func() {
			began := time.Now()
			t, err := ask(s, context.Background())
			mu.Lock()
			defer mu.Unlock()
			waited = max(waited, time.Since(began))
			if err != nil || !t.live(time.Now()) {
				failed++
			}
		})
	}
	wg.Wait()
	return waited, failed
}

// Tokens of six seconds' life under load: nobody waits for a renewal.
func TestExpiryUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{get: lives(6 * time.Second), delay: 100 * time.Millisecond}
		s := sourceOf(cred)
		if _, err := ask(s, t.Context()); err != nil {
			t.Fatal(err)
		}
		waited, failed := steady(s, 30*time.Second)
		if n := cred.calls.Load(); waited != 0 || failed != 0 || n < 9 || n > 11 {
			t.Errorf("waited up to %s, %d failed, %d requests", waited, failed, n)
		}
	})
}

// The authority is down for a minute. With a live token nobody notices; without
// one each caller hears the cause at once, and the authority little.
func TestAuthorityDown(t *testing.T) {
	down := errors.New("down")
	for _, live := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cred := &fakeCredential{get: lives(6 * time.Minute)}
			s := sourceOf(cred)
			if live {
				if _, err := ask(s, t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Minute) // a renewal is due, the token lives on
			}
			cred.calls.Store(0)
			cred.get = func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, down }
			began := time.Now()
			for n := 0; time.Since(began) < time.Minute; n++ { // 100 a second
				asked := time.Now()
				_, err := ask(s, t.Context())
				if live && err != nil || !live && !errors.Is(err, down) || time.Since(asked) != 0 {
					t.Fatalf("attempt %d: %v after %s", n, err, time.Since(asked))
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := cred.calls.Load(); n > 8 {
				t.Errorf("%d requests", n)
			}
			cred.get = nil
			time.Sleep(maxBackoff)
			if _, err := ask(s, t.Context()); err != nil {
				t.Errorf("the first after recovery: %v", err)
			}
		})
	}
}

// A clock that jumps an hour in either direction costs one request, and no
// failure.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{get: lives(65 * time.Minute)}
		s := sourceOf(cred)
		one := func(want int64) {
			t.Helper()
			if _, err := ask(s, t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if n := cred.calls.Load(); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		}
		one(1)
		time.Sleep(time.Hour) // forward: due, and renewed while it serves
		one(2)
		one(2)
		back := *s.current.Load() // back: the token comes from the future
		for _, at := range []*time.Time{&back.issued, &back.from, &back.refresh, &back.expires} {
			*at = at.Add(time.Hour)
		}
		s.current.Store(&back)
		one(3)
		one(3)
		// Back while a failure is remembered: the wait is not stretched.
		cred.get = func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, errors.New("down") }
		s.current.Store(nil)
		ask(s, t.Context())
		s.retry = s.retry.Add(time.Hour)
		cred.get = nil
		one(5)
	})
}

// Where the authority says how long to leave it alone, it is left alone.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"90"}}, Body: http.NoBody}
		cred := &fakeCredential{get: func(n int64, _ string) (azcore.AccessToken, error) {
			if n == 1 {
				return azcore.AccessToken{}, &azidentity.AuthenticationFailedError{RawResponse: resp}
			}
			return lives(time.Hour)(n, "")
		}}
		s := sourceOf(cred)
		began := time.Now()
		for {
			_, err := ask(s, t.Context())
			if err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if d := time.Since(began); d != 90*time.Second || cred.calls.Load() != 2 {
			t.Errorf("asked again after %s, %d requests", d, cred.calls.Load())
		}
	})
}

// A thousand pools of one identity that open at once ask once; a hundred
// goroutines on each find no race.
func TestManyPools(t *testing.T) {
	clean(t)
	cred := &fakeCredential{delay: 20 * time.Millisecond}
	pools := make([]*Connector, 1000)
	var wg sync.WaitGroup
	for i := range pools {
		wg.Go(func() {
			var err error
			if pools[i], err = NewConnector("host=h user=u", WithCredential(cred)); err != nil {
				t.Error(err)
				return
			}
			if _, err := ask(pools[i].tokens, t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range 100 {
		wg.Go(func() {
			c, err := NewConnector("host=h user=u", WithCredential(cred))
			if err != nil {
				t.Error(err)
				return
			}
			for range 100 {
				if _, err := ask(c.tokens, t.Context()); err != nil {
					t.Error(err)
				}
				c.Stats()
			}
			c.Close()
		})
	}
	wg.Wait()
	if st := pools[0].Stats(); cred.calls.Load() != 1 || st.TokenRequests != 1 || st.TokenExpires.IsZero() {
		t.Errorf("%d requests, %+v", cred.calls.Load(), st)
	}
}

// A caller that looked before the token came, and acts after, asks no second time.
func TestLateCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{}
		s := sourceOf(cred)
		if _, err := ask(s, t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.start(nil, "", time.Now(), quiet).Token(t.Context()); err != nil || got != s.current.Load() || cred.calls.Load() != 1 {
			t.Errorf("%v, %d requests", err, cred.calls.Load())
		}
	})
}

// Expire by value: a refused token that was replaced already costs nothing, and
// one for which there is no other is not asked for again.
func TestNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{get: lives(time.Hour)}
		s := sourceOf(cred)
		first, err := ask(s, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, f := s.newer(first, quiet)
		second, err := f.Token(t.Context())
		if err != nil || second.value != "xx" {
			t.Fatalf("%v, %v", second, err)
		}
		if got, f := s.newer(first, quiet); f != nil || got != second || cred.calls.Load() != 2 {
			t.Errorf("replaced already: %v, %d requests", got, cred.calls.Load())
		}
		cred.get = func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, errors.New("down") }
		if _, f := s.newer(second, quiet); f.failure() != nil || cred.calls.Load() != 2 {
			t.Error("what came just now is asked for again: many pools would ask one after the other")
		}
		time.Sleep(time.Second)
		_, f = s.newer(second, quiet)
		if _, err := f.Token(t.Context()); err == nil {
			t.Error("it is down")
		}
		if got, err := ask(s, t.Context()); err != nil || got != second {
			t.Errorf("a failed request cost the token at hand: %v", err)
		}
		time.Sleep(maxBackoff)
		cred.get = func(int64, string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "xx", ExpiresOn: time.Now().Add(time.Hour)}, nil
		}
		for range 10 {
			t1, f := s.newer(s.current.Load(), quiet)
			if f != nil {
				t1, err = f.Token(t.Context())
			}
			if err != nil || t1.value != "xx" {
				t.Errorf("%v, %v", t1, err)
			}
		}
		if n := cred.calls.Load(); n != 5 { // one by the cache, one past it
			t.Errorf("%d requests", n)
		}
	})
}

// Closing the last connector ends the request under way; a failure so made is
// not remembered.
func TestCloseEndsTheRequest(t *testing.T) {
	clean(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &fakeCredential{delay: time.Hour}
		var cs [2]*Connector
		for i := range cs {
			var err error
			if cs[i], err = NewConnector("host=h user=u", WithCredential(cred)); err != nil {
				t.Fatal(err)
			}
		}
		_, f := cs[0].tokens.get(quiet)
		cs[0].Close()
		cs[0].Close()
		synctest.Wait()
		if f.failure() != nil {
			t.Error("the request of another was ended")
		}
		cs[1].Close()
		synctest.Wait()
		if !errors.Is(f.failure(), context.Canceled) {
			t.Errorf("the request goes on: %v", f.failure())
		}
		cred.delay = 0
		if _, err := ask(cs[0].tokens, t.Context()); err != nil {
			t.Errorf("remembered: %v", err)
		}
	})
}

// A request that the last connector's Close has ended is nobody else's.
func TestNobodyJoinsAnEndedRequest(t *testing.T) {
	clean(t)
	cred := &fakeCredential{delay: 5 * time.Millisecond}
	for range 200 {
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		s := c.tokens.(*source)
		s.current.Store(nil)
		s.get(c.log)
		c.Close()
		next, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
		next.Close()
	}
}

// What no server would take is not kept: where the credential's cache answers with
// it again, it is asked past that, and a failure has its backoff.
func TestUnfitTokenIsNotKept(t *testing.T) {
	for name, bad := range map[string]string{"of another resource": jwt(map[string]any{"aud": "https://vault.azure.net"}), "of a megabyte": strings.Repeat("x", 1<<20)} {
		synctest.Test(t, func(t *testing.T) {
			cached, healed := "", false
			past := 0
			cred := &fakeCredential{get: func(_ int64, claims string) (azcore.AccessToken, error) {
				if claims != "" {
					past++
				}
				if cached == "" || claims != "" {
					if cached = bad; healed {
						cached = jwt(map[string]any{"aud": "https://ossrdbms-aad.database.windows.net"})
					}
				}
				return azcore.AccessToken{Token: cached, ExpiresOn: time.Now().Add(time.Hour)}, nil
			}}
			s := sourceOf(cred)
			if _, err := ask(s, t.Context()); err == nil || past != 0 {
				t.Errorf("%s: %v, asked past the cache %d times", name, err, past)
			}
			for range 100 {
				if _, err := ask(s, t.Context()); err == nil {
					t.Errorf("%s: it is taken", name)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if past > 4 {
				t.Errorf("%s: in ten seconds asked past the cache %d times", name, past)
			}
			healed = true
			began := time.Now()
			for time.Since(began) < time.Minute {
				if _, err := ask(s, t.Context()); err == nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if d := time.Since(began); d > 16*time.Second { // the fifth step
				t.Errorf("%s: back after %s", name, d)
			}
		})
	}
}
