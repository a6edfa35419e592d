package emulator

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Resource is the resource that tokens for the emulated server must be issued for.
const Resource = "https://ossrdbms-aad.database.windows.net"

// resourceAppID is the application id of Resource, which tokens may name as their
// audience instead.
const resourceAppID = "123cd850-d9df-40bd-94d5-c9f07b7fa203"

const (
	keyID  = "emulator-1"
	issuer = "https://sts.windows.net/" + TenantID + "/"
)

// A signer signs and verifies tokens with RS256, as Entra does.
type signer struct{ key *rsa.PrivateKey }

// rsaKey is shared by the emulators of this process, because generating a key takes a
// tenth of a second.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newSigner() (*signer, error) {
	key, err := rsaKey()
	return &signer{key}, err
}

// issuedAtOffset is how long before their issue the iat and nbf claims of tokens are.
// Entra does this to allow for clock skew.
const issuedAtOffset = 5 * time.Minute

// serial numbers the tokens of this process. Its emulators share a key and so accept each
// other's tokens.
var serial atomic.Int64

// RevokeTokens makes the gateway refuse every token issued so far as expired.
func (a *Azure) RevokeTokens() { a.minSerial.Store(serial.Add(1)) }

// Token returns a token of an identity for [Resource]. edit, if not nil, changes the
// claims before the token is signed, for example exp, iat, aud or oid. [Azure.Counts]
// does not count the token.
func (a *Azure) Token(id Identity, edit func(claims map[string]any)) string {
	return a.newToken(id, Resource, a.now(), edit)
}

// issue returns a token in response to a request, and when it expires.
func (a *Azure) issue(id Identity, resource string) (token string, expiresOn time.Time) {
	a.issuedTokens.Add(1)
	now := a.now() // once, because signing takes time and the claims must agree with expiresOn
	return a.newToken(id, resource, now, nil), now.Add(a.Faults.tokenLife())
}

func (a *Azure) newToken(id Identity, resource string, now time.Time, edit func(map[string]any)) string {
	issuedAt := now.Add(-issuedAtOffset).Unix()
	claims := jwt.MapClaims{
		"aud": resource, "iss": issuer, "tid": TenantID, "ver": "1.0",
		"iat": issuedAt, "nbf": issuedAt, "exp": now.Add(a.Faults.tokenLife()).Unix(),
		"oid": id.ObjectID, "sub": id.ObjectID, "uti": rand.Text(),
		"serial": serial.Add(1), // Entra has no such claim
	}
	if len(id.Groups) > 0 {
		claims["groups"] = id.Groups
	}
	if id.Kind == User {
		claims["upn"] = id.Name
		claims["unique_name"] = id.Name
		claims["appid"] = guid("azure cli")
	} else {
		claims["appid"] = id.ClientID
		claims["idtyp"] = "app"
		if id.ResourceID != "" {
			claims["xms_mirid"] = id.ResourceID
		}
	}
	if edit != nil {
		edit(claims)
	}
	return a.signer.sign(keyID, claims)
}

func (s *signer) sign(keyID string, claims jwt.MapClaims) string {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = keyID
	signed, err := t.SignedString(s.key)
	if err != nil {
		panic(err) // the caller's edit added a claim that is not JSON
	}
	return signed
}

// verify checks the signature and the tenant of a token and returns the claims. The
// gateway checks the claims itself, in Azure's order and with Azure's texts.
func (s *signer) verify(token string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation()).
		ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil })
	if err != nil {
		return claims, err
	}
	if claims["tid"] != TenantID || claims["iss"] != issuer {
		return claims, errors.New("issued by another tenant")
	}
	return claims, nil
}
