package token

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
)

var (
	quiet   = observer{slog.New(slog.DiscardHandler)}
	errDown = errors.New("down")
)

// An observer logs what it is told.
type observer struct{ log *slog.Logger }

func (o observer) TokenFetched(t *Token, replaced bool, took time.Duration) {
	message := "token fetched"
	if replaced {
		message = "token refreshed"
	}
	o.log.Info(message, slog.Duration("took", took), slog.Time("expires", t.ExpiresOn))
}

func (o observer) TokenFailed(err error, took, retryIn time.Duration) {
	o.log.Warn("token request failed", slog.Duration("took", took), slog.Any("err", err), slog.Duration("retry_in", retryIn))
}

func (o observer) TokenFileExposed(path string, mode fs.FileMode) {
	o.log.Warn("others may read or replace the token file", slog.String("file", path), slog.String("mode", mode.String()))
}

// A fakeFetcher counts its calls and returns what get does, after delay. Without a get it
// returns a token of an hour. Its fields may change between requests only.
type fakeFetcher struct {
	calls atomic.Int64
	delay time.Duration
	get   func(call int, r Request) (Response, error)
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
