package emulator

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Resource is what tokens for the emulated server must be issued for.
const Resource = "https://ossrdbms-aad.database.windows.net"

// resourceID is the same as an application id, which tokens may name as well.
const resourceID = "123cd850-d9df-40bd-94d5-c9f07b7fa203"

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

// Token issues a token to an identity. edit, if not nil, may spoil its claims:
// exp, iat, aud, oid and so on.
func (a *Azure) Token(id Identity, edit func(claims map[string]any)) string {
	return a.issue(id, Resource, edit)
}

func (a *Azure) issue(id Identity, resource string, edit func(map[string]any)) string {
	now := time.Now()
	claims := jwt.MapClaims{
		"aud": resource, "iss": issuer, "tid": TenantID, "ver": "1.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(a.Faults.life()).Unix(),
		"oid": id.ObjectID, "sub": id.ObjectID, "uti": rand.Text(),
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
	a.tokens.Add(1)
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

// Faults are knobs that make the emulator misbehave. The zero value behaves.
// They may be turned at any time.
type Faults struct {
	mu          sync.Mutex
	tokenDelay  time.Duration
	tokenLife   time.Duration
	maxTokenAge time.Duration
	failures    int
	status      int
	refuseTLS   bool
}

// TokenDelay makes every token request take at least d.
func (f *Faults) TokenDelay(d time.Duration) { f.set(func() { f.tokenDelay = d }) }

// TokenLife makes tokens live for d; 0 is an hour.
func (f *Faults) TokenLife(d time.Duration) { f.set(func() { f.tokenLife = d }) }

// MaxTokenAge makes the gateway refuse older tokens as expired; 0 is no limit.
func (f *Faults) MaxTokenAge(d time.Duration) { f.set(func() { f.maxTokenAge = d }) }

// FailTokens answers the next n token requests with an HTTP status.
func (f *Faults) FailTokens(n, status int) { f.set(func() { f.failures, f.status = n, status }) }

// RefuseTLS makes the gateway answer N to a request for TLS.
func (f *Faults) RefuseTLS(on bool) { f.set(func() { f.refuseTLS = on }) }

func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *Faults) life() (d time.Duration) {
	f.set(func() { d = f.tokenLife })
	if d == 0 {
		d = time.Hour
	}
	return d
}
