package token

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Without a token a failure is remembered, so that a pool that retries cannot flood the
// authority. The first call after the backoff makes a request again.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: fail}
		c := cacheOf(f)
		for range 6000 { // 100 a second for a minute
			_, err := await(t.Context(), c)
			if !errors.Is(err, errDown) {
				t.Fatalf("got error %v, want %v", err, errDown)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := f.calls.Load(); got > 8 {
			t.Errorf("got %d requests in a minute, want 8 at most", got)
		}
		f.get = nil
		time.Sleep(maxBackoff)
		_, err := await(t.Context(), c)
		wantError(t, err, "")
	})
}

// However many requests have failed, the next one is made after maxBackoff.
func TestBackoffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: fail}
		c := cacheOf(f)
		for range 20 {
			await(t.Context(), c)
			time.Sleep(maxBackoff)
		}
		f.wantCalls(t, 20)
	})
}

// Many processes that fail at once do not retry at once.
func TestBackoffIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 20 {
			f := &fakeFetcher{get: fail}
			c := cacheOf(f)
			began := time.Now()
			for f.calls.Load() < 2 {
				await(t.Context(), c)
				time.Sleep(time.Millisecond)
			}
			wait := time.Since(began)
			if wait < minBackoff/2 || wait > minBackoff+2*time.Millisecond {
				t.Errorf("the second request came after %s, want %s to %s", wait, minBackoff/2, minBackoff)
			}
			waits[wait] = true
		}
		if got := len(waits); got < 5 {
			t.Errorf("got %d different waits of 20, want 5 at least", got)
		}
	})
}

// Requests that follow a failure are made once each: the cache waits between them.
func TestNoRetryDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bool
		c := cacheOf(&fakeFetcher{get: func(call int, r Request) (Response, error) {
			got = r.NoRetry
			if call < 3 {
				return Response{}, errDown
			}
			return lifetime(time.Minute)(call, r)
		}})
		rows := []struct {
			name string
			want bool
		}{
			{"first request", false},
			{"after a failure", true},
			{"after two failures", true},
			{"after a success", false},
		}
		for _, row := range rows { // each continues the one before
			await(t.Context(), c)
			if got != row.want {
				t.Errorf("%s: NoRetry = %t, want %t", row.name, got, row.want)
			}
			time.Sleep(2 * maxBackoff)
		}
	})
}

// The authority is down for a minute. With a valid token nobody notices. Without one each
// caller gets the cause at once, and the authority few requests.
func TestAuthorityDown(t *testing.T) {
	rows := []struct {
		name  string
		valid bool // there is a valid token
		want  error
	}{
		{"with a valid token", true, nil},
		{"without a token", false, errDown},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetcher{get: lifetime(6 * time.Minute)}
				c := cacheOf(f)
				if row.valid {
					mustAwait(t, c)
					time.Sleep(4 * time.Minute) // a refresh is due, and the token is still valid
				}
				f.calls.Store(0)
				f.get = fail
				began := time.Now()
				for n := 0; time.Since(began) < time.Minute; n++ { // 100 a second
					called := time.Now()
					_, err := await(t.Context(), c)
					if !errors.Is(err, row.want) {
						t.Fatalf("attempt %d: got error %v, want %v", n, err, row.want)
					}
					if got := time.Since(called); got != 0 {
						t.Fatalf("attempt %d: the caller waited %s, want 0s", n, got)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if got := f.calls.Load(); got > 8 {
					t.Errorf("got %d requests, want 8 at most", got)
				}
				f.get = nil
				time.Sleep(maxBackoff)
				_, err := await(t.Context(), c)
				wantError(t, err, "")
			})
		})
	}
}

// If the authority says how long it wants to be left alone, it is left alone.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: func(call int, r Request) (Response, error) {
			if call == 1 {
				return Response{Exchange: Exchange{RetryAfter: 90 * time.Second}}, errors.New("HTTP 429")
			}
			return lifetime(time.Hour)(call, r)
		}}
		c := cacheOf(f)
		began := time.Now()
		for {
			_, err := await(t.Context(), c)
			if err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if got := time.Since(began); got != 90*time.Second {
			t.Errorf("the next request came after %s, want 1m30s", got)
		}
		f.wantCalls(t, 2)
	})
}
