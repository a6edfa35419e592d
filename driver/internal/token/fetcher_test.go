package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
)

var errDown = errors.New("down")

// A recorder is an Observer that writes a line for each call.
type recorder struct{ bytes.Buffer }

func (r *recorder) TokenFetched(t *Token, replaced bool, took time.Duration) {
	fmt.Fprintf(r, "fetched replaced=%t took=%s expires=%s\n", replaced, took, t.ExpiresOn.UTC().Format(time.RFC3339))
}

func (r *recorder) TokenFailed(err error, took, retryIn time.Duration) {
	fmt.Fprintf(r, "failed took=%s err=%v retry_in=%s\n", took, err, retryIn)
}

func (r *recorder) TokenFileExposed(path string, mode fs.FileMode) {
	fmt.Fprintf(r, "exposed %s mode=%s\n", path, mode)
}

// discard is an Observer that ignores what it is told.
type discard struct{}

func (discard) TokenFetched(*Token, bool, time.Duration)        {}
func (discard) TokenFailed(error, time.Duration, time.Duration) {}
func (discard) TokenFileExposed(string, fs.FileMode)            {}

var quiet discard

// A fakeFetcher counts its calls and returns what get does, after delay. Without a get it
// returns a token of an hour. Its fields may change between requests only.
type fakeFetcher struct {
	calls  atomic.Int64
	closed atomic.Int64 // calls of CloseIdle
	delay  time.Duration
	get    func(call int, r Request) (Response, error)
}

// Fetch implements Fetcher.
func (f *fakeFetcher) Fetch(ctx context.Context, r Request) (Response, error) {
	call := f.calls.Add(1)
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
	if f.get != nil {
		return f.get(int(call), r)
	}
	return Response{Value: entratest.JWT(map[string]any{"oid": "o"}), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// CloseIdle implements Fetcher.
func (f *fakeFetcher) CloseIdle() { f.closed.Add(1) }

// wantCalls reports another number of requests than want.
func (f *fakeFetcher) wantCalls(t *testing.T, want int64) {
	t.Helper()
	if got := f.calls.Load(); got != want {
		t.Errorf("got %d requests, want %d", got, want)
	}
}

// lifetime returns tokens that live for d. Their values are as long as their number: "x",
// "xx" and so on.
func lifetime(d time.Duration) func(int, Request) (Response, error) {
	return func(call int, _ Request) (Response, error) {
		return Response{Value: strings.Repeat("x", call), ExpiresOn: time.Now().Add(d)}, nil
	}
}

func fail(int, Request) (Response, error) { return Response{}, errDown }

// cacheOf returns a cache that requests tokens of f.
func cacheOf(f Fetcher) *Cache {
	return NewCache(Config{Fetcher: f, Scope: "scope", Timeout: 30 * time.Second})
}

// await waits for a token as a connect does.
func await(ctx context.Context, s Source) (*Token, error) {
	t, call := s.Token(quiet)
	if call == nil {
		return t, nil
	}
	return call.Token(ctx)
}

// mustAwait is await where there has to be a token.
func mustAwait(t *testing.T, s Source) *Token {
	t.Helper()
	got, err := await(t.Context(), s)
	if err != nil {
		t.Fatalf("Token() = %v, want a token", err)
	}
	return got
}

// wantError reports an error that does not contain want, or for want == "" any error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil {
		t.Errorf("got error %q, want none", err)
	}
	if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got error %v, want %q in it", err, want)
	}
}

// wantHint reports an error for which the table of hints does not say want.
func wantHint(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with the hint %q", want)
		return
	}
	facts := hint.Facts{"authority": "https://login.example", "resource": `"https://resource.example"`}
	got, _ := hint.Find(err.Error(), facts, hint.Token)
	if !strings.Contains(got, want) {
		t.Errorf("got hint %q for %q, want %q in it", got, err, want)
	}
}
