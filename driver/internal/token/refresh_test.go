package token

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A token is refreshed in the background before it ends. The old one is presented
// meanwhile, and also if the refresh fails.
func TestRefreshAhead(t *testing.T) {
	rows := []struct {
		name            string
		life, noRefresh time.Duration // for that long no refresh is due
	}{
		{"life of an hour", time.Hour, 34 * time.Minute},
		{"life of six minutes", 6 * time.Minute, 112 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetcher{get: lifetime(row.life), delay: time.Second}
				c := cacheOf(f)
				mustAwait(t, c)
				want := func(when, value string) {
					t.Helper()
					began := time.Now()
					got := mustAwait(t, c).Value
					if took := time.Since(began); took != 0 {
						t.Errorf("%s: the caller waited %s, want 0s", when, took)
					}
					if got != value {
						t.Errorf("%s: got token %q, want %q", when, got, value)
					}
				}
				time.Sleep(row.noRefresh)
				want("before a refresh is due", "x")
				f.wantCalls(t, 1)
				time.Sleep(row.life - row.noRefresh - 30*time.Second)
				want("when it is due", "x")
				time.Sleep(2 * time.Second)
				want("after the refresh", "xx")
				f.get = fail
				time.Sleep(row.life - time.Minute)
				for range 10 {
					want("while the refresh fails", "xx")
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// The fetcher's own cache may return an old token. Then a request goes past that cache,
// and if that fails too the token is not presented.
func TestMaxAge(t *testing.T) {
	rows := []struct {
		name    string
		younger error // of the request past the cache, once it returns no younger token
		want    string
	}{
		{"the same token", nil, "the token is 15m0s old, and the credential returned no younger one"},
		{"a failure", errDown, "requesting a younger token: down"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const maxAge = 5 * time.Minute
				issuedAt := time.Now()
				renews := true
				f := &fakeFetcher{delay: time.Second, get: func(_ int, r Request) (Response, error) {
					if !r.IssuedAfter.IsZero() && renews {
						issuedAt = time.Now()
					}
					if !r.IssuedAfter.IsZero() && !renews && row.younger != nil {
						return Response{}, row.younger
					}
					return Response{Value: entratest.JWT(map[string]any{"iat": issuedAt.Add(-backdated).Unix()}), ExpiresOn: issuedAt.Add(time.Hour)}, nil
				}}
				c := NewCache(Config{Fetcher: f, Scope: "scope", MaxAge: maxAge, Timeout: 30 * time.Second})
				mustAwait(t, c)
				for range 10 {
					began := time.Now()
					got := mustAwait(t, c)
					if took := time.Since(began); took != 0 {
						t.Errorf("the caller waited %s, want 0s: a younger token was due before", took)
					}
					if age := time.Since(got.IssuedAt); age > maxAge {
						t.Fatalf("got a token %s old, want %s at most", age, maxAge)
					}
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				renews = false
				time.Sleep(15*time.Minute - 2*time.Second - time.Since(issuedAt)) // two requests take two seconds
				_, err := await(t.Context(), c)
				wantError(t, err, row.want)
				wantHint(t, err, "raise aad_token_max_age")
			})
		})
	}
}

// A cache of the fetcher that keeps returning a token that is due for a refresh is not
// asked with each connect.
func TestRefreshOnInThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: func(int, Request) (Response, error) {
			return Response{Value: "x", ExpiresOn: time.Now().Add(time.Hour), RefreshOn: time.Now().Add(-time.Minute)}, nil
		}}
		c := cacheOf(f)
		for range 600 { // a minute
			mustAwait(t, c)
			time.Sleep(100 * time.Millisecond)
		}
		if got := f.calls.Load(); got > 3 {
			t.Errorf("got %d requests in a minute, want 3 at most", got)
		}
	})
}

