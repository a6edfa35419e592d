package driver

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// The log has a record of each token that is fetched or refreshed, each request that fails
// and each sign-in that is rejected, and no token.
func TestLog(t *testing.T) {
	entratest.CleanEnv(t)
	log := &syncBuffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	s := newFakeServer(t, func(s *fakeServer) {
		s.verdict = rejectFirst(errorResponse("28P01", "The access token\nhas expired"))
	})
	c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{Get: agedToken}), WithLogger(logger), WithLogger(nil))
	if _, err := c.Credentials(t.Context()); err != nil {
		t.Fatalf("Credentials() = %v", err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatalf("Connect() = %v", err)
	}
	conn.Close()
	synctest.Test(t, func(t *testing.T) { // it waits for what is logged after the call has ended
		failing := newConnector(t, "host=h user=u", WithCredential(&entratest.Credential{Get: tokenUnavailable}), WithLogger(logger))
		if _, err := failing.Credentials(t.Context()); err == nil {
			t.Error("Credentials() succeeded, want the credential's error")
		}
	})
	for _, want := range []string{
		`msg="token fetched" took=`,
		`msg="token refreshed"`,
		`expires=`,
		`level=WARN msg="token request failed"`,
		`err="aadpostgres: token: the authority is unavailable"`,
		"retry_in=",
		`msg="sign-in rejected" code=28P01 message="The access token has expired" token_issued=`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log = %s, want %q in it", log, want)
		}
	}
	for _, secret := range []string{entratest.Marker, "eyJ"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log = %s, want no %q in it", log, secret)
		}
	}
}
