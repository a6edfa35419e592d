package credential

import (
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/dsn"
)

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
	{string(dsn.ManagedIdentity), dsn.ManagedIdentity}, // where it is taken to be absent
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
	if strings.HasPrefix(text, "managed-identity: ") {
		return true
	}
	return strings.HasPrefix(text, "ManagedIdentityCredential: ") && !strings.Contains(text, "failed to authenticate")
}
