package emulator

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// grants are the functions that answer token requests, by grant_type.
var grants = map[string]func(a *Azure, w http.ResponseWriter, r *http.Request){
	"client_credentials": (*Azure).grantClient,
	"authorization_code": (*Azure).grantCode,
	"device_code":        (*Azure).grantDevice,
	"urn:ietf:params:oauth:grant-type:device_code": (*Azure).grantDevice,
	"refresh_token": (*Azure).grantRefresh,
}

// serveToken is the token endpoint.
func (a *Azure) serveToken(w http.ResponseWriter, r *http.Request) {
	if e := a.Faults.current().entraError; e.code != 0 {
		a.writeError(w, http.StatusBadRequest, "invalid_grant", e.code, e.text)
		return
	}
	tenant := r.PathValue("tenant")
	grantType := r.PostFormValue("grant_type")
	forUsers := (tenant == "organizations" || tenant == "common") && grantType != "client_credentials"
	if tenant != TenantID && !forUsers {
		a.writeError(w, http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID.", tenant))
		return
	}
	grant := grants[grantType]
	if grant == nil {
		a.writeError(w, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
		return
	}
	grant(a, w, r)
}

// grantClient authenticates an application by its secret, certificate or federated token.
func (a *Azure) grantClient(w http.ResponseWriter, r *http.Request) {
	clientID := r.PostFormValue("client_id")
	app, ok := a.findIdentity(func(id Identity) bool { return id.Kind != User && id.ClientID == clientID })
	if !ok {
		a.writeError(w, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory 'Contoso'.", clientID))
		return
	}
	if e := a.checkClient(app, r); e != nil {
		a.writeError(w, http.StatusUnauthorized, "invalid_client", e.code, e.text)
		return
	}
	resource, ok := a.requestedResource(w, r, r.PostFormValue("scope"))
	if !ok {
		return
	}
	life := int(a.Faults.tokenLife().Seconds())
	token, _ := a.issue(app, resource)
	writeJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token})
}

// checkClient checks an application's assertion or, if the request has none, its secret.
func (a *Azure) checkClient(app Identity, r *http.Request) *entraError {
	if assertion := r.PostFormValue("client_assertion"); assertion != "" {
		return a.checkAssertion(app, assertion, endpoint(r, "/oauth2/v2.0/token"), r.PostFormValue("client_assertion_type"))
	}
	if app.Secret == "" || r.PostFormValue("client_secret") != app.Secret {
		return &entraError{7000215, fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID)}
	}
	return nil
}

// writeUserTokens issues an access token to the user of p, with an id token and a refresh
// token.
func (a *Azure) writeUserTokens(w http.ResponseWriter, r *http.Request, p *pendingGrant, scope string) {
	id := p.identity
	resource, ok := a.requestedResource(w, r, scope)
	if !ok {
		return
	}
	now := a.now()
	claims := jwt.MapClaims{
		"iss": "https://" + r.Host + "/" + TenantID + "/v2.0", "aud": r.PostFormValue("client_id"), "tid": TenantID, "oid": id.ObjectID, "sub": id.ObjectID,
		"preferred_username": id.Name, "name": id.Name, "ver": "2.0", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if p.nonce != "" {
		claims["nonce"] = p.nonce
	}
	clientInfo, err := json.Marshal(map[string]string{"uid": id.ObjectID, "utid": TenantID})
	if err != nil {
		panic(err) // strings only
	}
	refreshToken := "refresh." + rand.Text()
	a.storeCode(refreshToken, &pendingGrant{identity: id})
	life := int(a.Faults.tokenLife().Seconds())
	token, _ := a.issue(id, resource)
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type":     "Bearer",
		"expires_in":     life,
		"ext_expires_in": life,
		"scope":          scope,
		"access_token":   token,
		"refresh_token":  refreshToken,
		"id_token":       a.signer.sign(keyID, claims),
		"client_info":    base64.RawURLEncoding.EncodeToString(clientInfo),
	})
}
