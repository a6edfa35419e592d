package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// cause returns why a request failed, in one line. azidentity's errors have many lines, so
// Entra's description is taken if there is one.
func cause(err error) string {
	reasons := attempts(err.Error())
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		if reasons == nil {
			reasons = []string{redact.FirstLine(failed.Error())}
		}
		last := &reasons[len(reasons)-1]
		*last = refusal(*last, failed.RawResponse, len(reasons) > 1)
	}
	if reasons == nil {
		return redact.FirstLine(err.Error())
	}
	return strings.Join(reasons, " / ")
}

// refusal replaces azidentity's reason by Entra's description, or adds the status if there
// is none. In a chain the name of the credential stays in front.
func refusal(reason string, resp *http.Response, chained bool) string {
	words := description(resp)
	if words == "" {
		return reason + fmt.Sprintf(" (HTTP %d)", resp.StatusCode)
	}
	if !chained {
		return words
	}
	name, _, _ := strings.Cut(reason, " ")
	return strings.TrimSuffix(name, ":") + ": " + words
}

// description returns the error_description of a refusal, or "".
func description(resp *http.Response) string {
	var body struct {
		Description string `json:"error_description"`
	}
	b, err := runtime.Payload(resp)
	if err != nil || json.Unmarshal(b, &body) != nil {
		return ""
	}
	return redact.FirstLine(body.Description)
}

// attempts returns the reason of each credential of a chain, in one line each. It returns
// nil if text is not that of a chain's error.
func attempts(text string) (reasons []string) {
	_, list, ok := strings.Cut(text, "\nAttempted credentials:\n")
	if !ok {
		return nil
	}
	for line := range strings.Lines(list) {
		line, ok := strings.CutPrefix(line, "\t")
		if !ok || strings.TrimSpace(line) == "" || line[0] == '\t' {
			continue // a further line of the credential before
		}
		reasons = append(reasons, redact.FirstLine(line))
	}
	return reasons
}
