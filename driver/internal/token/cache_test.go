package token

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSingleRequestForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{delay: time.Second}
		c := cacheOf(f)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := await(context.Background(), c)
				wantError(t, err, "")
			})
		}
		wg.Wait()
		f.wantCalls(t, 1)
		if got := c.Stats().Waits; got != 99 {
			t.Errorf("Stats().Waits = %d, want 99", got)
		}
	})
}

// A caller that gives up returns at once. The request goes on for the others.
func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cacheOf(&fakeFetcher{delay: 5 * time.Second})
		other := make(chan error, 1)
		go func() {
			_, err := await(context.Background(), c)
			other <- err
		}()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := await(ctx, c)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		wantHint(t, err, "allow more time, or check")
		if got := time.Since(began); got != time.Second {
			t.Errorf("the caller waited %s, want 1s", got)
		}
		wantError(t, <-other, "")
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cacheOf(&fakeFetcher{delay: time.Hour})
		began := time.Now()
		_, err := await(context.Background(), c)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		wantHint(t, err, "raise aad_token_timeout")
		if got := time.Since(began); got != 30*time.Second {
			t.Errorf("the request took %s, want 30s", got)
		}
	})
}

// loadTest connects as a pool does, 200 times a second for d. It returns how long callers
// waited for a token at most, and how many got none that is valid.
func loadTest(c *Cache, d time.Duration) (longest time.Duration, failed int) {
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		wg.Go(func() {
			began := time.Now()
			got, err := await(context.Background(), c)
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(began))
			if err != nil || !got.Valid(time.Now()) {
				failed++
			}
		})
	}
	wg.Wait()
	return longest, failed
}

// Tokens that live for six seconds, under load: nobody waits for a refresh.
func TestExpiryUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: lifetime(6 * time.Second), delay: 100 * time.Millisecond}
		c := cacheOf(f)
		mustAwait(t, c)
		longest, failed := loadTest(c, 30*time.Second)
		if longest != 0 {
			t.Errorf("a caller waited %s, want 0s", longest)
		}
		if failed != 0 {
			t.Errorf("%d callers got no valid token, want 0", failed)
		}
		if got := f.calls.Load(); got < 9 || got > 11 {
			t.Errorf("got %d requests, want 9 to 11", got)
		}
	})
}

// A caller that looked before the token arrived, and acts afterwards, makes no second
// request.
func TestLateCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{}
		c := cacheOf(f)
		want := mustAwait(t, c)
		got, err := c.start(nil, false, time.Now(), quiet).Token(t.Context())
		wantError(t, err, "")
		if got != want {
			t.Errorf("start() returns the token %p, want %p", got, want)
		}
		f.wantCalls(t, 1)
	})
}

// A rejected token that is replaced already costs nothing, and one for which there is no
// other is not requested again and again.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: lifetime(time.Hour)}
		c := cacheOf(f)
		first := mustAwait(t, c)
		second, err := c.Refresh(first, quiet).Token(t.Context())
		if err != nil || second.Value != "xx" {
			t.Fatalf("Refresh() = %v, %v, want the second token", second, err)
		}

		got, err := c.Refresh(first, quiet).Token(t.Context())
		wantError(t, err, "")
		if got != second {
			t.Errorf("replaced already: got token %p, want %p", got, second)
		}
		f.wantCalls(t, 2)

		f.get = fail
		got, err = c.Refresh(second, quiet).Token(t.Context())
		wantError(t, err, "") // many pools would request one after the other
		if got != second {
			t.Errorf("received just now: got token %p, want %p", got, second)
		}
		f.wantCalls(t, 2)

		time.Sleep(time.Second)
		_, err = c.Refresh(second, quiet).Token(t.Context())
		if !errors.Is(err, errDown) {
			t.Errorf("got error %v, want %v", err, errDown)
		}
		if got := mustAwait(t, c); got != second {
			t.Errorf("after a failed request: got token %p, want %p", got, second)
		}

		time.Sleep(maxBackoff)
		f.get = func(int, Request) (Response, error) {
			return Response{Value: "xx", ExpiresOn: time.Now().Add(time.Hour)}, nil
		}
		for range 10 {
			got, err := c.Refresh(mustAwait(t, c), quiet).Token(t.Context())
			wantError(t, err, "")
			if got == nil || got.Value != "xx" {
				t.Errorf("there is no other: got token %v, want the second one", got)
			}
		}
		f.wantCalls(t, 5) // the last two by the fetcher's cache and past it
	})
}

