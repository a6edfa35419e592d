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

// A grant answers token requests of one grant_type.
type grant func(a *Azure, w http.ResponseWriter, r *http.Request)

var grants = map[string]grant{
	"client_credentials": (*Azure).grantClient,
	"authorization_code": (*Azure).grantCode,
	"device_code":        (*Azure).grantDevice,
	"urn:ietf:params:oauth:grant-type:device_code": (*Azure).grantDevice,
	"refresh_token": (*Azure).grantRefresh,
}

func (a *Azure) serveToken(w http.ResponseWriter, r *http.Request) {
	people := r.PathValue("tenant") == "organizations" || r.PathValue("tenant") == "common"
	kind := r.PostFormValue("grant_type")
	var denied denial
	a.Faults.set(func() { denied = a.Faults.denied })
	switch give := grants[kind]; {
	case denied.code != 0:
		a.refuse(w, http.StatusBadRequest, "invalid_grant", denied.code, denied.text)
	case r.PathValue("tenant") != TenantID && (!people || kind == "client_credentials"):
		a.refuse(w, http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID.", r.PathValue("tenant")))
	case give == nil:
		a.refuse(w, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
	default:
		give(a, w, r)
	}
}

// grantClient serves an application, by secret, certificate or federated token.
func (a *Azure) grantClient(w http.ResponseWriter, r *http.Request) {
	app, ok := a.find(func(id Identity) bool { return id.Kind != User && id.ClientID == r.PostFormValue("client_id") })
	if !ok {
		a.refuse(w, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory 'Contoso'.", r.PostFormValue("client_id")))
		return
	}
	switch assertion := r.PostFormValue("client_assertion"); {
	case assertion != "":
		if denied := a.checkAssertion(app, assertion, endpoint(r, "/oauth2/v2.0/token"), r.PostFormValue("client_assertion_type")); denied != nil {
			a.refuse(w, http.StatusUnauthorized, "invalid_client", denied.code, denied.text)
			return
		}
	case app.Secret == "" || r.PostFormValue("client_secret") != app.Secret:
		a.refuse(w, http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID))
		return
	}
	if resource, ok := a.resource(w, r, r.PostFormValue("scope")); ok {
		life := int(a.Faults.life().Seconds())
		token, _ := a.issue(app, resource)
		reply(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token})
	}
}

// givePerson answers with what a person gets: beside the access token one to
// refresh it with, and who it is.
func (a *Azure) givePerson(w http.ResponseWriter, r *http.Request, id Identity, scope string) {
	resource, ok := a.resource(w, r, scope)
	if !ok {
		return
	}
	now, life := a.now(), int(a.Faults.life().Seconds())
	about, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://" + r.Host + "/" + TenantID + "/v2.0", "aud": r.PostFormValue("client_id"), "tid": TenantID, "oid": id.ObjectID, "sub": id.ObjectID,
		"preferred_username": id.Name, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString(a.signer.key)
	if err != nil {
		panic(err) // the claims are JSON
	}
	info, _ := json.Marshal(map[string]string{"uid": id.ObjectID, "utid": TenantID}) // never fails
	refresh := "refresh." + rand.Text()
	a.mu.Lock()
	a.pending[refresh] = &pending{identity: id}
	a.mu.Unlock()
	token, _ := a.issue(id, resource)
	reply(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "scope": scope,
		"access_token": token, "refresh_token": refresh, "id_token": about,
		"client_info": base64.RawURLEncoding.EncodeToString(info)})
}
