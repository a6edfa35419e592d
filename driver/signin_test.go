package driver

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A program that keeps the token provider of a sign-in gets no token from it afterwards.
func TestOAuthTokenEndsWithTheSignIn(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	var live *pgconn.Config
	var kept func(context.Context) (string, error)
	keep := func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			live = cfg
			return conn, nil
		}
		c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
			kept = live.OAuthTokenProvider
			return pgproto3.NewFrontend(r, w)
		}
	}
	c, err := NewConnector(s.trustedDSN(""), WithCredential(&entratest.Credential{}), WithConnConfig(keep))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if kept == nil {
		t.Fatal("the sign-in has no token provider, want one")
	}
	got, err := kept(t.Context())
	if err == nil || got != "" {
		t.Errorf("OAuthTokenProvider() = %q, %v, want no token and an error", got, err)
	}
}

// One host rejects a token for which there is a replacement. The next accepts it, and then
// the program rejects that host. There is nothing left to retry.
func TestProgramRejectsTheNextHost(t *testing.T) {
	entratest.CleanEnv(t)
	one := newFakeServer(t, func(s *fakeServer) { s.reply = errorResponse("28000", "the access token has expired") })
	two := newFakeServer(t, nil)
	hosts := resolveTo(map[string]*fakeServer{"one.example.com": one, "two.example.com": two})
	rejectHost := func(c *pgx.ConnConfig) {
		c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return errors.New("not this host") }
	}
	c, err := NewConnector("host=one.example.com,two.example.com user=me connect_timeout=5 sslrootcert="+entratest.Quote(one.certFile),
		hosts, WithCredential(&entratest.Credential{Get: agedToken}), WithConnConfig(rejectHost))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Credentials(t.Context()); err != nil { // a cached token, which may be replaced
		t.Fatal(err)
	}
	_, err = c.Connect(t.Context())
	const want = "the access token has expired"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Connect() = %v, want %q in it", err, want)
	}
	if got := c.Stats().Retried; got != 0 {
		t.Errorf("Retried = %d, want 0", got)
	}
	if got := c.Stats().TokenRequests; got != 2 {
		t.Errorf("TokenRequests = %d, want 2", got)
	}
}

// A server that rejects the second token too is not tried a third time, however slow it is.
func TestRetriedOnce(t *testing.T) {
	entratest.CleanEnv(t)
	rejections := 0
	s := newFakeServer(t, func(s *fakeServer) {
		s.verdict = func(string) []pgproto3.BackendMessage {
			rejections++
			if rejections > 1 {
				time.Sleep(firstRenewalWait) // until another token may be requested
			}
			return errorResponse("28P01", "the access token has expired")
		}
	})
	c, err := NewConnector(s.trustedDSN(""), WithCredential(&entratest.Credential{Get: agedToken}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Credentials(t.Context()); err != nil { // a cached token, which may be replaced
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := c.Connect(ctx); err == nil {
		t.Error("Connect() = nil, want an error")
	}
	if got := s.connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

// The token to present is valid, even if it was cached when the connect began and has
// expired while other hosts were tried.
func TestTokenExpiresDuringTheConnect(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
			return azcore.AccessToken{Token: "x", ExpiresOn: time.Now().Add(time.Minute)}, nil
		}}
		c, err := NewConnector("host=h user=u", WithCredential(cred))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := tokenOf(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		a := c.newAttempt()
		time.Sleep(time.Minute)
		got, err := a.wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Valid(time.Now()) {
			t.Errorf("the token expired on %s, want a valid one", got.ExpiresOn)
		}
	})
}

// Error prints the cause in one line of printable characters, without a JWT.
func TestCauseIsPrintedInOneLine(t *testing.T) {
	cause := "a\x1b[31m\tb " + entratest.JWT(map[string]any{"oid": "o"}) + strings.Repeat(" long", 1000)
	got := (&Error{Step: StepToken, Err: errors.New(cause)}).Error()
	if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("Error() = %q, want printable characters: that at %d is not", got, i)
	}
	if strings.Contains(got, entratest.Marker) {
		t.Errorf("Error() = %q, want no JWT in it", got)
	}
	if len(got) > 600 {
		t.Errorf("Error() has %d bytes, want 600 at most", len(got))
	}
}
