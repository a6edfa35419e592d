package emulator

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// An identityEndpoint is the managed identity endpoint of one kind of host. The requests
// and responses are those that azidentity's managed identity clients use.
type identityEndpoint struct {
	pattern string
	// authorized reports whether the request comes from a program on the host.
	authorized         func(a *Azure, r *http.Request) bool
	unauthorizedStatus int
	unauthorizedBody   map[string]any
	idParams           []idParam
	// notFoundBody is the response for an identity that the host does not have.
	notFoundBody map[string]any
}

// An idParam is a query parameter that selects an identity. The first one that is set
// applies.
type idParam struct {
	name string
	of   func(Identity) string
}

func clientID(id Identity) string   { return id.ClientID }
func objectID(id Identity) string   { return id.ObjectID }
func resourceID(id Identity) string { return id.ResourceID }

func hasMetadataHeader(_ *Azure, r *http.Request) bool { return r.Header.Get("Metadata") == "true" }

// hasSecret returns a function that checks a header for the host's secret.
func hasSecret(header string) func(*Azure, *http.Request) bool {
	return func(a *Azure, r *http.Request) bool { return r.Header.Get(header) == a.hostSecret }
}

var missingMetadataBody = map[string]any{"error": "invalid_request", "error_description": "Required metadata header not specified"}

var (
	appServiceEndpoint = identityEndpoint{
		pattern:            "GET /msi/token",
		authorized:         hasSecret("X-IDENTITY-HEADER"),
		unauthorizedStatus: http.StatusUnauthorized,
		unauthorizedBody:   map[string]any{"statusCode": 401, "message": "Unauthorized"},
		idParams:           []idParam{{"client_id", clientID}, {"object_id", objectID}, {"mi_res_id", resourceID}},
		notFoundBody:       map[string]any{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."},
	}
	imdsEndpoint = identityEndpoint{
		pattern:            "GET /metadata/identity/oauth2/token",
		authorized:         hasMetadataHeader,
		unauthorizedStatus: http.StatusBadRequest,
		unauthorizedBody:   missingMetadataBody,
		idParams:           []idParam{{"client_id", clientID}, {"object_id", objectID}, {"msi_res_id", resourceID}},
		notFoundBody:       map[string]any{"error": "invalid_request", "error_description": "Identity not found"},
	}
	machineLearningEndpoint = identityEndpoint{
		pattern:            "GET /ml/token",
		authorized:         hasSecret("Secret"),
		unauthorizedStatus: http.StatusUnauthorized,
		unauthorizedBody:   map[string]any{"error": map[string]any{"code": "Unauthorized", "message": "The secret is not valid."}},
		idParams:           []idParam{{"clientid", clientID}},
		notFoundBody:       map[string]any{"error": map[string]any{"code": "UserError", "message": "The requested identity was not found."}},
	}
	cloudShellEndpoint = identityEndpoint{
		pattern:            "POST /shell/token",
		authorized:         hasMetadataHeader,
		unauthorizedStatus: http.StatusBadRequest,
		unauthorizedBody:   missingMetadataBody,
	}
)

// imdsAddress is the fixed address of a virtual machine's instance metadata service.
const imdsAddress = "169.254.169.254"

// hostHandler serves what hosts offer to their programs: the managed identity endpoints,
// the OIDC endpoint of a pipeline, and the responses of the programs on a workstation's
// PATH.
func (a *Azure) hostHandler() http.Handler {
	mux := http.NewServeMux()
	for _, e := range []identityEndpoint{appServiceEndpoint, machineLearningEndpoint, cloudShellEndpoint} {
		mux.HandleFunc(e.pattern, a.withCounting(e.handler(a)))
	}
	countedIMDS := a.withCounting(imdsEndpoint.handler(a))
	mux.HandleFunc(imdsEndpoint.pattern, func(w http.ResponseWriter, r *http.Request) {
		if !hasMetadataHeader(a, r) { // azidentity probes for the service so; that is no token request
			writeJSON(w, imdsEndpoint.unauthorizedStatus, imdsEndpoint.unauthorizedBody)
			return
		}
		countedIMDS(w, r)
	})
	mux.HandleFunc("POST /oidc", a.serveOIDC)
	mux.HandleFunc("POST /program/{name}", a.serveProgram)
	return a.withDate(mux)
}

func (e identityEndpoint) handler(a *Azure) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if faults := a.Faults.current(); faults.identityStatus != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(faults.identityStatus)
			io.WriteString(w, faults.identityBody) // to a bufferedResponse, which takes everything
			return
		}
		if !e.authorized(a, r) {
			writeJSON(w, e.unauthorizedStatus, e.unauthorizedBody)
			return
		}
		id, ok := a.findIdentity(func(id Identity) bool { return id.Kind == ManagedIdentity && e.selects(r, id) })
		if !ok {
			writeJSON(w, http.StatusBadRequest, e.notFoundBody)
			return
		}
		resource := r.Form.Get("resource")
		token, expiresOn := a.issue(id, resource)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token,
			"token_type":   "Bearer",
			"resource":     resource,
			"expires_on":   strconv.FormatInt(expiresOn.Unix(), 10),
		})
	}
}

// selects reports whether r is for id. A request without an id is for every identity; the
// first one is the system-assigned one.
func (e identityEndpoint) selects(r *http.Request, id Identity) bool {
	for _, p := range e.idParams {
		if want := r.Form.Get(p.name); want != "" {
			return strings.EqualFold(p.of(id), want)
		}
	}
	return true
}

// serveOIDC gives a pipeline the federated token of its service connection.
func (a *Azure) serveOIDC(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+a.hostSecret {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Access denied"})
		return
	}
	id, ok := a.findIdentity(func(id Identity) bool {
		return id.ServiceConnectionID == r.URL.Query().Get("serviceConnectionId")
	})
	if !ok {
		writeJSON(w, http.StatusNotFound, map[string]any{"message": "The service connection was not found."})
		return
	}
	token := a.FederatedToken(id, func(c map[string]any) { c["sub"] = connectionSubject(id) })
	writeJSON(w, http.StatusOK, map[string]any{"oidcToken": token})
}
