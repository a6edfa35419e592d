package credential

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// description returns what a refusal says, in one line, or "".
func description(resp *http.Response) string {
	b, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	return refusalText(b)
}

// refusalText returns the text of a refusal's JSON, in one line, or "". An authority, a
// virtual machine and Azure Arc have error_description. App Service, Azure Pipelines and
// GitHub have message. Azure Machine Learning, Cloud Shell and Service Fabric have
// error.message. The code of the error is less than a text, and more than none.
func refusalText(body []byte) string {
	var fields struct {
		Description any `json:"error_description"`
		Message     any `json:"message"`
		Exception   any `json:"ExceptionMessage"`
		Error       any `json:"error"`
		Code        any `json:"code"`
	}
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	candidates := []any{fields.Description}
	if nested, ok := fields.Error.(map[string]any); ok {
		candidates = append(candidates, nested["message"], nested["code"])
	}
	for _, candidate := range append(candidates, fields.Message, fields.Exception, fields.Error, fields.Code) {
		text, _ := candidate.(string)
		if line := redact.FirstLine(text); line != "" {
			return line
		}
	}
	return ""
}

// identityParameters are the query parameters by which a managed identity is requested.
var identityParameters = []string{"client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"}

// requestedIdentity says which managed identity was requested, or "" for the response of
// another endpoint.
func requestedIdentity(resp *http.Response) string {
	if resp.Request == nil || !isIdentityEndpoint(resp.Request.URL) {
		return ""
	}
	query := resp.Request.URL.Query()
	for _, name := range identityParameters {
		if id := query.Get(name); id != "" {
			return fmt.Sprintf("requested identity: %q", id)
		}
	}
	return requestedOwn
}

const requestedOwn = "requested identity: the host's own"

// ownRefusal replaces the JSON in azidentity's reason for which a virtual machine has no
// identity of its own: azidentity quotes the response, and does not return it.
func ownRefusal(reason string, chained bool) string {
	name, body, found := strings.Cut(reason, ": failed to authenticate a system assigned identity. The endpoint responded with ")
	text := refusalText([]byte(body))
	if !found || text == "" {
		return reason
	}
	if chained {
		text = name + ": " + text
	}
	return text + " (" + requestedOwn + ")"
}

// refusal replaces azidentity's reason by what the response says. In a chain the name of
// the credential stays in front. The status follows, unless there is an error_description,
// which has a code of its own or is known by its words.
func refusal(reason string, resp *http.Response, chained bool) string {
	body, _ := runtime.Payload(resp)
	text := refusalText(body)
	var notes []string
	if text == "" || !isDescribed(body) {
		notes = append(notes, fmt.Sprintf("HTTP %d", resp.StatusCode))
	}
	if id := requestedIdentity(resp); id != "" {
		notes = append(notes, id)
	}
	name, _, _ := strings.Cut(reason, " ")
	switch {
	case text == "":
		text = reason
	case chained:
		text = strings.TrimSuffix(name, ":") + ": " + text
	}
	if notes == nil {
		return text
	}
	return text + " (" + strings.Join(notes, ", ") + ")"
}

// isDescribed reports whether the text of a refusal is its error_description.
func isDescribed(body []byte) bool {
	var fields struct {
		Description string `json:"error_description"`
	}
	return json.Unmarshal(body, &fields) == nil && fields.Description != ""
}
