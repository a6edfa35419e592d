package emulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

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

// judge checks a token as Azure does for a role of that identity, on a server of
// that name, and returns the refusal or nil. The texts are those that users report;
// their codes are not documented and, but for one, a guess.
func (a *Azure) judge(want Identity, token, server string) *pgconn.PgError {
	refuse := func(format string, args ...any) *pgconn.PgError {
		return &pgconn.PgError{Code: "28P01", Message: fmt.Sprintf(format, args...)}
	}
	if strings.Count(token, ".") != 2 {
		return refuse("The access token has invalid format. Please ensure the token is passed exactly as returned by the authentication endpoint and retry.")
	}
	claims, err := a.signer.verify(token)
	if err != nil {
		return refuse("An error occurred while validating the access token. Please acquire a new token and retry.")
	}
	maxAge, resource := a.maxAge(), audience(server)
	exp, _ := claims.GetExpirationTime()
	iat, _ := claims.GetIssuedAt()
	serial, _ := claims["serial"].(float64)
	if exp == nil || !time.Now().Before(exp.Time) || int64(serial) < a.revoked.Load() ||
		maxAge > 0 && (iat == nil || time.Since(iat.Time) > maxAge+backdated) {
		return refuse("The access token has expired. Please acquire a new token and retry.")
	}
	if aud, _ := claims.GetAudience(); !slices.ContainsFunc(aud, func(s string) bool {
		return s == resourceAppID && resource == Resource || strings.TrimSuffix(s, "/") == strings.TrimSuffix(resource, "/")
	}) {
		return refuse("The access token does not have a valid audience claim. Please acquire a new token for the resource %q.", resource)
	}
	oid, app := claims["oid"], claims["idtyp"] == "app"
	switch {
	case want.Kind == Group:
		if groups, _ := claims["groups"].([]any); !slices.Contains(groups, any(want.ObjectID)) {
			e := refuse("Azure AD access token not valid for role %s (does not contain group ID %s)", want.Name, want.ObjectID)
			e.Hint = "Did you specify the correct user name and access token?"
			return e
		}
	case want.Kind == User && app:
		return refuse("Azure AD user token for role[%s] is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.", want.Name)
	case want.Kind != User && !app:
		e := refuse("Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[%s]", want.Name)
		e.Code = "28000"
		return e
	case oid != want.ObjectID:
		return refuse("Service Principal oid mismatch for role[%s]", want.Name)
	}
	return nil
}
