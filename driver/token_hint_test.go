package driver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A failed token request is explained at the driver's border: the cause stays as the
// token room has it, and the hint is the table's.
func TestTokenHint(t *testing.T) {
	tests := []struct {
		name     string
		cause    string
		exchange token.Exchange
		want     string // the hint begins with it
	}{
		{name: "503 and no time left", cause: "AADSTS90033: A transient error has occurred (HTTP 503), and no better response in time", want: "try again in a moment"},
		{name: "502 and no time left", cause: "(HTTP 502), and no better response in time", want: "try again in a moment"},
		{name: "connection closed", cause: `Post "https://login.example/t/token": EOF`, exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check for a firewall or proxy that closes connections to https://login.example"},
		{name: "too long a response", cause: "the response of login.example is longer than 1 MiB", exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check for a proxy or a captive portal between this machine and https://login.example"},
		{name: "throttled", cause: "ClientSecretCredential (HTTP 429)", want: "wait: the authority has received too many requests"},
		{name: "another identity's token", cause: `asked for the managed identity "a", the endpoint returned a token of "b"`, want: "assign the identity to this host"},
		{name: "no time left", cause: "no response from https://login.example: context deadline exceeded", exchange: token.Exchange{Endpoint: "https://login.example"},
			want: "check the network between this machine and https://login.example, or raise aad_token_timeout"},
		{name: "a younger token is refused", cause: "requesting a younger token: CLI does not support claims", want: "raise aad_token_max_age"},
		{name: "clock ahead", cause: "the token expired at 2026-01-01T00:00:00Z", exchange: token.Exchange{Skew: 2 * time.Hour}, want: "check this machine's clock: it is 2h0m0s ahead of the authority's"},
		{name: "clock behind", cause: "AADSTS999: something new", exchange: token.Exchange{Skew: -2 * time.Hour}, want: "check this machine's clock: it is 2h0m0s behind the authority's"},
		{name: "clock right", cause: "AADSTS999: something new", want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.exchange.Cause = tt.cause
			x := errContext{}
			x.cloud.Authority = "https://login.microsoftonline.com/"
			err := x.explainToken(&token.Error{Err: errors.New("long text"), Exchange: tt.exchange})
			if err.Step != StepToken {
				t.Errorf("Step = %q, want %q", err.Step, StepToken)
			}
			if !strings.HasPrefix(err.Hint, tt.want) || (tt.want == "" && err.Hint != "") {
				t.Errorf("Hint = %q, want %q", err.Hint, tt.want)
			}
			if want := "aadpostgres: token: " + tt.cause; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Error() = %q, want %q", err, want)
			}
		})
	}
}

// A credential that does not answer in time is a failure with a hint.
func TestTokenTimeoutHint(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		c, err := NewConnector("host=h user=u", WithCredential(&entratest.Credential{Delay: time.Hour}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Credentials(t.Context())
		if err == nil || !strings.Contains(err.Error(), "raise aad_token_timeout") {
			t.Errorf("Credentials() = %v, want the hint to raise aad_token_timeout", err)
		}
		if got := c.Stats().TokenFailures; got != 1 {
			t.Errorf("Stats().TokenFailures = %d, want 1", got)
		}
	})
}

// An authority of another cloud gets no secret, unless the DSN names it or the program
// brings its own credential.
func TestForeignAuthority(t *testing.T) {
	const secret = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	tests := []struct {
		name string
		dsn  string
		opts []Option
		want string // the error's text; "" for none
	}{
		{name: "by the environment", dsn: "host=a.postgres.database.azure.com " + secret,
			want: "aadpostgres: dsn: AZURE_AUTHORITY_HOST is of cloud usgov, but the server is in cloud public; unset AZURE_AUTHORITY_HOST"},
		{name: "by the DSN", dsn: "host=a.postgres.database.azure.com aad_authority_host=https://login.microsoftonline.us " + secret},
		{name: "own credential", dsn: "host=a.postgres.database.azure.com", opts: []Option{WithCredential(&entratest.Credential{})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
			c, err := NewConnector(tt.dsn, tt.opts...)
			if tt.want == "" {
				if err != nil {
					t.Fatalf("NewConnector() = %v, want no error", err)
				}
				c.Close()
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("NewConnector() = %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), entratest.Marker) {
				t.Errorf("NewConnector() = %v, which holds the secret", err)
			}
		})
	}
}

// Connectors share a token cache if their options are the same.
func TestOptionsShareCache(t *testing.T) {
	entratest.CleanEnv(t)
	prompt := func(context.Context, azidentity.DeviceCodeMessage) error { return nil }
	once := WithDeviceCodePrompt(prompt)
	cred := &entratest.Credential{}
	other := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) { return azcore.AccessToken{}, nil }}
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
			a, err := NewConnector(tt.dsn, tt.a)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Close() })
			b, err := NewConnector(tt.dsn, tt.b)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			if got := a.source == b.source; got != tt.want {
				t.Errorf("sharing a cache = %t, want %t", got, tt.want)
			}
		})
	}
}
