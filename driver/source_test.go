package driver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// tokenOf waits for a token as a connect does.
func tokenOf(ctx context.Context, c *Connector) (*token.Token, error) {
	return c.newAttempt().wait(ctx)
}

// A thousand pools of one identity that open at once ask once; a hundred
// goroutines on each find no race.
func TestManyPools(t *testing.T) {
	entratest.CleanEnv(t)
	cred := &entratest.Credential{Delay: 20 * time.Millisecond}
	pools := make([]*Connector, 1000)
	var wg sync.WaitGroup
	for i := range pools {
		wg.Go(func() {
			var err error
			if pools[i], err = NewConnector("host=h user=u", WithCredential(cred)); err != nil {
				t.Error(err)
				return
			}
			if _, err := tokenOf(t.Context(), pools[i]); err != nil {
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
				if _, err := tokenOf(t.Context(), c); err != nil {
					t.Error(err)
				}
				c.Stats()
			}
			c.Close()
		})
	}
	wg.Wait()
	if st := pools[0].Stats(); cred.Calls.Load() != 1 || st.TokenRequests != 1 || st.TokenExpires.IsZero() {
		t.Errorf("%d requests, %+v", cred.Calls.Load(), st)
	}
}

// Closing the last connector ends the request under way; a failure so made is
// not remembered.
func TestCloseEndsTheRequest(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: time.Hour}
		var cs [2]*Connector
		for i := range cs {
			var err error
			if cs[i], err = NewConnector("host=h user=u", WithCredential(cred)); err != nil {
				t.Fatal(err)
			}
		}
		_, call := cs[0].source.Token(observer{cs[0]})
		cs[0].Close()
		cs[0].Close()
		synctest.Wait()
		if call.Err() != nil {
			t.Error("the request of another was ended")
		}
		cs[1].Close()
		synctest.Wait()
		if !errors.Is(call.Err(), context.Canceled) {
			t.Errorf("the request goes on: %v", call.Err())
		}
		cred.Delay = 0
		if _, err := tokenOf(t.Context(), cs[0]); err != nil {
			t.Errorf("remembered: %v", err)
		}
	})
}

// A request that the last connector's Close has ended is nobody else's.
func TestNobodyJoinsAnEndedRequest(t *testing.T) {
	entratest.CleanEnv(t)
	cred := &entratest.Credential{Delay: 5 * time.Millisecond, Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Millisecond)}, nil
	}}
	for range 200 {
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		c.source.Token(observer{c})
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
