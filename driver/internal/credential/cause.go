package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// An outcome is what one credential of a request said.
type outcome struct {
	mode     dsn.Mode       // "" if unknown
	text     string         // of its error, all lines
	response *http.Response // the refusal, or nil
	absent   bool           // this environment lacks the credential: it could not have worked
}

// outcomes lists what the credentials said, in the order in which they were asked. azidentity's
// lists put the texts of all into one error.
func outcomes(failures []failure, err error) []outcome {
	if failures == nil {
		return outcomesOf("", err)
	}
	var list []outcome
	for _, f := range failures {
		_, lacking := f.TokenCredential.(unavailable)
		for _, o := range outcomesOf(f.mode, f.err) {
			o.absent = o.absent || lacking
			list = append(list, o)
		}
	}
	return list
}

func outcomesOf(mode dsn.Mode, err error) []outcome {
	if mode == "" && strings.HasPrefix(err.Error(), "DefaultAzureCredential: ") {
		mode = dsn.Default // the program's own
	}
	text := shorten(err.Error())
	texts := attempts(text)
	if texts == nil {
		texts = []string{text}
	}
	var list []outcome
	for _, text := range texts {
		list = append(list, outcome{mode: modeOf(text, mode), text: text, absent: isAbsence(text)})
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) {
		list[len(list)-1].response = failed.RawResponse
		list[len(list)-1].absent = false
	}
	return list
}

// shorten keeps the beginning and the end of a long text, in whole lines: a developer tool
// prints what it likes, and a token must not be cut in two where it would not be recognized.
func shorten(text string) string {
	const half = 64 << 10
	if len(text) <= 2*half {
		return text
	}
	head := text[:half]
	if i := strings.LastIndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	tail := text[len(text)-half:]
	i := strings.IndexByte(tail, '\n')
	if i < 0 {
		return head
	}
	return head + tail[i:]
}

// attempts returns the text of each credential of azidentity's list, or nil if text is not
// that of a list's error.
func attempts(text string) (texts []string) {
	first, list, ok := strings.Cut(text, "\nAttempted credentials:\n")
	if !ok || strings.Contains(first, "\n") {
		return nil
	}
	for line := range strings.SplitSeq(list, "\n") {
		line, ok := strings.CutPrefix(line, "\t")
		if !ok || strings.TrimSpace(line) == "" {
			continue
		}
		if further, ok := strings.CutPrefix(line, "\t"); ok && len(texts) > 0 {
			texts[len(texts)-1] += "\n" + further
			continue
		}
		texts = append(texts, line)
	}
	for i := 0; i < len(texts); i++ {
		if inner := attempts(texts[i]); inner != nil {
			texts = slices.Replace(texts, i, i+1, inner...)
		}
	}
	return texts
}

// modes are those of azidentity's credentials that DefaultAzureCredential asks, by the name
// that begins their errors.
var modes = []struct {
	name string
	mode dsn.Mode
}{
	{"EnvironmentCredential", dsn.Environment},
	{"ClientSecretCredential", dsn.Environment},
	{"ClientCertificateCredential", dsn.Environment},
	{"UsernamePasswordCredential", dsn.Environment},
	{"WorkloadIdentityCredential", dsn.WorkloadIdentity},
	{"ManagedIdentityCredential", dsn.ManagedIdentity},
	{"AzureCLICredential", dsn.AzureCLI},
	{"AzureDeveloperCLICredential", dsn.AzureDeveloperCLI},
	{"AzurePowerShellCredential", dsn.AzurePowerShell},
}

// modeOf returns the mode that a text is about, given the one that was asked.
func modeOf(text string, asked dsn.Mode) dsn.Mode {
	if asked != "" && asked != dsn.Default {
		return asked
	}
	for _, m := range modes {
		if strings.HasPrefix(text, m.name) && (asked == dsn.Default || toolOf(m.mode) != nil) {
			return m.mode
		}
	}
	return asked
}

// isAbsence reports whether a text says that the environment lacks the credential.
func isAbsence(text string) bool {
	absences := []string{
		"executable not found on path", "Az.Accounts module not found",
		"missing environment variable", "incomplete environment variable configuration",
		"no client ID specified", "no token file specified", "no tenant ID specified",
		"managed identity timed out", "no instance metadata service",
	}
	if slices.ContainsFunc(absences, func(s string) bool { return strings.Contains(text, s) }) {
		return true
	}
	// What is no metadata service's, such as a proxy's response, is absence too.
	return strings.HasPrefix(text, "ManagedIdentityCredential: ") && !strings.Contains(text, "failed to authenticate")
}

// decisive returns the outcome that the reader can do something about: that of the
// credential that ended the list, or else of the first one that the environment has. It is
// nil if it has none of them.
func decisive(list []outcome, err error) *outcome {
	if len(list) == 1 || errors.As(err, new(*azidentity.AuthenticationFailedError)) {
		return &list[len(list)-1]
	}
	for i := range list {
		if !list[i].absent {
			return &list[i]
		}
	}
	return nil
}

// reason says in one line why the credential failed: for a person, so in the words of Entra
// or of the tool, if there are any. With named the credential's name stands in front.
func (o outcome) reason(named bool) string {
	name := o.name()
	if toolOf(o.mode) != nil {
		if output := readOutput(o.body()); len(output) > 0 {
			return strings.TrimPrefix(name+": ", ": ") + output.reason()
		}
	}
	words := ""
	line := redact.FirstLine(o.text)
	if o.response != nil {
		words = description(o.response)
		line += fmt.Sprintf(" (HTTP %d)", o.response.StatusCode)
	}
	if words == "" {
		words = line
	}
	if words == line && strings.HasPrefix(line, name) || !named {
		return words
	}
	return name + ": " + words
}

// name returns what the credential is called in its error, or else its mode.
func (o outcome) name() string {
	for _, m := range modes {
		if strings.HasPrefix(o.text, m.name) {
			if m.mode == dsn.Environment && o.mode == dsn.Environment {
				return "EnvironmentCredential" // which asks another one
			}
			return m.name
		}
	}
	return string(o.mode)
}

// body returns the text without the credential's name and the link to azidentity's guide.
func (o outcome) body() string {
	text := redactTrailer(o.text)
	if rest, ok := strings.CutPrefix(text, o.name()); ok && o.name() != "" {
		return strings.TrimPrefix(strings.TrimPrefix(rest, ".GetToken()"), ": ")
	}
	return text
}

// redactTrailer removes the link to azidentity's guide.
func redactTrailer(text string) string {
	if i := strings.LastIndex(text, "To troubleshoot, visit https://aka.ms/"); i >= 0 {
		text = strings.TrimRight(text[:i], " ")
		return strings.TrimSuffix(text, ".")
	}
	return text
}

// detail returns the text that a hint is found by.
func (o outcome) detail() string {
	text := o.text
	if toolOf(o.mode) != nil {
		if output := readOutput(o.body()); len(output) > 0 {
			text = strings.Join(output, "\n")
		}
	}
	return o.reason(true) + "\n" + text
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