// A caller that gets a valid token does not wait, although a refresh is under way.
func TestWaitsAreThoseWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: lifetime(time.Hour), delay: time.Second}
		c := cacheOf(f)
		mustAwait(t, c)
		time.Sleep(56 * time.Minute)
		for range 3 {
			mustAwait(t, c)
		}
		time.Sleep(2 * time.Second)
		f.wantCalls(t, 2)
		if got := c.Stats().Waits; got != 0 {
			t.Errorf("Stats().Waits = %d, want 0", got)
		}
	})
}

// The last user's release cancels the request under way. Such a failure is not
// remembered, and nobody joins the request any more.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{delay: time.Hour}
		c := cacheOf(f)
		var log recorder
		c.Retain()
		_, call := c.Token(&log)
		c.Release()
		synctest.Wait()
		wantError(t, call.Err(), "") // another user wants it

		c.Release()
		f.delay = time.Second // of the next request
		_, next := c.Token(quiet)
		if next == call {
			t.Error("Token() returns the canceled call, want a new one")
		}
		synctest.Wait()
		if got := call.Err(); !errors.Is(got, context.Canceled) {
			t.Errorf("Err() = %v, want %v", got, context.Canceled)
		}
		if _, joined := c.Token(quiet); joined != next {
			t.Errorf("Token() returns the call %p, want %p: the canceled one has ended it", joined, next)
		}
		_, err := next.Token(t.Context())
		wantError(t, err, "")
		f.wantCalls(t, 2)
		if got := c.Stats().Failures; got != 0 {
			t.Errorf("Stats().Failures = %d, want 0", got)
		}
		if log.Len() > 0 {
			t.Errorf("observed %q, want nothing", log.String())
		}
	})
}

// What somebody waits for is not canceled: neither by the last user's release, nor by
// another waiter who gives up. When the last of them has gone, it is canceled.
func TestReleaseKeepsWhatSomebodyWaitsFor(t *testing.T) {
	waits := []struct {
		name string
		wait func(context.Context, *Call) error
	}{
		{"Token", func(ctx context.Context, call *Call) error {
			_, err := call.Token(ctx)
			return err
		}},
		{"WithCancelOnFailure", func(ctx context.Context, call *Call) error {
			ctx, stop := call.WithCancelOnFailure(ctx)
			defer stop()
			select {
			case <-call.done:
				return call.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
	}
	for _, row := range waits {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetcher{delay: 10 * time.Second}
				c := cacheOf(f)
				_, call := c.Token(quiet)
				waited := make(chan error, 1)
				go func() { waited <- row.wait(t.Context(), call) }()
				impatient, cancel := context.WithCancel(t.Context())
				go row.wait(impatient, call)
				synctest.Wait()
				c.Release()
				cancel()
				synctest.Wait()
				wantError(t, call.Err(), "")
				wantError(t, <-waited, "")
				f.wantCalls(t, 1)

				time.Sleep(2 * time.Hour) // until the token has expired
				_, call = c.Token(quiet)
				alone, cancel := context.WithCancel(t.Context())
				go row.wait(alone, call)
				synctest.Wait()
				cancel()
				synctest.Wait()
				if got := call.Err(); !errors.Is(got, context.Canceled) {
					t.Errorf("after the last waiter has gone: Err() = %v, want %v", got, context.Canceled)
				}
			})
		})
	}
}

// A call that was canceled before somebody waited for it is made again for the first one who does.
func TestAbandonedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{delay: time.Second}
		c := cacheOf(f)
		_, call := c.Token(quiet)
		c.Release()
		got, err := call.Token(t.Context())
		if err != nil || !got.Valid(time.Now()) {
			t.Errorf("Token() = %v, %v, want a valid token", got, err)
		}
		if !call.Abandoned() {
			t.Error("Abandoned() = false, want true")
		}
		ctx, stop := call.WithCancelOnFailure(t.Context())
		synctest.Wait()
		if ctx.Err() != nil {
			t.Errorf("the context of WithCancelOnFailure ends with %v, want none", context.Cause(ctx))
		}
		stop()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = call.Token(over)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that is over: got error %v, want %v", err, context.Canceled)
		}
		f.wantCalls(t, 2)
	})
}

