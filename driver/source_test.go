package driver

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
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

// BenchmarkWarmToken defends the sentence that a warm token costs no lock and
// no allocation.
func BenchmarkWarmToken(b *testing.B) {
	s := sourceOf(&fakeCredential{})
	if _, err := ask(s, b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := ask(s, context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