// A cache that returns the same token until it ends is asked now and then, and not past
// it: the token will do.
func TestSameTokenUntilItEnds(t *testing.T) {
	rows := []struct {
		name        string
		life        time.Duration
		from, until time.Duration // of the token's life
		least, most int64         // requests until then
	}{
		{"life of an hour", time.Hour, 56 * time.Minute, 57 * time.Minute, 2, 4},
		{"life of a minute", 65 * time.Second, 0, 62 * time.Second, 2, 2},
		{"life of less than a minute", 50 * time.Second, 0, 49 * time.Second, 4, 8},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := time.Now().Add(row.life)
				f := &fakeFetcher{get: func(_ int, r Request) (Response, error) {
					if !r.IssuedAfter.IsZero() {
						t.Errorf("IssuedAfter = %s, want none", r.IssuedAfter)
					}
					return Response{Value: "x", ExpiresOn: end}, nil
				}}
				c := cacheOf(f)
				began := time.Now()
				mustAwait(t, c)
				time.Sleep(row.from)
				for time.Since(began) < row.until {
					mustAwait(t, c)
					time.Sleep(100 * time.Millisecond)
				}
				if got := f.calls.Load(); got < row.least || got > row.most {
					t.Errorf("got %d requests, want %d to %d", got, row.least, row.most)
				}
			})
		})
	}
}

func TestExpiredToken(t *testing.T) {
	c := cacheOf(&fakeFetcher{get: lifetime(-time.Second)})
	_, err := await(t.Context(), c)
	wantError(t, err, "the token expired at ")
	wantHint(t, err, "check this machine's clock")
}

// The end that the fetcher names is its last word: no younger token is requested.
func TestExpiredTokenOfMaxAge(t *testing.T) {
	f := &fakeFetcher{get: lifetime(-time.Second)}
	c := NewCache(Config{Fetcher: f, Scope: "scope", MaxAge: time.Minute, Timeout: 30 * time.Second})
	_, err := await(t.Context(), c)
	wantError(t, err, "the token expired at ")
	f.wantCalls(t, 1)
}

// A clock that jumps an hour in either direction costs one request, and no failure. In a
// test's time no clock goes back: the times that the cache has noted are moved instead.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: lifetime(65 * time.Minute)}
		c := cacheOf(f)
		connect := func(wantCalls int64) {
			t.Helper()
			_, err := await(t.Context(), c)
			wantError(t, err, "")
			synctest.Wait()
			f.wantCalls(t, wantCalls)
		}
		connect(1)
		time.Sleep(time.Hour) // forward: a refresh is due, and the token is still valid
		connect(2)
		connect(2)
		future := *c.current.Load() // back: the token comes from the future
		for _, at := range []*time.Time{&future.IssuedAt, &future.notBefore, &future.refreshOn, &future.refreshBy, &future.ExpiresOn} {
			*at = at.Add(time.Hour)
		}
		c.current.Store(&future)
		connect(3)
		connect(3)
		// Back while a failure is remembered: the wait is not stretched.
		f.get = fail
		c.current.Store(nil)
		_, err := await(t.Context(), c)
		wantError(t, err, "down")
		c.mu.Lock()
		c.retryAt = c.retryAt.Add(time.Hour)
		c.mu.Unlock()
		f.get = nil
		connect(5)
		// Back after a rejected token was replaced: the next one is replaced too.
		c.mu.Lock()
		c.refreshedAt = time.Now().Round(0).Add(time.Hour)
		c.mu.Unlock()
		_, err = c.Refresh(mustAwait(t, c), quiet).Token(t.Context())
		wantError(t, err, "")
		f.wantCalls(t, 7) // by the fetcher's cache and past it
	})
}

// A token that no server would accept is not kept. If the fetcher's cache returns it
// again, a request goes past that cache, and a failure has its backoff.
func TestUnusableTokenIsNotKept(t *testing.T) {
	rows := []struct{ name, value string }{
		{"for another resource", entratest.JWT(map[string]any{"aud": "https://vault.azure.net"})},
		{"of a megabyte", strings.Repeat("x", 1<<20)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cached := ""
				issued := row.value
				past := 0 // requests past the fetcher's cache
				c := cacheOf(&fakeFetcher{get: func(_ int, r Request) (Response, error) {
					if !r.IssuedAfter.IsZero() {
						past++
						cached = ""
					}
					if cached == "" {
						cached = issued
					}
					return Response{Value: cached, ExpiresOn: time.Now().Add(time.Hour)}, nil
				}})
				_, err := await(t.Context(), c)
				if err == nil {
					t.Error("the token is accepted, want an error")
				}
				if past != 0 {
					t.Errorf("got %d requests past the cache, want none yet", past)
				}
				for range 100 {
					_, err := await(t.Context(), c)
					if err == nil {
						t.Error("the token is accepted later, want an error")
					}
					time.Sleep(100 * time.Millisecond)
				}
				if past > 4 {
					t.Errorf("got %d requests past the cache in ten seconds, want 4 at most", past)
				}
				issued = entratest.JWT(map[string]any{"aud": "https://ossrdbms-aad.database.windows.net"})
				began := time.Now()
				for time.Since(began) < time.Minute {
					_, err := await(t.Context(), c)
					if err == nil {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				if got := time.Since(began); got > 16*time.Second { // the fifth step of the backoff
					t.Errorf("a usable token came after %s, want 16s at most", got)
				}
			})
		})
	}
}