// The last release closes what the fetcher holds open. So does each that follows a use.
func TestReleaseClosesIdleConnections(t *testing.T) {
	f := &fakeFetcher{}
	c := cacheOf(f)
	c.Retain()
	steps := []struct {
		name string
		do   func()
		want int64
	}{
		{"the first of two users", c.Release, 0},
		{"the last user", c.Release, 1},
		{"another user", func() { c.Retain(); c.Release() }, 2},
	}
	for _, step := range steps { // each continues the one before
		step.do()
		if got := f.closed.Load(); got != step.want {
			t.Errorf("%s: CloseIdle was called %d times, want %d", step.name, got, step.want)
		}
	}
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetcher{get: fail}
		c := cacheOf(f)
		steps := []struct {
			name string
			do   func()
			want Stats
		}{
			{"none yet", func() {}, Stats{}},
			{"a failure", func() { await(t.Context(), c) }, Stats{Requests: 1, Failures: 1}},
			{"remembered", func() { await(t.Context(), c) }, Stats{Requests: 1, Failures: 1}},
			{"a success", func() {
				time.Sleep(maxBackoff)
				f.get = lifetime(time.Hour)
				mustAwait(t, c)
			}, Stats{Requests: 2, Failures: 1, ExpiresOn: time.Now().Add(maxBackoff + time.Hour).Round(0)}},
			{"a refresh", func() {
				time.Sleep(56 * time.Minute)
				mustAwait(t, c)
				synctest.Wait()
			}, Stats{Requests: 3, Failures: 1, Refreshes: 1, ExpiresOn: time.Now().Add(maxBackoff + 116*time.Minute).Round(0)}},
		}
		for _, step := range steps { // each continues the one before
			step.do()
			if got := c.Stats(); got != step.want {
				t.Errorf("%s: Stats() = %+v, want %+v", step.name, got, step.want)
			}
		}
	})
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		f := &fakeFetcher{get: fail, delay: time.Second}
		c := cacheOf(f)
		steps := []struct {
			name    string
			fetch   func(int, Request) (Response, error)
			sleep   time.Duration
			want    string
			retryIn bool
		}{
			{"a failure", fail, 0, "failed took=1s err=down retry_in=", true},
			{"a success", lifetime(time.Hour), maxBackoff, "fetched replaced=false took=1s expires=2000-01-01T01:00:", false},
			{"a refresh", lifetime(time.Hour), 56 * time.Minute, "fetched replaced=true took=1s expires=2000-01-01T01:56:", false},
		}
		for _, step := range steps { // each continues the one before
			time.Sleep(step.sleep)
			log.Reset()
			f.get = step.fetch
			_, call := c.Token(&log)
			if call != nil {
				call.Token(t.Context())
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			got := log.String()
			if !strings.Contains(got, step.want) {
				t.Errorf("%s: logged %q, want %q in it", step.name, got, step.want)
			}
			if n := strings.Count(got, "\n"); n != 1 {
				t.Errorf("%s: logged %d lines, want 1", step.name, n)
			}
		}
	})
}

// The latest response tells the clock's skew, also that of a request that failed. A request
// without a response changes nothing.
func TestSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := 3 * time.Minute
		f := &fakeFetcher{get: func(int, Request) (Response, error) {
			return Response{Exchange: Exchange{Skew: skew}}, errDown
		}}
		c := cacheOf(f)
		await(t.Context(), c)
		if got := c.Skew(); got != skew {
			t.Errorf("Skew() = %s, want %s", got, skew)
		}
		time.Sleep(maxBackoff)
		f.get = fail
		await(t.Context(), c)
		if got := c.Skew(); got != skew {
			t.Errorf("after a request without a response Skew() = %s, want %s", got, skew)
		}
		time.Sleep(maxBackoff)
		skew = time.Millisecond
		f.get = func(int, Request) (Response, error) {
			return Response{Value: "x", ExpiresOn: time.Now().Add(time.Hour), Exchange: Exchange{Skew: skew}}, nil
		}
		mustAwait(t, c)
		if got := c.Skew(); got != skew {
			t.Errorf("after the clock was set Skew() = %s, want %s", got, skew)
		}
	})
}

// A failed request tells what is known of its exchange.
func TestErrorHoldsTheExchange(t *testing.T) {
	rows := []struct {
		name     string
		exchange Exchange
		want     string // the error's text
	}{
		{"cause", Exchange{Endpoint: "https://login.example", Cause: "AADSTS1: no"}, "AADSTS1: no"},
		{"no cause", Exchange{Endpoint: "https://login.example"}, "down"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cacheOf(&fakeFetcher{get: func(int, Request) (Response, error) {
					return Response{Exchange: row.exchange}, errDown
				}})
				_, err := await(t.Context(), c)
				var failed *Error
				if !errors.As(err, &failed) {
					t.Fatalf("got %T, want *Error", err)
				}
				if failed.Exchange != row.exchange {
					t.Errorf("Exchange = %+v, want %+v", failed.Exchange, row.exchange)
				}
				if got := err.Error(); got != row.want {
					t.Errorf("Error() = %q, want %q", got, row.want)
				}
				if !errors.Is(err, errDown) {
					t.Errorf("got error %v, want it to wrap %v", err, errDown)
				}
			})
		})
	}
}
