package credential

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A modeCredential is the credential of one mode of the DSN. It records in the exchange that
// it is asked, and what came of it: when the time is up, or when several have failed, the
// error says which one it is about.
type modeCredential struct {
	azcore.TokenCredential
	mode  dsn.Mode
	cfg   *dsn.Config
	scope string
}

// A failure is the error of one of them.
type failure struct {
	*modeCredential
	err error
}

// GetToken implements azcore.TokenCredential.
func (m *modeCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	x := exchangeFrom(ctx)
	x.update(func() { x.current = m })
	if m.mode == dsn.WorkloadIdentity {
		// azidentity keeps what it has read for ten minutes, however wrong.
		if err := m.checkAssertion(false); err != nil {
			x.update(func() { x.failures = append(x.failures, failure{m, err}) })
			return azcore.AccessToken{}, err
		}
	}
	at, err := m.request(ctx, o)
	if err != nil {
		x.update(func() { x.failures = append(x.failures, failure{m, err}) })
	}
	return at, err
}

// request asks the credential. DefaultAzureCredential is a list of its own that does not
// say whom it asks, but its error does. So it is stopped before the request's time is up.
func (m *modeCredential) request(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	deadline, ok := ctx.Deadline()
	if m.mode != dsn.Default || !ok {
		return m.TokenCredential.GetToken(ctx, o)
	}
	// azidentity waits a tenth of a second for the output of a tool that it has killed.
	const reserve = 300 * time.Millisecond
	early, cancel := context.WithDeadline(ctx, deadline.Add(-min(reserve, time.Until(deadline)/4)))
	defer cancel()
	at, err := m.TokenCredential.GetToken(early, o)
	if err == nil || !errors.Is(early.Err(), context.DeadlineExceeded) {
		return at, err
	}
	mode := interrupted(err.Error())
	return at, &timeoutError{unfinished(mode), context.DeadlineExceeded, mode}
}

// unfinished says that a credential was being asked when the time was up.
func unfinished(mode dsn.Mode) string {
	if t := toolOf(mode); t != nil {
		return string(mode) + ": " + t.name + " did not finish in time: " + context.DeadlineExceeded.Error()
	}
	return string(mode) + " did not respond in time: " + context.DeadlineExceeded.Error()
}

// interrupted returns the mode that DefaultAzureCredential was asking when it was stopped.
// Those that follow it in the list cannot even begin.
func interrupted(text string) dsn.Mode {
	entries := attempts(text)
	if entries == nil {
		entries = []string{text}
	}
	for len(entries) > 1 && strings.HasSuffix(withoutGuide(entries[len(entries)-1]), "Credential: "+context.DeadlineExceeded.Error()) {
		entries = entries[:len(entries)-1]
	}
	return modeOf(entries[len(entries)-1], dsn.Default)
}

// assertionFile returns the file that holds the federated token, and the setting that
// names it.
func (m *modeCredential) assertionFile() (setting, path string) {
	if m.cfg.FederatedTokenFile != "" && m.mode == dsn.WorkloadIdentity {
		return "aad_federated_token_file", m.cfg.FederatedTokenFile
	}
	return "AZURE_FEDERATED_TOKEN_FILE", os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
}

// checkAssertion says why the file of the federated token will not do. strict is for a
// request that has failed: there may be a reason in what was not refused before.
func (m *modeCredential) checkAssertion(strict bool) error {
	setting, path := m.assertionFile()
	if path == "" {
		return nil
	}
	if err := token.CheckAssertion(path, strict); err != nil {
		return &settingError{setting, err}
	}
	return nil
}

// A settingError is what is wrong with a file or a variable.
type settingError struct {
	setting string
	err     error
}

func (e *settingError) Error() string { return e.setting + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// doubt returns what is wrong with the secret or the file that mode has sent, or "". It is
// asked after a refusal: an authority does not say that a secret ends in a line break.
func (m *modeCredential) doubt(mode dsn.Mode, reason string) string {
	switch mode {
	case dsn.WorkloadIdentity:
		if err := m.checkAssertion(true); err != nil {
			return err.Error()
		}
	case dsn.ClientSecret:
		return doubtSecret(m.cfg.ClientSecret.Value(), reason)
	case dsn.Environment:
		return doubtSecret(os.Getenv("AZURE_CLIENT_SECRET"), reason)
	}
	return ""
}

// doubtSecret says that a secret that was refused has white space or a byte order mark
// around it. No secret of Entra's has.
func doubtSecret(secret, reason string) string {
	if strings.Contains(reason, "AADSTS7000215:") && token.Trim(secret) != secret {
		return "there is white space or a byte order mark around the secret"
	}
	return ""
}
