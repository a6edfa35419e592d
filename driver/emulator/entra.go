package emulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
)

// entraHandler serves Entra's endpoints. It is the Entra of every cloud: the host name in
// the request selects the cloud.
func (a *Azure) entraHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", a.serveInstanceDiscovery)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", serveConfiguration)
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", a.serveKeys)
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", a.withRecording(a.serveAuthorize))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", a.withRecording(a.serveDeviceCode))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", a.withCounting(a.serveToken))
	return a.withDate(mux)
}

// endpoint returns the URL of a path of this Entra and tenant as the client knows it.
func endpoint(r *http.Request, path string) string {
	return "https://" + r.Host + "/" + r.PathValue("tenant") + path
}

func serveConfiguration(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                        endpoint(r, "/v2.0"),
		"jwks_uri":                      endpoint(r, "/discovery/v2.0/keys"),
		"authorization_endpoint":        endpoint(r, "/oauth2/v2.0/authorize"),
		"token_endpoint":                endpoint(r, "/oauth2/v2.0/token"),
		"device_authorization_endpoint": endpoint(r, "/oauth2/v2.0/devicecode"),
	})
}

func (a *Azure) serveKeys(w http.ResponseWriter, r *http.Request) {
	key := a.signer.key
	b64 := base64.RawURLEncoding.EncodeToString
	writeJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "kid": keyID, "alg": "RS256",
		"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
	}}})
}

// requestedResource returns the resource of a scope, or answers with an error if the cloud
// does not have it.
func (a *Azure) requestedResource(w http.ResponseWriter, r *http.Request, scope string) (resource string, ok bool) {
	for s := range strings.FieldsSeq(scope) { // MSAL adds openid, profile and offline_access
		if name, ok := strings.CutSuffix(s, "/.default"); ok {
			resource = name
		}
	}
	if !hasResource(r.Host, resource) {
		a.writeError(w, http.StatusBadRequest, "invalid_resource", 500011, fmt.Sprintf("The resource principal named %s was not found in the tenant named Contoso. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", resource))
		return resource, false
	}
	return resource, true
}

// writeError writes an error response in Entra's format.
func (a *Azure) writeError(w http.ResponseWriter, status int, oauthError string, code int, text string) {
	now := a.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, status, map[string]any{
		"error":             oauthError,
		"error_codes":       []int{code},
		"timestamp":         now,
		"error_description": fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nTimestamp: %s", code, text, guid("trace"), now),
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // fails only if the client has disconnected
}
