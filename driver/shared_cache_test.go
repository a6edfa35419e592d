package driver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// Connectors of one identity share a cache: a thousand that begin at once cause one token
// request, while others are opened, used and closed.
func TestManyPools(t *testing.T) {
	entratest.CleanEnv(t)
	cred := &entratest.Credential{Delay: 20 * time.Millisecond}
	open := func() *Connector {
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Errorf("NewConnector() = %v", err)
		}
		return c
	}
	connectors := make([]*Connector, 1000)
	var wg sync.WaitGroup
	for i := range connectors {
		wg.Go(func() {
			c := open()
			if c == nil {
				return
			}
			connectors[i] = c
			if _, err := tokenOf(t.Context(), c); err != nil {
				t.Errorf("the token: %v, want no error", err)
			}
		})
	}
	for range 100 {
		wg.Go(func() {
			c := open()
			if c == nil {
				return
			}
			for range 100 {
				if _, err := tokenOf(t.Context(), c); err != nil {
					t.Errorf("the token: %v, want no error", err)
				}
				c.Stats()
			}
			c.Close()
		})
	}
	wg.Wait()
	if got := cred.Calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1", got)
	}
	st := connectors[0].Stats()
	if st.TokenRequests != 1 {
		t.Errorf("Stats().TokenRequests = %d, want 1", st.TokenRequests)
	}
	if st.TokenExpires.IsZero() {
		t.Error("Stats().TokenExpires is zero, want the token's")
	}
}

// The last connector's Close cancels the request under way. That failure is not cached.
func TestCloseEndsTheRequest(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: time.Hour}
		one := newConnector(t, "host=h user=u", WithCredential(cred))
		two := newConnector(t, "host=h user=u", WithCredential(cred))
		_, call := one.source.Token(observer{one})
		one.Close()
		one.Close()
		synctest.Wait()
		if err := call.Err(); err != nil {
			t.Errorf("after the first connector's Close the request = %v, want it under way", err)
		}
		two.Close()
		synctest.Wait()
		if err := call.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("after the last connector's Close the request = %v, want %v", err, context.Canceled)
		}
		cred.Delay = 0
		if _, err := tokenOf(t.Context(), one); err != nil {
			t.Errorf("the next request = %v, want no error", err)
		}
	})
}

// A connector that is opened after another's Close does not join the request that Close
// canceled.
func TestNobodyJoinsAnEndedRequest(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: 5 * time.Millisecond, Get: func(int64, string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Millisecond)}, nil
		}}
		open := func() *Connector {
			c, err := NewConnector("host=h user=u", WithCredential(cred))
			if err != nil {
				t.Fatalf("NewConnector() = %v", err)
			}
			return c
		}
		for range 200 {
			c := open()
			c.source.Token(observer{c})
			c.Close()
			next := open()
			if _, err := next.Credentials(t.Context()); err != nil {
				t.Fatalf("Credentials() = %v, want no error", err)
			}
			next.Close()
			time.Sleep(time.Millisecond) // until the token has expired
		}
	})
}

// Connectors share a token cache if their options are the same.
func TestOptionsShareCache(t *testing.T) {
	entratest.CleanEnv(t)
	prompt := func(context.Context, azidentity.DeviceCodeMessage) error { return nil }
	once := WithDeviceCodePrompt(prompt)
	cred := &entratest.Credential{}
	other := &entratest.Credential{}
	const deviceCode = "host=h user=u aad_auth=device-code"
	tests := []struct {
		name string
		dsn  string
		a, b Option
		want bool
	}{
		{"no prompt and a nil prompt", deviceCode, nil, WithDeviceCodePrompt(nil), true},
		{"one prompt twice", deviceCode, once, once, true},
		{"two prompts", deviceCode, WithDeviceCodePrompt(prompt), WithDeviceCodePrompt(prompt), false},
		{"one credential", "host=h user=u", WithCredential(cred), WithCredential(cred), true},
		{"two credentials", "host=h user=u", WithCredential(cred), WithCredential(other), false},
		{"a credential and a mode", deviceCode, WithCredential(cred), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newConnector(t, tt.dsn, tt.a)
			b := newConnector(t, tt.dsn, tt.b)
			if got := a.source == b.source; got != tt.want {
				t.Errorf("sharing a cache = %t, want %t", got, tt.want)
			}
		})
	}
}
