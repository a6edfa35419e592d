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

// An entraError is the AADSTS code and the text of an error.
type entraError struct {
	code int
	text string
}

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// exchangeAudience is the audience of federated tokens.
	exchangeAudience = "api://AzureADTokenExchange"
	federationKeyID  = "federation-1"
)

var expiredAssertion = &entraError{700024, "Client assertion is not within its valid time range."}

// checkAssertion checks an application's client assertion: a JWT signed with its
// certificate's key, or a federated token. It returns nil if the assertion is valid.
func (a *Azure) checkAssertion(app Identity, assertion, audience, typ string) *entraError {
	if typ != assertionType {
		return &entraError{900144, "The request body must contain the following parameter: 'client_assertion_type'."}
	}
	unverified, _, err := jwt.NewParser().ParseUnverified(assertion, jwt.MapClaims{})
	if err != nil {
		return &entraError{50027, "JWT token is invalid or malformed."}
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
	if errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet) {
		return expiredAssertion
	}
	if err != nil {
		return &entraError{700027, fmt.Sprintf("The certificate with identifier used to sign the client assertion is not registered on application. [Reason - %v, Application %s]", err, app.ClientID)}
	}
	return nil
}

// certificate returns the certificate that a JWT's header names: a registered one by its
// thumbprint, or the first of a chain that a registered authority has issued.
func (id Identity) certificate(header map[string]any) (*x509.Certificate, error) {
	for _, c := range id.Certificates {
		sha1Sum := sha1.Sum(c.Raw)
		sha256Sum := sha256.Sum256(c.Raw)
		if isThumbprint(header["x5t"], sha1Sum[:]) || isThumbprint(header["x5t#S256"], sha256Sum[:]) {
			return c, nil
		}
	}
	chain, err := parseChain(header["x5c"])
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, errors.New("the key was not found")
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range id.Certificates {
		if c.IsCA {
			opts.Roots.AddCert(c)
		}
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(opts)
	return chain[0], err
}

// parseChain parses the header x5c, a list of base64 DER.
func parseChain(x5c any) (chain []*x509.Certificate, err error) {
	list, _ := x5c.([]any)
	for _, entry := range list {
		text, _ := entry.(string)
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
	return chain, nil
}

// isThumbprint compares a header with a hash in both base64 alphabets, because client
// libraries differ.
func isThumbprint(header any, sum []byte) bool {
	return header == base64.StdEncoding.EncodeToString(sum) || header == base64.RawURLEncoding.EncodeToString(sum)
}

// FederatedToken returns a token that Kubernetes gives to id, which the application
// exchanges for an Entra token. edit, if not nil, changes the claims before the token is
// signed, for example sub, aud or exp.
func (a *Azure) FederatedToken(id Identity, edit func(claims map[string]any)) string {
	now := a.now()
	claims := jwt.MapClaims{
		"iss": "https://federation.emulator", "sub": id.Subject, "aud": exchangeAudience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if edit != nil {
		edit(claims)
	}
	return a.signer.sign(federationKeyID, claims)
}

// checkFederated checks a federated token of an application.
func (a *Azure) checkFederated(app Identity, assertion string) *entraError {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(a.now)).
		ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return &a.signer.key.PublicKey, nil })
	if errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet) {
		return expiredAssertion
	}
	if err != nil {
		return &entraError{50013, "Assertion failed signature validation."}
	}
	if claims["aud"] != exchangeAudience {
		return &entraError{700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%v'.", claims["aud"])}
	}
	if claims["sub"] != app.Subject && claims["sub"] != connectionSubject(app) {
		return &entraError{700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%v'.", claims["sub"])}
	}
	return nil
}

// connectionSubject returns the sub claim of the federated tokens of a service connection.
func connectionSubject(id Identity) string { return "sc://emulator/project/" + id.ServiceConnectionID }
