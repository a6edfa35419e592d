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

// roleName applies the server type's rule to a user name.
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

// serverName is how the client called the server, or "".
func serverName(conn net.Conn) string {
	if t, ok := conn.(*tls.Conn); ok {
		return strings.ToLower(t.ConnectionState().ServerName)
	}
	return ""
}

// audience is the resource that a server of that name wants tokens for.
func audience(server string) string {
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

// maxAge is how old a token may be: on single server ten minutes, as the
// troubleshooting guide has it.
func (a *Azure) maxAge() (d time.Duration) {
	a.Faults.set(func() { d = a.Faults.maxTokenAge })
	if d == 0 && a.single {
		d = 10 * time.Minute
	}
	return d
}

// leeway is how far ahead of a server's clock a token may begin: what Microsoft's own
// libraries allow clocks to differ by.
const leeway = 5 * time.Minute

// early tells whether the gateway is to look at when tokens begin, and this one has not.
func (a *Azure) early(claims jwt.MapClaims) (early bool) {
	a.Faults.set(func() { early = a.Faults.notBefore })
	limit := a.now().Add(leeway)
	nbf, _ := claims.GetNotBefore()
	iat, _ := claims.GetIssuedAt()
	return early && (nbf != nil && nbf.After(limit) || iat != nil && iat.After(limit))
}

// check checks a token as Azure does on a server of that name, and returns its
// claims or the refusal. The texts are those that users report; their codes are not
// documented and, but for one, a guess.
func (a *Azure) check(token, server string) (jwt.MapClaims, *pgconn.PgError) {
	if strings.Count(token, ".") != 2 {
		return nil, a.deny(invalidFormat)
	}
	claims, err := a.signer.verify(token)
	if err != nil {
		return nil, a.deny(invalidToken)
	}
	maxAge, resource := a.maxAge(), audience(server)
	exp, _ := claims.GetExpirationTime()
	iat, _ := claims.GetIssuedAt()
	serial, _ := claims["serial"].(float64)
	if exp == nil || !a.now().Before(exp.Time) || int64(serial) < a.revoked.Load() ||
		maxAge > 0 && (iat == nil || a.now().Sub(iat.Time) > maxAge+backdated) {
		return nil, a.deny(expiredToken)
	}
	if a.early(claims) {
		return nil, a.deny(earlyToken)
	}
	if aud, _ := claims.GetAudience(); !slices.ContainsFunc(aud, func(s string) bool {
		return s == resourceAppID && resource == Resource || strings.TrimSuffix(s, "/") == strings.TrimSuffix(resource, "/")
	}) {
		return nil, a.deny(otherAudience, "{resource}", resource)
	}
	if oid, _ := claims["oid"].(string); oid == "" {
		return nil, a.deny(noObjectID)
	}
	return claims, nil
}

// judge tells whether a token of those claims is good for the role, and returns
// the refusal or nil.
func (a *Azure) judge(want principal, claims jwt.MapClaims) *pgconn.PgError {
	oid, app := claims["oid"].(string), claims["idtyp"] == "app"
	switch {
	case want.kind == "": // on single server, where who makes the role is not told
		return a.deny(unknownName, "{role}", want.role)
	case want.kind == Group:
		groups, _ := claims["groups"].([]any)
		if !slices.ContainsFunc(groups, func(g any) bool { return strings.EqualFold(fmt.Sprint(g), want.oid) }) {
			return a.deny(noMember, "{role}", want.role, "{oid}", want.oid)
		}
	case want.kind == User && app:
		return a.deny(noPerson, "{role}", want.role)
	case want.kind == service && !app:
		return a.deny(noApplication, "{role}", want.role)
	case want.password != "" && !strings.EqualFold(oid, want.oid):
		return a.mismatch(want, claims)
	}
	return nil
}

// mismatch refuses a token of somebody else.
func (a *Azure) mismatch(want principal, claims jwt.MapClaims) *pgconn.PgError {
	return a.deny(otherObjectID, "{role}", want.role, "{label}", want.oid,
		"{appid}", fmt.Sprint(claims["appid"]), "{oid}", fmt.Sprint(claims["oid"]))
}
