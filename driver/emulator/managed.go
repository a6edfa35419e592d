package emulator

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// A shape is how one kind of host asks for its identity's token, and how it is
// answered. The shapes are those of azidentity's sources.
type shape struct {
	pattern string
	// admit tells whether the request comes from the host itself.
	admit  func(a *Azure, r *http.Request) bool
	status int            // of the answer to others
	denied map[string]any // that answer
	ids    map[string]func(Identity) string
	// unknown is the answer for an identity that the host does not have.
	unknown map[string]any
}

func clientID(id Identity) string   { return id.ClientID }
func objectID(id Identity) string   { return id.ObjectID }
func resourceID(id Identity) string { return id.ResourceID }

func metadata(_ *Azure, r *http.Request) bool { return r.Header.Get("Metadata") == "true" }

var noMetadata = map[string]any{"error": "invalid_request", "error_description": "Required metadata header not specified"}

var shapes = []shape{
	{pattern: "GET /msi/token", // App Service
		admit:  func(a *Azure, r *http.Request) bool { return r.Header.Get("X-IDENTITY-HEADER") == a.header },
		status: http.StatusUnauthorized, denied: map[string]any{"statusCode": 401, "message": "Unauthorized"},
		ids:     map[string]func(Identity) string{"client_id": clientID, "object_id": objectID, "mi_res_id": resourceID},
		unknown: map[string]any{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}},
	{pattern: "GET " + imdsPath, // a virtual machine's instance metadata service
		admit: metadata, status: http.StatusBadRequest, denied: noMetadata,
		ids:     map[string]func(Identity) string{"client_id": clientID, "object_id": objectID, "msi_res_id": resourceID},
		unknown: map[string]any{"error": "invalid_request", "error_description": "Identity not found"}},
	{pattern: "GET /ml/token", // Azure Machine Learning
		admit:  func(a *Azure, r *http.Request) bool { return r.Header.Get("Secret") == a.header },
		status: http.StatusUnauthorized, denied: map[string]any{"error": map[string]any{"code": "Unauthorized", "message": "The secret is not valid."}},
		ids:     map[string]func(Identity) string{"clientid": clientID},
		unknown: map[string]any{"error": map[string]any{"code": "UserError", "message": "The requested identity was not found."}}},
	{pattern: "POST /shell/token", // Cloud Shell
		admit: metadata, status: http.StatusBadRequest, denied: noMetadata},
}

const (
	imdsPath    = "/metadata/identity/oauth2/token"
	imdsAddress = "169.254.169.254"
)

// hostHandler serves what a host offers to its own programs: the endpoints of its
// identities, a pipeline's, and the answers of the programs on its PATH.
func (a *Azure) hostHandler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range shapes {
		mux.HandleFunc(s.pattern, func(w http.ResponseWriter, r *http.Request) {
			if s.pattern == "GET "+imdsPath && !metadata(a, r) {
				reply(w, s.status, s.denied) // a probe, which asks for nothing
				return
			}
			a.counted(func(w http.ResponseWriter, r *http.Request) { s.serve(a, w, r) })(w, r)
		})
	}
	mux.HandleFunc("POST /oidc", a.serveConnection)
	mux.HandleFunc("POST /program/{name}", a.serveProgram)
	return a.dated(mux)
}

func (s shape) serve(a *Azure, w http.ResponseWriter, r *http.Request) {
	status, body := 0, ""
	a.Faults.set(func() { status, body = a.Faults.noIdentity, a.Faults.noBody })
	if status != 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body) // held back until the client is ready
		return
	}
	id, ok := a.find(func(id Identity) bool {
		if id.Kind != ManagedIdentity {
			return false
		}
		for name, of := range s.ids {
			if want := r.Form.Get(name); want != "" {
				return strings.EqualFold(of(id), want)
			}
		}
		return true // the first is the system-assigned one
	})
	switch {
	case !s.admit(a, r):
		reply(w, s.status, s.denied)
	case !ok:
		reply(w, http.StatusBadRequest, s.unknown)
	default:
		token, end := a.issue(id, r.Form.Get("resource"))
		reply(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer",
			"resource": r.Form.Get("resource"), "expires_on": strconv.FormatInt(end.Unix(), 10)})
	}
}

// serveConnection hands a pipeline the federated token of its service connection.
func (a *Azure) serveConnection(w http.ResponseWriter, r *http.Request) {
	id, ok := a.find(func(id Identity) bool { return id.ServiceConnectionID == r.URL.Query().Get("serviceConnectionId") })
	switch {
	case r.Header.Get("Authorization") != "Bearer "+a.header:
		reply(w, http.StatusUnauthorized, map[string]any{"message": "Access denied"})
	case !ok:
		reply(w, http.StatusNotFound, map[string]any{"message": "The service connection was not found."})
	default:
		reply(w, http.StatusOK, map[string]any{"oidcToken": a.FederatedToken(id, func(c map[string]any) { c["sub"] = connectionSubject(id) })})
	}
}
