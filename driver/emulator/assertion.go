package emulator

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A denial is one of Entra's errors.
type denial struct {
	code int
	text string
}

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// exchange is the audience of tokens that are to be exchanged for Entra's.
	exchange        = "api://AzureADTokenExchange"
	federationKeyID = "federation-1"
)

// checkAssertion judges what an application brings in place of a secret: a JWT
// that it signed itself with its certificate's key, or one that somebody signed
// whom the application trusts.
func (a *Azure) checkAssertion(app Identity, assertion, audience, kind string) *denial {
	if kind != assertionType {
		return &denial{900144, "The request body must contain the following parameter: 'client_assertion_type'."}
	}
	claims := jwt.MapClaims{}
	unverified, _, err := jwt.NewParser().ParseUnverified(assertion, claims)
	if err != nil {
		return &denial{50027, "JWT token is invalid or malformed."}
	}
	if unverified.Header["kid"] == federationKeyID {
		return a.checkFederated(app, assertion)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256", "PS256"}), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(a.now), jwt.WithAudience(audience), jwt.WithIssuer(app.ClientID), jwt.WithSubject(app.ClientID))
	_, err = parser.ParseWithClaims(assertion, jwt.MapClaims{}, func(t *jwt.Token) (any, error) {
		cert, err := app.certificate(t.Header)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return &denial{700024, "Client assertion is not within its valid time range."}
	case err != nil:
		return &denial{700027, fmt.Sprintf("The certificate with identifier used to sign the client assertion is not registered on application. [Reason - %v, Application %s]", err, app.ClientID)}
	}
	return nil
}

// certificate finds the key that a JWT says it was signed with: a registered
// certificate by its thumbprint, or one that comes with its chain and was issued by
// a registered authority.
func (id Identity) certificate(header map[string]any) (*x509.Certificate, error) {
	for _, c := range id.Certificates {
		old, now := sha1.Sum(c.Raw), sha256.Sum256(c.Raw)
		if isThumbprint(header["x5t"], old[:]) || isThumbprint(header["x5t#S256"], now[:]) {
			return c, nil
		}
	}
	var chain []*x509.Certificate
	list, _ := header["x5c"].([]any)
	for _, one := range list {
		text, _ := one.(string)
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("the key was not found")
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range id.Certificates {
		if c.IsCA {
			o.Roots.AddCert(c)
		}
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return chain[0], err
}

// isThumbprint compares in either alphabet: libraries differ.
func isThumbprint(field any, sum []byte) bool {
	return field == base64.StdEncoding.EncodeToString(sum) || field == base64.RawURLEncoding.EncodeToString(sum)
}

// FederatedToken is what Kubernetes hands to id, to be exchanged for a token of
// Entra's. edit, if not nil, may spoil its claims: sub, aud, exp.
func (a *Azure) FederatedToken(id Identity, edit func(claims map[string]any)) string {
	now := a.now()
	claims := jwt.MapClaims{"iss": "https://federation.emulator", "sub": id.Subject, "aud": exchange,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if edit != nil {
		edit(claims)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = federationKeyID
	s, err := t.SignedString(a.signer.key)
	if err != nil {
		panic(err) // claims that are no JSON: the caller's mistake
	}
	return s
}

func (a *Azure) checkFederated(app Identity, assertion string) *denial {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(a.now)).
		ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return &a.signer.key.PublicKey, nil })
	sub, aud := claims["sub"], claims["aud"]
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return &denial{700024, "Client assertion is not within its valid time range."}
	case err != nil:
		return &denial{50013, "Assertion failed signature validation."}
	case aud != exchange:
		return &denial{700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%v'.", aud)}
	case sub != app.Subject && sub != connectionSubject(app):
		return &denial{700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%v'.", sub)}
	}
	return nil
}

func connectionSubject(id Identity) string { return "sc://emulator/project/" + id.ServiceConnectionID }
