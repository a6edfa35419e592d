package emulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// roleName returns the role of a user name. On single server, user names end with the
// server's name.
func (a *Azure) roleName(user string) (string, error) {
	if !a.single {
		return user, nil
	}
	name, ok := strings.CutSuffix(user, "@"+ServerName)
	if !ok {
		return "", errors.New("Invalid Username specified. Please check the Username and retry connection. The Username should be in <username@hostname> format.") //lint:ignore ST1005 Azure's text
	}
	return name, nil
}

// serverName returns the name by which the client addressed the server, or "".
func serverName(conn net.Conn) string {
	if t, ok := conn.(*tls.Conn); ok {
		return strings.ToLower(t.ConnectionState().ServerName)
	}
	return ""
}

// expectedResource returns the resource that tokens must be issued for if the client has
// addressed the server by that name.
func expectedResource(server string) string {
	if strings.HasSuffix(server, dsn.CosmosSuffix) {
		return strings.TrimSuffix(dsn.CosmosScope, "/.default")
	}
	for _, c := range dsn.Clouds() {
		if c.Name == dsn.CloudOf(server) {
			return c.Resource
		}
	}
	return Resource
}

// maxTokenAge returns how old a token may be; 0 is unlimited. On single server it is ten
// minutes, according to Azure's troubleshooting guide.
func (a *Azure) maxTokenAge() time.Duration {
	d := a.Faults.current().maxTokenAge
	if d == 0 && a.single {
		return 10 * time.Minute
	}
	return d
}

// clockSkew is how far in the future a token may start to be valid. Microsoft's own
// libraries allow the same.
const clockSkew = 5 * time.Minute

// checkToken checks a token as Azure does on a server of that name, and returns its claims
// or the refusal. The texts are those that users report. The codes are not documented and
// all but one are assumptions.
func (a *Azure) checkToken(token, server string) (jwt.MapClaims, *pgconn.PgError) {
	if strings.Count(token, ".") != 2 {
		return nil, a.refusal(invalidFormat)
	}
	claims, err := a.signer.verify(token)
	if err != nil {
		return nil, a.refusal(invalidToken)
	}
	if a.isExpired(claims) {
		return nil, a.refusal(expiredToken)
	}
	if a.Faults.current().notBefore && a.isNotYetValid(claims) {
		return nil, a.refusal(notYetValidToken)
	}
	if resource := expectedResource(server); !hasAudience(claims, resource) {
		return nil, a.refusal(wrongAudience, "{resource}", resource)
	}
	if oid, _ := claims["oid"].(string); oid == "" {
		return nil, a.refusal(missingObjectID)
	}
	return claims, nil
}

// isExpired reports whether a token has expired, is revoked or is older than maxTokenAge.
func (a *Azure) isExpired(claims jwt.MapClaims) bool {
	exp, _ := claims.GetExpirationTime()
	if exp == nil || !a.now().Before(exp.Time) {
		return true
	}
	serial, _ := claims["serial"].(float64)
	if int64(serial) < a.minSerial.Load() {
		return true
	}
	maxAge := a.maxTokenAge()
	if maxAge <= 0 {
		return false
	}
	iat, _ := claims.GetIssuedAt()
	return iat == nil || a.now().Sub(iat.Time) > maxAge+issuedAtOffset
}

// isNotYetValid reports whether a token starts to be valid, or was issued, in the future.
func (a *Azure) isNotYetValid(claims jwt.MapClaims) bool {
	limit := a.now().Add(clockSkew)
	nbf, _ := claims.GetNotBefore()
	iat, _ := claims.GetIssuedAt()
	return (nbf != nil && nbf.After(limit)) || (iat != nil && iat.After(limit))
}

// hasAudience reports whether a token was issued for a resource.
func hasAudience(claims jwt.MapClaims, resource string) bool {
	audiences, _ := claims.GetAudience()
	return slices.ContainsFunc(audiences, func(aud string) bool {
		if aud == resourceAppID {
			return resource == Resource
		}
		return strings.TrimSuffix(aud, "/") == strings.TrimSuffix(resource, "/")
	})
}

// checkRole checks whether a token with those claims may sign in as a role. It returns the
// refusal, or nil.
func (a *Azure) checkRole(role principal, claims jwt.MapClaims) *pgconn.PgError {
	isApp := claims["idtyp"] == "app"
	switch role.objectType {
	case "": // single server does not know whom a role without a password is for
		return a.refusal(unknownUser, "{role}", role.role)
	case Group:
		if !isMember(claims, role.oid) {
			return a.refusal(notMember, "{role}", role.role, "{oid}", role.oid)
		}
		return nil
	case User:
		if isApp {
			return a.refusal(notUserToken, "{role}", role.role)
		}
	case serviceType:
		if !isApp {
			return a.refusal(notAppToken, "{role}", role.role)
		}
	}
	oid, _ := claims["oid"].(string)
	if role.password != "" && !strings.EqualFold(oid, role.oid) {
		return a.objectIDMismatch(role, claims)
	}
	return nil
}

func isMember(claims jwt.MapClaims, groupID string) bool {
	groups, _ := claims["groups"].([]any)
	return slices.ContainsFunc(groups, func(g any) bool { return strings.EqualFold(fmt.Sprint(g), groupID) })
}

// objectIDMismatch refuses a token of another identity.
func (a *Azure) objectIDMismatch(role principal, claims jwt.MapClaims) *pgconn.PgError {
	return a.refusal(wrongObjectID, "{role}", role.role, "{label}", role.oid,
		"{appid}", fmt.Sprint(claims["appid"]), "{oid}", fmt.Sprint(claims["oid"]))
}
