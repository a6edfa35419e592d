package token

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A cachingFetcher has a cache like MSAL's: it returns the same token until five minutes
// before its end, or until RefreshOn, unless it is asked past its cache.
type cachingFetcher struct {
	life, refreshOn time.Duration // refreshOn 0: none
	noPast          error         // of each request past the cache; nil: it gets a new token
	noCache         bool
	issued          func(now time.Time) // is called for each token that the authority issues
	past            int                 // requests past the cache

	number  int
	current Response
}

func (f *cachingFetcher) fetch(_ int, r Request) (Response, error) {
	now := time.Now()
	due := f.current.ExpiresOn.Add(-refreshBefore)
	if f.refreshOn != 0 {
		due = f.current.RefreshOn
	}
	if !r.IssuedAfter.IsZero() {
		f.past++
		if f.noPast != nil {
			return Response{}, f.noPast
		}
	} else if now.Before(due) && !f.noCache {
		return f.current, nil
	}
	if f.issued != nil {
		f.issued(now)
	}
	f.number++
	f.current = Response{Value: fmt.Sprint("token-", f.number), ExpiresOn: now.Add(f.life)}
	if f.refreshOn != 0 {
		f.current.RefreshOn = now.Add(f.refreshOn)
	}
	return f.current, nil
}

// A refresh that comes before the credential's own cache has a newer token asks past that
// cache. If that fails, the old token serves until it is due, and nothing else is asked.
func TestEarlyRefresh(t *testing.T) {
	rows := []struct {
		name      string
		pastCache bool
		noPast    error
		noCache   bool
		wantPast  int
		wantAt    [2]time.Duration // from when to when the second token comes
	}{
		{"a cache", true, nil, false, 1, [2]time.Duration{34 * time.Minute, 55 * time.Minute}},
		{"a cache that cannot be passed", true, errDown, false, 1, [2]time.Duration{55 * time.Minute, 56 * time.Minute}},
		{"a cache that must not be passed", false, nil, false, 0, [2]time.Duration{55 * time.Minute, 56 * time.Minute}},
		{"no cache", true, nil, true, 0, [2]time.Duration{34 * time.Minute, 55 * time.Minute}},
		{"no cache, and none must be passed", false, nil, true, 0, [2]time.Duration{34 * time.Minute, 55 * time.Minute}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log recorder
				own := &cachingFetcher{life: time.Hour, noPast: row.noPast, noCache: row.noCache}
				f := &fakeFetcher{get: own.fetch}
				c := NewCache(Config{Fetcher: f, Scope: "scope", Timeout: 30 * time.Second, PastCache: row.pastCache})
				began := time.Now()
				first := mustAwait(t, c)
				for {
					got, _ := c.Token(&log)
					if !got.Valid(time.Now()) {
						t.Fatalf("after %s the token is %v, want a valid one", time.Since(began), got)
					}
					if got.Value != first.Value {
						break
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if got := time.Since(began); got < row.wantAt[0] || got > row.wantAt[1] {
					t.Errorf("the second token came after %s, want %s to %s", got, row.wantAt[0], row.wantAt[1])
				}
				if own.past != row.wantPast {
					t.Errorf("got %d requests past the cache, want %d", own.past, row.wantPast)
				}
				if got := f.calls.Load(); got > 5 {
					t.Errorf("got %d requests, want 5 at most", got)
				}
				if got := c.Stats().Failures; got != 0 {
					t.Errorf("Stats().Failures = %d, want 0", got)
				}
			})
		})
	}
}

// What comes past the cache too early is presented only if it is a token, and not worse than
// the one that there is.
func TestEarlyRefreshKeepsTheBetterToken(t *testing.T) {
	rows := []struct {
		name     string
		response Response
		left     time.Duration // of the response's token
		want     string
	}{
		{"newer", Response{Value: "newer"}, time.Hour, "newer"},
		{"not a token", Response{Value: "a\nb"}, time.Hour, "first"},
		{"for another resource", Response{Value: "eyJhbGciOiJub25lIn0.eyJhdWQiOiJodHRwczovL3ZhdWx0LmF6dXJlLm5ldCJ9.x"}, time.Hour, "first"},
		{"shorter", Response{Value: "shorter"}, time.Minute, "first"},
		{"the same", Response{Value: "first"}, 6 * time.Minute, "first"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := time.Now().Add(time.Hour)
				past := 0
				f := &fakeFetcher{get: func(_ int, r Request) (Response, error) {
					if r.IssuedAfter.IsZero() {
						return Response{Value: "first", ExpiresOn: end}, nil
					}
					past++
					row.response.ExpiresOn = time.Now().Add(row.left)
					if row.want == "first" && row.response.Value == "first" {
						row.response.ExpiresOn = end
					}
					return row.response, nil
				}}
				c := NewCache(Config{Fetcher: f, Scope: "scope", Timeout: 30 * time.Second, PastCache: true})
				mustAwait(t, c)
				time.Sleep(54 * time.Minute)
				c.current.Load().refreshOn = time.Now().Round(0)
				mustAwait(t, c)
				synctest.Wait()
				if got := mustAwait(t, c).Value; got != row.want {
					t.Errorf("got token %q, want %q", got, row.want)
				}
				time.Sleep(30 * time.Second)
				mustAwait(t, c)
				synctest.Wait()
				if past != 1 {
					t.Errorf("got %d requests past the cache, want 1", past)
				}
			})
		})
	}
}

