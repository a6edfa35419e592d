package emulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// entraHandler serves what a client library asks of Entra on the way to a token.
// It is the Entra of every cloud: the name by which it is called says which.
func (a *Azure) entraHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", a.discoverInstance)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := endpoint(r, "")
		reply(w, http.StatusOK, map[string]any{
			"issuer": base + "/v2.0", "jwks_uri": base + "/discovery/v2.0/keys",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
			"device_authorization_endpoint": base + "/oauth2/v2.0/devicecode",
		})
	})
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", func(w http.ResponseWriter, r *http.Request) {
		k, b64 := a.signer.key, base64.RawURLEncoding.EncodeToString
		reply(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "kid": keyID, "alg": "RS256",
			"n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}}})
	})
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", a.recorded(a.serveAuthorize))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", a.recorded(a.serveDeviceCode))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", a.counted(a.serveToken))
	return a.dated(mux)
}

// endpoint is a URL of this Entra as the client knows it.
func endpoint(r *http.Request, path string) string {
	return "https://" + r.Host + "/" + r.PathValue("tenant") + path
}

// discoverInstance says of an authority whether Microsoft's public cloud knows it.
func (a *Azure) discoverInstance(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Get("authorization_endpoint")
	for _, c := range dsn.Clouds() {
		if host := hostOf(c.Authority); c.InstanceDiscovery && host == hostOf(asked) {
			reply(w, http.StatusOK, map[string]any{
				"tenant_discovery_endpoint": strings.Replace(asked, "/oauth2/v2.0/authorize", "/v2.0/.well-known/openid-configuration", 1),
				"metadata":                  []any{map[string]any{"preferred_network": host, "preferred_cache": host, "aliases": []string{host}}},
			})
			return
		}
	}
	a.refuse(w, http.StatusBadRequest, "invalid_instance", 50049, "Unknown or invalid instance.")
}

// cloudOf finds the cloud whose authority goes by that name.
func cloudOf(authority string) (dsn.Cloud, bool) {
	for _, c := range dsn.Clouds() {
		if hostOf(c.Authority) == authority || c.Name == "public" && authority == "login.windows.net" {
			return c, true
		}
	}
	return dsn.Cloud{}, false
}

// resource finds what a token is asked for, or says why there is none to be had.
// An authority that goes by its address knows every resource.
func (a *Azure) resource(w http.ResponseWriter, r *http.Request, scope string) (string, bool) {
	resource := ""
	for one := range strings.FieldsSeq(scope) { // MSAL adds openid and its kind
		if of, ok := strings.CutSuffix(one, "/.default"); ok {
			resource = of
		}
	}
	known := strings.HasPrefix(resource, "https://")
	if c, ok := cloudOf(r.Host); ok {
		known = strings.TrimSuffix(resource, "/") == strings.TrimSuffix(c.Resource, "/") ||
			c.Name == "public" && (resource+"/.default" == dsn.CosmosScope || known && !ofDatabases(resource))
	}
	if !known {
		a.refuse(w, http.StatusBadRequest, "invalid_resource", 500011, fmt.Sprintf("The resource principal named %s was not found in the tenant named Contoso. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", resource))
	}
	return resource, known
}

// ofDatabases tells that a resource is some cloud's for PostgreSQL.
func ofDatabases(resource string) bool { return strings.Contains(resource, "//ossrdbms-aad.") }

// refuse answers in Entra's shape.
func (a *Azure) refuse(w http.ResponseWriter, status int, word string, code int, text string) {
	now := a.now().UTC().Format("2006-01-02 15:04:05Z")
	reply(w, status, map[string]any{"error": word, "error_codes": []int{code}, "timestamp": now,
		"error_description": fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nTimestamp: %s", code, text, guid("trace"), now)})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // a client that left is no concern of ours
}
