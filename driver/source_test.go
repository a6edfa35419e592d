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