// If the request for a replacement fails, the fetcher's cache returns the rejected token
// all the same. That is a failure: the cache backs off, and the rejected token stays.
func TestFailedReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		f := &fakeFetcher{get: func(_ int, r Request) (Response, error) {
			if !r.IssuedAfter.IsZero() {
				return Response{}, errDown
			}
			return Response{Value: "rejected", ExpiresOn: end}, nil
		}}
		c := cacheOf(f)
		rejected := mustAwait(t, c)
		for range 2 {
			_, err := c.Refresh(rejected, quiet).Token(t.Context())
			if !errors.Is(err, errDown) {
				t.Errorf("got error %v, want %v", err, errDown)
			}
		}
		f.wantCalls(t, 3)
		if got := mustAwait(t, c); got != rejected {
			t.Errorf("got token %p, want %p", got, rejected)
		}
	})
}

// If a rejected token's replacement cannot be a token, the rejected one is kept.
func TestUnusableReplacement(t *testing.T) {
	c := cacheOf(&fakeFetcher{get: func(_ int, r Request) (Response, error) {
		value := "good"
		if !r.IssuedAfter.IsZero() {
			value = "a\nb"
		}
		return Response{Value: value, ExpiresOn: time.Now().Add(time.Hour)}, nil
	}})
	good := mustAwait(t, c)
	got, err := c.Refresh(good, quiet).Token(t.Context())
	if err != nil || got.Value != "good" {
		t.Errorf("Refresh() = %v, %v, want the first token", got, err)
	}
}

// A token that was rejected does not come back, although the fetcher's cache keeps it
// beside its replacement.
func TestRejectedTokenDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replacement := 0
		c := cacheOf(&fakeFetcher{get: func(_ int, r Request) (Response, error) {
			if r.IssuedAfter.IsZero() {
				return Response{Value: "rejected", ExpiresOn: time.Now().Add(time.Hour)}, nil
			}
			replacement++
			return Response{Value: "replacement" + strings.Repeat("+", replacement), ExpiresOn: time.Now().Add(2 * time.Minute)}, nil
		}})
		_, err := c.Refresh(mustAwait(t, c), quiet).Token(t.Context())
		wantError(t, err, "")
		for range 10 {
			if got := mustAwait(t, c).Value; got == "rejected" {
				t.Errorf("got token %q, want a replacement", got)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if replacement < 5 {
			t.Errorf("got %d replacements, want 5 at least: they live for two minutes", replacement)
		}
	})
}

// What the second of two requests knows is kept.
func TestExchangeOfTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var noRetry bool
		c := cacheOf(&fakeFetcher{get: func(call int, r Request) (Response, error) {
			if r.IssuedAfter.IsZero() {
				return Response{Value: "a\nb", ExpiresOn: time.Now().Add(time.Hour)}, nil
			}
			noRetry = r.NoRetry
			return Response{Exchange: Exchange{Endpoint: "https://login.example"}}, errDown
		}})
		await(t.Context(), c)
		time.Sleep(maxBackoff)
		_, err := await(t.Context(), c) // the token is unusable, so a request goes past the cache
		var failed *Error
		if !errors.As(err, &failed) {
			t.Fatalf("got %v, want *Error", err)
		}
		if got, want := failed.Exchange.Endpoint, "https://login.example"; got != want {
			t.Errorf("Endpoint = %q, want %q", got, want)
		}
		if !noRetry {
			t.Error("NoRetry = false, want true: a failure came before")
		}
	})
}
