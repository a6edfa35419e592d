package credential

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Each endpoint has a form of its own for why it refuses.
func TestRefusalText(t *testing.T) {
	rows := []struct{ name, body, want string }{
		{"authority", `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret.\r\nTrace ID: x","error_codes":[7000215]}`, "AADSTS7000215: Invalid client secret"},
		{"virtual machine", `{"error":"invalid_request","error_description":"Identity not found"}`, "Identity not found"},
		{"App Service", `{"statusCode":400,"message":"Unable to load the proper Managed Identity."}`, "Unable to load the proper Managed Identity"},
		{"App Service, capitals", `{"StatusCode":500,"Message":"No MSI."}`, "No MSI"},
		{"App Service, exception", `{"ExceptionMessage":"AADSTS700016: not in the tenant","ErrorCode":"invalid_client"}`, "AADSTS700016: not in the tenant"},
		{"Service Fabric", `{"error":{"correlationId":"c","code":"SecretHeaderNotFound","message":"Secret is not found in the request headers."}}`, "Secret is not found in the request headers"},
		{"Cloud Shell", `{"error":{"code":"AudienceNotSupported","message":"Audience x is not supported."}}`, "Audience x is not supported"},
		{"nested, code alone", `{"error":{"code":"UserError"}}`, "UserError"},
		{"Azure Pipelines", `{"$id":"1","message":"The service connection was not found.","typeName":"x"}`, "The service connection was not found"},
		{"code alone", `{"error":"unauthorized_client"}`, "unauthorized_client"},
		{"description before message", `{"message":"m","error":{"message":"n"},"error_description":"d"}`, "d"},
		{"empty description", `{"error":"e","error_description":"","message":"m"}`, "m"},
		{"description that is not text", `{"error":5,"error_description":[1],"message":{}}`, ""},
		{"nothing", `{}`, ""},
		{"array", `["x"]`, ""},
		{"page", `<html>`, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := refusalText([]byte(row.body)); got != row.want {
				t.Errorf("refusalText() = %q, want %q", got, row.want)
			}
		})
	}
}

// The error of a managed identity has the words of its endpoint, masked and bounded, and
// the identity that was requested.
func TestRefusalOfAnEndpoint(t *testing.T) {
	const secret = "header/" + entratest.Marker
	appService := map[string]string{"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": secret}
	machineLearning := map[string]string{"MSI_ENDPOINT": "{url}/ml", "MSI_SECRET": secret, "DEFAULT_IDENTITY_CLIENT_ID": "given"}
	rows := []struct {
		name, params string
		env          map[string]string
		body, want   string
	}{
		{"App Service", "", appService, `{"statusCode":400,"message":"Unable to load the proper Managed Identity."}`, "Unable to load the proper Managed Identity (HTTP 400, requested identity: the host's own)"},
		{"by client ID", "aad_client_id=wanted", appService, `{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}`, `No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId (HTTP 400, requested identity: "wanted")`},
		{"by object ID", "aad_object_id=wanted", appService, `{"message":"m"}`, `m (HTTP 400, requested identity: "wanted")`},
		{"by resource ID", "aad_resource_id=/subscriptions/wanted", appService, `{"message":"m"}`, `m (HTTP 400, requested identity: "/subscriptions/wanted")`},
		{"without a text", "aad_client_id=wanted", appService, `{}`, `ManagedIdentityCredential authentication failed (HTTP 400, requested identity: "wanted")`},
		{"machine learning", "", machineLearning, `{"error":{"code":"UserError","message":"The requested identity was not found."}}`, `The requested identity was not found (HTTP 400, requested identity: "given")`},
		{"Cloud Shell", "", map[string]string{"MSI_ENDPOINT": "{url}/shell"}, `{"error":{"code":"AudienceNotSupported","message":"Audience x is not supported."}}`, "Audience x is not supported (HTTP 400, requested identity: the host's own)"},
		{"secret repeated", "", appService, `{"message":"received ` + secret + ` and {jwt}"}`, "received xxxxx and xxxxx (HTTP 400, requested identity: the host's own)"},
		{"secret repeated, escaped", "", appService, `{"message":"received header\/` + entratest.Marker + `"}`, "received xxxxx (HTTP 400, requested identity: the host's own)"},
		{"control characters", "", appService, `{"message":"a\u001b[31mb"}`, "a [31mb (HTTP 400, requested identity: the host's own)"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			body := strings.ReplaceAll(row.body, "{jwt}", entratest.JWT(map[string]any{"oid": "o"}))
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				w.Write([]byte(body))
			}))
			t.Cleanup(web.Close)
			for name, value := range row.env {
				t.Setenv(name, strings.ReplaceAll(value, "{url}", web.URL))
			}
			f := fetcherOf(t, "host=h user=u aad_auth=managed-identity "+row.params, Options{})
			ctx := policy.WithRetryOptions(t.Context(), policy.RetryOptions{MaxRetries: -1})
			got, err := f.Fetch(ctx, token.Request{})
			if err == nil {
				t.Fatal("Fetch() = nil, want an error")
			}
			if got.Cause != row.want {
				t.Errorf("Cause = %q, want %q", got.Cause, row.want)
			}
			if strings.Contains(err.Error()+got.Detail, entratest.Marker) {
				t.Errorf("Fetch() = %v, which holds a secret", err)
			}
		})
	}
}

// The words of an endpoint are bounded.
func TestLongRefusal(t *testing.T) {
	entratest.CleanEnv(t)
	transport := &fakeTransport{func(*http.Request) (*http.Response, error) {
		return respond(http.StatusBadRequest, `{"message":"`+strings.Repeat("x", 1<<19)+`"}`), nil
	}}
	f := fetcherOf(t, "host=h user=u aad_auth=managed-identity aad_client_id=c", Options{Transport: transport})
	got, err := f.Fetch(t.Context(), token.Request{})
	if err == nil {
		t.Fatal("Fetch() = nil, want an error")
	}
	if len(got.Cause) > 600 {
		t.Errorf("Cause has %d bytes, want at most 600", len(got.Cause))
	}
}

// azidentity quotes the response of a virtual machine without an identity of its own.
func TestOwnRefusal(t *testing.T) {
	const quoted = `ManagedIdentityCredential: failed to authenticate a system assigned identity. The endpoint responded with `
	rows := []struct {
		name, reason string
		chained      bool
		want         string
	}{
		{"alone", quoted + `{"error":"invalid_request","error_description":"Identity not found"}`, false, "Identity not found (requested identity: the host's own)"},
		{"in a list", quoted + `{"error":"invalid_request","error_description":"Identity not found"}`, true, "ManagedIdentityCredential: Identity not found (requested identity: the host's own)"},
		{"without a text", quoted + `{}`, false, quoted + `{}`},
		{"cut off", quoted + `{"error":"inv`, false, quoted + `{"error":"inv`},
		{"another reason", `EnvironmentCredential: {"message":"m"}`, false, `EnvironmentCredential: {"message":"m"}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := ownRefusal(row.reason, row.chained); got != row.want {
				t.Errorf("ownRefusal() = %q, want %q", got, row.want)
			}
		})
	}
}
