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

// Resource is what tokens for the emulated server must be issued for.
const Resource = "https://ossrdbms-aad.database.windows.net"

// resourceAppID is the same as an application id, which tokens may name as well.
const resourceAppID = "123cd850-d9df-40bd-94d5-c9f07b7fa203"

const (
	keyID  = "emulator-1"
	issuer = "https://sts.windows.net/" + TenantID + "/"
)

// signer signs and checks tokens with Entra's algorithm, RS256.
type signer struct{ key *rsa.PrivateKey }

// One key serves the process: making one costs a tenth of a second.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newSigner() (*signer, error) {
	key, err := rsaKey()
	return &signer{key}, err
}

// backdated is how long before their issue tokens say that they were issued, as
// Entra is seen to do, to allow for clocks that differ.
const backdated = 5 * time.Minute

// serial numbers the tokens of this process: its emulators share a key, so each
// accepts the others' tokens.
var serial atomic.Int64

// RevokeTokens makes the gateway refuse, as expired, every token issued so far.
func (a *Azure) RevokeTokens() { a.revoked.Store(serial.Add(1)) }

// Token issues a token to an identity. edit, if not nil, may spoil its claims:
// exp, iat, aud, oid and so on. [Counts] does not count it.
func (a *Azure) Token(id Identity, edit func(claims map[string]any)) string {
	return a.sign(id, Resource, a.now(), edit)
}

// issue answers a token request, with the end of the token too: the clock goes on while
// a token is signed.
func (a *Azure) issue(id Identity, resource string) (string, time.Time) {
	a.tokens.Add(1)
	now := a.now()
	return a.sign(id, resource, now, nil), now.Add(a.Faults.life())
}

func (a *Azure) sign(id Identity, resource string, now time.Time, edit func(map[string]any)) string {
	since := now.Add(-backdated).Unix()
	claims := jwt.MapClaims{
		"aud": resource, "iss": issuer, "tid": TenantID, "ver": "1.0",
		"iat": since, "nbf": since, "exp": now.Add(a.Faults.life()).Unix(),
		"oid": id.ObjectID, "sub": id.ObjectID, "uti": rand.Text(),
		"serial": serial.Add(1), // not one of Entra's
	}
	if len(id.Groups) > 0 {
		claims["groups"] = id.Groups
	}
	switch id.Kind {
	case User:
		claims["upn"], claims["unique_name"], claims["appid"] = id.Name, id.Name, guid("azure cli")
	default:
		claims["appid"], claims["idtyp"] = id.ClientID, "app"
		if id.ResourceID != "" {
			claims["xms_mirid"] = id.ResourceID
		}
	}
	if edit != nil {
		edit(claims)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = keyID
	s, err := t.SignedString(a.signer.key)
	if err != nil {
		panic(err) // claims that are no JSON: the caller's mistake
	}
	return s
}

// verify checks the signature and the tenant and returns the claims: the gateway
// judges the others in Azure's order, with Azure's texts.
func (s *signer) verify(token string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation()).
		ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil })
	if err == nil && (claims["tid"] != TenantID || claims["iss"] != issuer) {
		err = errors.New("issued by another tenant")
	}
	return claims, err
}
