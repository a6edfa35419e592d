package credential

import (
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// cause returns why a request failed, in one line. azidentity's errors have many lines, so
// the response's text is taken if there is one.
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
		return ownRefusal(redact.FirstLine(err.Error()), false)
	}
	return strings.Join(reasons, " / ")
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
		reasons = append(reasons, ownRefusal(redact.FirstLine(line), true))
	}
	return reasons
}
