package emulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// entraHandler serves OpenID discovery, keys and the token endpoint.
func (a *Azure) entraHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := a.entra.URL + "/" + r.PathValue("tenant")
		reply(w, http.StatusOK, map[string]any{
			"issuer": base + "/v2.0", "jwks_uri": base + "/discovery/v2.0/keys",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
		})
	})
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", func(w http.ResponseWriter, r *http.Request) {
		k, b64 := a.signer.key, base64.RawURLEncoding.EncodeToString
		reply(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "kid": keyID, "alg": "RS256",
			"n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}}})
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", a.serveToken)
	return mux
}

func (a *Azure) serveToken(w http.ResponseWriter, r *http.Request) {
	a.requests.Add(1)
	if a.misbehave(w, r) {
		return
	}
	app, ok := a.find(func(id Identity) bool { return id.ClientID == r.PostFormValue("client_id") })
	scope, _, _ := strings.Cut(r.PostFormValue("scope"), " ") // MSAL adds openid and its kind
	resource := strings.TrimSuffix(scope, "/.default")
	switch {
	case r.PathValue("tenant") != TenantID:
		refuse(w, http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID.", r.PathValue("tenant")))
	case r.PostFormValue("grant_type") != "client_credentials":
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
	case !ok:
		refuse(w, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory.", r.PostFormValue("client_id")))
	case app.Secret == "" || r.PostFormValue("client_secret") != app.Secret:
		refuse(w, http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID))
	case !strings.HasPrefix(resource, "https://"):
		refuse(w, http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named "+resource+" was not found in the tenant.")
	default:
		life := int(a.Faults.life().Seconds())
		reply(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life,
			"access_token": a.issue(app, resource)})
	}
}

// managedIdentityHandler answers as App Service does to azidentity.
func (a *Azure) managedIdentityHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /msi/token", func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if a.misbehave(w, r) {
			return
		}
		q := r.URL.Query()
		id, ok := a.find(func(id Identity) bool {
			switch {
			case id.Kind != ManagedIdentity:
				return false
			case q.Has("client_id"):
				return id.ClientID == q.Get("client_id")
			case q.Has("object_id"):
				return id.ObjectID == q.Get("object_id")
			case q.Has("mi_res_id"):
				return strings.EqualFold(id.ResourceID, q.Get("mi_res_id"))
			}
			return true // the first is the system-assigned one
		})
		switch {
		case r.Header.Get("X-IDENTITY-HEADER") != a.header:
			reply(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": "Unauthorized"})
		case !ok:
			reply(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."})
		default:
			reply(w, http.StatusOK, map[string]any{"access_token": a.issue(id, q.Get("resource")), "token_type": "Bearer",
				"resource": q.Get("resource"), "expires_on": strconv.FormatInt(time.Now().Add(a.Faults.life()).Unix(), 10)})
		}
	})
	return mux
}

// misbehave plays the faults that are set and tells whether it has answered.
func (a *Azure) misbehave(w http.ResponseWriter, r *http.Request) bool {
	f := &a.Faults
	var delay, retryAfter time.Duration
	status := 0
	f.set(func() {
		delay, retryAfter = f.tokenDelay, f.retryAfter
		if f.failures != 0 {
			status = f.status
		}
		if f.failures > 0 {
			f.failures--
		}
	})
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return true
	}
	if status != 0 {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(int(math.Ceil(retryAfter.Seconds()))))
		}
		refuse(w, status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
	}
	return status != 0
}

// refuse answers in Entra's shape.
func refuse(w http.ResponseWriter, status int, word string, code int, text string) {
	now := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	reply(w, status, map[string]any{"error": word, "error_codes": []int{code}, "timestamp": now,
		"error_description": fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nTimestamp: %s", code, text, guid("trace"), now)})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // a client that left is no concern of ours
}