// An authority that wants to be left alone, when it is asked early, is left alone.
func TestEarlyRefreshObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		f := &fakeFetcher{get: func(_ int, r Request) (Response, error) {
			if r.IssuedAfter.IsZero() {
				return Response{Value: "x", ExpiresOn: end}, nil
			}
			return Response{Exchange: Exchange{RetryAfter: 3 * time.Minute}}, errDown
		}}
		c := NewCache(Config{Fetcher: f, Scope: "scope", Timeout: 30 * time.Second, PastCache: true})
		mustAwait(t, c)
		time.Sleep(54 * time.Minute)
		c.current.Load().refreshOn = time.Now().Round(0)
		mustAwait(t, c)
		synctest.Wait()
		f.wantCalls(t, 3)
		time.Sleep(3*time.Minute - time.Second)
		mustAwait(t, c)
		synctest.Wait()
		f.wantCalls(t, 3)
		time.Sleep(time.Second)
		mustAwait(t, c)
		synctest.Wait()
		f.wantCalls(t, 4)
	})
}

// A thousand processes that start together do not refresh together: after the third refresh
// of each, no minute has three times the mean. A second has a third of a request in the mean,
// so that its peak is chance's: it is logged, and not judged.
func TestFleet(t *testing.T) {
	const (
		processes = 1000
		every     = 30 // seconds between two connects of a process
	)
	rows := []struct {
		name            string
		life, refreshOn time.Duration
		noCache         bool
		hours           int
	}{
		{"no cache", time.Hour, 0, true, 6},
		{"a cache", time.Hour, 0, false, 6},
		{"a cache, life of 90 minutes", 90 * time.Minute, 0, false, 6},
		{"life of ten minutes", 10 * time.Minute, 0, true, 1},
		{"life of five minutes", 5 * time.Minute, 0, true, 1},
		{"RefreshOn at half of the life", time.Hour, 30 * time.Minute, false, 6},
		{"RefreshOn near the end", time.Hour, 54 * time.Minute, false, 6},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var mu sync.Mutex // guards the counts: each request has its goroutine
				seconds := make([]int, row.hours*3600)
				settled := 0 // the second after which all have had three refreshes
				caches := make([]*Cache, processes)
				for i := range caches {
					own := &cachingFetcher{life: row.life, refreshOn: row.refreshOn, noCache: row.noCache}
					own.issued = func(now time.Time) {
						mu.Lock()
						defer mu.Unlock()
						second := int(now.Sub(start) / time.Second)
						seconds[second]++
						if own.number == 4 {
							settled = max(settled, second)
						}
					}
					caches[i] = NewCache(Config{Fetcher: directFetcher{own}, Scope: "scope", Timeout: 30 * time.Second, PastCache: true})
				}
				for second := range seconds {
					for i := second % every; i < processes; i += every {
						got, call := caches[i].Token(quiet)
						if call != nil {
							call.Token(t.Context())
						} else if !got.Valid(time.Now()) {
							t.Fatalf("after %d s process %d has no valid token", second, i)
						}
					}
					time.Sleep(time.Second)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				checkSpread(t, seconds[settled+1:])
			})
		})
	}
}

// checkSpread checks that no minute has three times the mean.
func checkSpread(t *testing.T, seconds []int) {
	t.Helper()
	total, peakSecond := 0, 0
	for _, n := range seconds {
		total += n
		peakSecond = max(peakSecond, n)
	}
	peakMinute := 0
	for minute := range slices.Chunk(seconds, 60) {
		sum := 0
		for _, n := range minute {
			sum += n
		}
		peakMinute = max(peakMinute, sum)
	}
	mean := float64(total) / float64(len(seconds))
	peak := float64(peakMinute) / 60
	t.Logf("requests a second: mean %.3f, peak of a minute %.3f (%.2f times), peak of a second %d; over %d s", mean, peak, peak/mean, peakSecond, len(seconds))
	if peak > 3*mean {
		t.Errorf("the peak is %.3f requests a second, want at most three times the mean of %.3f", peak, mean)
	}
}

// A directFetcher takes no time.
type directFetcher struct{ own *cachingFetcher }

// Fetch implements Fetcher.
func (f directFetcher) Fetch(_ context.Context, r Request) (Response, error) {
	return f.own.fetch(0, r)
}

// CloseIdle implements Fetcher.
func (directFetcher) CloseIdle() {}
