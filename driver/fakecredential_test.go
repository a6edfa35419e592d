package driver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

var errUnavailable = errors.New("the authority is unavailable")

// tokenOf waits for c's token, as a connect does.
func tokenOf(ctx context.Context, c *Connector) (*token.Token, error) {
	return c.newAttempt().wait(ctx)
}

// hourToken returns a token that is valid for an hour.
func hourToken(value string) azcore.AccessToken {
	return azcore.AccessToken{Token: value, ExpiresOn: time.Now().Add(time.Hour)}
}

// recentToken returns a token that was just issued, a different one for each call.
func recentToken(call int64, _ string) (azcore.AccessToken, error) {
	return hourToken(entratest.JWT(map[string]any{"n": call})), nil
}

// agedToken returns a token that was issued seven minutes ago, a different one for each
// call.
func agedToken(call int64, _ string) (azcore.AccessToken, error) {
	return hourToken(entratest.JWT(map[string]any{"n": call, "iat": time.Now().Add(-7 * time.Minute).Unix()})), nil
}

// tokenIssued returns a token that was issued then and is valid for two hours from now. It
// differs for each n.
func tokenIssued(then time.Time, n int64) azcore.AccessToken {
	return azcore.AccessToken{
		Token:     entratest.JWT(map[string]any{"n": n, "iat": then.Unix()}),
		ExpiresOn: time.Now().Add(2 * time.Hour),
	}
}

// tokenUnavailable fails.
func tokenUnavailable(int64, string) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, errUnavailable
}

// credentialWith returns a credential of one token, which has these claims.
func credentialWith(claims map[string]any) *entratest.Credential {
	return opaqueCredential(entratest.JWT(claims))
}

// opaqueCredential returns a credential of one token, which need not be a JWT.
func opaqueCredential(value string) *entratest.Credential {
	return &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return hourToken(value), nil
	}}
}

// A transport sends requests by its function. Connectors with the same pointer share tokens.
type transport struct {
	do func(*http.Request) (*http.Response, error)
}

// Do implements policy.Transporter.
func (t *transport) Do(r *http.Request) (*http.Response, error) { return t.do(r) }
