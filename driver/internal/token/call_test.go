package token

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// callOf returns the call of a request that takes a second, as f says.
func callOf(t *testing.T, f func(int, Request) (Response, error)) *Call {
	t.Helper()
	_, call := cacheOf(&fakeFetcher{delay: time.Second, get: f}).Token(quiet)
	if call == nil {
		t.Fatal("Token() returns no call, want one")
	}
	return call
}

// A caller whose time is up still gets what is there.
func TestCallThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := callOf(t, lifetime(time.Hour))
		canceled, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("no time"))
		_, err := call.Token(canceled)
		wantError(t, err, "waiting for the token: context canceled")
		time.Sleep(2 * time.Second)
		for range 100 { // select would choose at random
			got, err := call.Token(canceled)
			if err != nil || got.Value != "x" {
				t.Fatalf("Token() = %v, %v, want the token", got, err)
			}
		}
	})
}

func TestCallErr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := callOf(t, fail)
		wantError(t, call.Err(), "") // under way
		time.Sleep(2 * time.Second)
		if got := call.Err(); !errors.Is(got, errDown) {
			t.Errorf("Err() = %v, want %v", got, errDown)
		}
		succeeded := callOf(t, lifetime(time.Hour))
		time.Sleep(2 * time.Second)
		wantError(t, succeeded.Err(), "")
	})
}

func TestReturned(t *testing.T) {
	rows := []struct {
		name  string
		fetch func(int, Request) (Response, error)
		wait  time.Duration // since the request, which takes a second
		value string
		want  bool
	}{
		{"the same token", lifetime(time.Hour), 2 * time.Second, "x", true},
		{"another token", lifetime(time.Hour), 2 * time.Second, "xx", false},
		{"a failure", fail, 2 * time.Second, "x", false},
		{"under way", lifetime(time.Hour), 0, "x", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := callOf(t, row.fetch)
				time.Sleep(row.wait)
				got := call.Returned(&Token{Value: row.value})
				if got != row.want {
					t.Errorf("Returned() = %t, want %t", got, row.want)
				}
				time.Sleep(2 * time.Second) // until the request has ended
			})
		})
	}
}

// The context ends with a request that fails. A request that succeeds ends nothing.
func TestWithCancelOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := callOf(t, fail).WithCancelOnFailure(t.Context())
		defer stop()
		wantError(t, ctx.Err(), "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := ctx.Err(); !errors.Is(got, context.Canceled) {
			t.Errorf("Err() = %v, want %v", got, context.Canceled)
		}

		ctx, stop = callOf(t, lifetime(time.Hour)).WithCancelOnFailure(t.Context())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantError(t, ctx.Err(), "")
		stop()
		if got := ctx.Err(); !errors.Is(got, context.Canceled) {
			t.Errorf("Err() = %v, want %v", got, context.Canceled)
		}
	})
}

// One caller of a call may dial while it waits. None may if the token is expected late: a
// person must act for it, or the request before took more than MaxHold, whatever came of
// it.
func TestOverlap(t *testing.T) {
	rows := []struct {
		name        string
		interactive bool
		delays      []time.Duration // of the requests before
		fails       bool            // the request before
		want        bool            // of the first caller
	}{
		{name: "first request", want: true},
		{name: "after a fast request", delays: []time.Duration{time.Second}, want: true},
		{name: "after a slow request", delays: []time.Duration{MaxHold + time.Millisecond}, want: false},
		{name: "after a slow request that failed", delays: []time.Duration{MaxHold + time.Millisecond}, fails: true, want: false},
		{name: "after a slow and a fast request", delays: []time.Duration{2 * MaxHold, 0}, want: true},
		{name: "interactive", interactive: true, want: false},
		{name: "interactive, after a fast request", interactive: true, delays: []time.Duration{0}, want: false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetcher{get: lifetime(time.Hour)}
				if row.fails {
					f.get = fail
				}
				c := NewCache(Config{Fetcher: f, Scope: "s", Timeout: time.Minute, Interactive: row.interactive})
				for _, delay := range row.delays {
					f.delay = delay
					_, call := c.Token(quiet)
					call.Token(t.Context())   // its result does not matter
					time.Sleep(2 * time.Hour) // the token expires, and the backoff is over
				}
				_, call := c.Token(quiet)
				if got := call.Overlap(); got != row.want {
					t.Errorf("Overlap() of the first caller = %t, want %t", got, row.want)
				}
				_, same := c.Token(quiet)
				if same.Overlap() {
					t.Error("Overlap() of the second caller = true, want false")
				}
				time.Sleep(time.Minute) // until the request has ended
			})
		})
	}
}
