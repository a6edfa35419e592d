//go:build unix

package driver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// setTools makes these developer tools, and those of the system, all that is on the PATH.
// It maps a tool's name to a shell script.
func setTools(t *testing.T, tools map[string]string) {
	t.Helper()
	entratest.CleanEnv(t)
	bin := t.TempDir()
	for name, script := range tools {
		path := filepath.Join(bin, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >> $0.children\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { endChildren(path) })
	}
	t.Setenv("PATH", bin+":"+entratest.SystemPath(t))
}

// endChildren ends a tool that hangs: azidentity ends only the shell that runs it.
func endChildren(path string) {
	b, _ := os.ReadFile(path + ".children")
	endProcesses(path, strings.Fields(string(b)))
}

// fails is the script of a tool that prints lines on standard error and fails.
func fails(lines ...string) string {
	return "cat >&2 <<'END'\n" + strings.Join(lines, "\n") + "\nEND\nexit 1"
}

const hangs = "exec sleep 600"

// failingTransport fails every request with the error that f returns.
func failingTransport(f func(context.Context) error) *transport {
	return &transport{func(r *http.Request) (*http.Response, error) { return nil, f(r.Context()) }}
}

// explained returns the cause and the hint of the error without a token.
func explained(t *testing.T, params string, opts ...Option) (cause, hint string) {
	t.Helper()
	c := newConnector(t, "host=h user=u "+params, opts...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := tokenOf(ctx, c)
	checkSafeError(t, err, "aadpostgres: token: ")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an *Error", err)
	}
	cause = strings.TrimPrefix(err.Error(), "aadpostgres: token: ")
	return strings.TrimSuffix(cause, "; "+e.Hint), e.Hint
}

// The error has the line of a developer tool that says why it failed, and the line that
// says how to sign in. The hint is the command that does so for the server's scope.
func TestToolsReason(t *testing.T) {
	const (
		scope    = "https://ossrdbms-aad.database.windows.net/.default"
		resource = "https://ossrdbms-aad.database.windows.net"
		azLogin  = "az login --scope " + scope + " --tenant contoso.example"
		azTry    = "az account get-access-token --output none --resource " + resource + " --tenant contoso.example"
		azdLogin = "azd auth login --scope " + scope + " --tenant-id contoso.example"
		psLogin  = "Connect-AzAccount -AuthScope " + resource + " -Tenant contoso.example in PowerShell"
		mfa      = "ERROR: AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x'. Trace ID: 1 Correlation ID: 2 Timestamp: 3"
	)
	claims := entratest.JWT(nil)[:20] // as a claims challenge begins
	rows := []struct {
		name, mode, tool, script string
		cause                    string // all of it
		hint                     string // at its beginning
	}{
		{
			name: "second factor", mode: "azure-cli", tool: "az",
			script: fails(mfa, "Run the command below to authenticate interactively; additional arguments may be added as needed:", `az login --tenant "contoso.example" --scope "`+scope+`"`),
			cause:  `AzureCLICredential: ERROR: AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor authentication to access 'x' (az login --tenant "contoso.example" --scope "` + scope + `")`,
			hint:   "run " + azLogin + " and pass the second factor",
		},
		{
			name: "an older az", mode: "azure-cli", tool: "az",
			script: fails("ERROR: AADSTS50079: You must enroll.", "Interactive authentication is needed. Please run:", "az logout", "az login --scope "+scope),
			cause:  "AzureCLICredential: ERROR: AADSTS50079: You must enroll (az login --scope " + scope + ")",
			hint:   "run " + azLogin,
		},
		{
			name: "claims challenge", mode: "azure-cli", tool: "az",
			script: fails("ERROR: AADSTS50076: more.", `az login --scope "`+scope+`" --claims-challenge "`+claims+`"`),
			cause:  `AzureCLICredential: ERROR: AADSTS50076: more (az login --scope "` + scope + `" --claims-challenge "xxxxx")`,
			hint:   "run " + azLogin + "; if that is not enough, run " + azTry + " and then the command that it prints",
		},
		{
			name: "Conditional Access", mode: "azure-cli", tool: "az",
			script: fails("ERROR: AADSTS53003: Access has been blocked by Conditional Access policies.", "az login --scope "+scope),
			cause:  "AzureCLICredential: ERROR: AADSTS53003: Access has been blocked by Conditional Access policies (az login --scope " + scope + ")",
			hint:   "run " + azLogin + " from where the tenant's Conditional Access allows it",
		},
		{
			name: "a code without a rule", mode: "azure-cli", tool: "az",
			script: fails("ERROR: AADSTS999: something new.", "Run:", "az login --scope "+scope),
			cause:  "AzureCLICredential: ERROR: AADSTS999: something new (az login --scope " + scope + ")",
			hint:   "run " + azLogin,
		},
		{
			name: "warnings first", mode: "azure-cli", tool: "az",
			script: fails("WARNING: You have 2 updates available.", "DEBUG: certificate verify failed, or so", "", "ERROR: The subscription of 'x' doesn't exist."),
			cause:  "AzureCLICredential: ERROR: The subscription of 'x' doesn't exist",
		},
		{
			name: "a warning of Python", mode: "azure-cli", tool: "az",
			script: fails("/opt/az/lib/x.py:12: SyntaxWarning: invalid escape sequence", "  x = '\\w' # az login", "ERROR: Please run 'az login' to setup account."),
			cause:  "AzureCLICredential: ERROR: Please run 'az login' to setup account",
			hint:   "run az login",
		},
		{
			name: "nothing but a warning", mode: "azure-cli", tool: "az",
			script: fails("WARNING: Something is about to happen."),
			cause:  "AzureCLICredential: WARNING: Something is about to happen",
		},
		{
			name: "traceback", mode: "azure-cli", tool: "az",
			script: fails("WARNING: unable to log", "Traceback (most recent call last):", `  File "x.py", line 1, in <module>`, "    import azure", "ModuleNotFoundError: No module named 'azure'",
				"", "During handling of the above exception, another exception occurred:", "", "Traceback (most recent call last):", `  File "y.py", line 2, in f`, "    ^^^^^", "PermissionError: [Errno 13] Permission denied: '/root/.azure/az.json'", "To check existing issues, please visit: https://github.com/Azure/azure-cli/issues"),
			cause: "AzureCLICredential: PermissionError: [Errno 13] Permission denied: '/root/.azure/az.json'",
		},
		{
			name: "az explains its traceback", mode: "azure-cli", tool: "az",
			script: fails("ERROR: The command failed with an unexpected error. Here is the traceback:", "ERROR: 'expires_on'", "Traceback (most recent call last):", `  File "x.py", line 1, in f`, "KeyError: 'expires_on'"),
			cause:  "AzureCLICredential: KeyError: 'expires_on'",
		},
		{
			name: "a reason of two lines", mode: "azure-cli", tool: "az",
			script: fails("ERROR: The command failed:", "ERROR: no space left on device"),
			cause:  "AzureCLICredential: ERROR: The command failed: no space left on device",
		},
		{
			name: "proxy that intercepts TLS", mode: "azure-cli", tool: "az",
			script: fails("ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain')))"),
			hint:   "check for a proxy that intercepts TLS, and make its certificate known to the developer tool (az reads REQUESTS_CA_BUNDLE): " + azTry,
		},
		{
			name: "no network", mode: "azure-cli", tool: "az",
			script: fails("ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded: Failed to resolve: Name or service not known"),
			hint:   "check the network of the developer tool: run " + azTry + " in a terminal",
		},
		{
			name: "no JSON", mode: "azure-cli", tool: "az", script: "echo Welcome to az",
			cause: "azure-cli: invalid character 'W' looking for beginning of value",
			hint:  "run " + azTry + " in a terminal: what the developer tool has printed is not a token",
		},
		{
			name: "a word as long as a token", mode: "azure-cli", tool: "az",
			script: fails("ERROR: refused " + strings.Repeat("secret", 20)),
			cause:  "AzureCLICredential: ERROR: refused xxxxx",
		},
		{
			name: "colors, carriage returns", mode: "azure-cli", tool: "az",
			script: `printf '\033[33mWARNING: a\033[0m\r50 %%\r\n\033[31mERROR: b\033[0m\r\n' >&2; exit 1`,
			cause:  "AzureCLICredential: ERROR: b",
		},
		{
			name: "azd, signed out", mode: "azure-developer-cli", tool: "azd",
			script: fails(`{"type":"consoleMessage","timestamp":"t","data":{"message":"\nERROR: not logged in, run ` + "`azd auth login`" + ` to login\n"}}`),
			cause:  "AzureDeveloperCLICredential: ERROR: not logged in, run `azd auth login` to login",
			hint:   "run azd auth login",
		},
		{
			name: "azd, second factor", mode: "azure-developer-cli", tool: "azd",
			script: fails("WARNING: your version of azd is out of date", "ERROR: fetching token: AADSTS50076: You must use multi-factor authentication.", "Suggestion: reauthentication required, run `azd auth login --scope "+scope+"` to acquire a new token."),
			cause:  "AzureDeveloperCLICredential: ERROR: fetching token: AADSTS50076: You must use multi-factor authentication (Suggestion: reauthentication required, run `azd auth login --scope " + scope + "` to acquire a new token)",
			hint:   "run " + azdLogin + " and pass the second factor",
		},
		{
			name: "azd, sign-in too old", mode: "azure-developer-cli", tool: "azd",
			script: fails("ERROR: reauthentication required, run `azd auth login --scope " + scope + "` to log in"),
			hint:   "run " + azdLogin,
		},
		{
			name: "pwsh, signed out or second factor", mode: "azure-powershell", tool: "pwsh",
			script: fails("Get-AzAccessToken: Run Connect-AzAccount to login."),
			cause:  `AzurePowerShellCredential: Please run "Connect-AzAccount" to set up an account`,
			hint:   "run " + psLogin,
		},
		{
			name: "pwsh, module missing", mode: "azure-powershell", tool: "pwsh",
			script: fails("Write-Error: Az.Accounts module not found"),
			cause:  "AzurePowerShellCredential: Az.Accounts module not found",
			hint:   "run Install-Module Az.Accounts in PowerShell",
		},
		{
			name: "pwsh, an error of the script", mode: "azure-powershell", tool: "pwsh",
			script: `printf '\033[33mWARNING: old\033[0m\n\033[31;1mGet-AzAccessToken: \033[0m\n\033[36;1mLine |\033[0m\n\033[36;1m  21 | \033[0m $token = Get-AzAccessToken @params\n     | \033[31;1m~~~~~~~~~~~~~~~~\033[0m\n     | \033[31;1mThe tenant is unknown.\033[0m\n     | \033[31;1mNo token.\033[0m\n' >&2; exit 1`,
			cause:  "AzurePowerShellCredential: Get-AzAccessToken: The tenant is unknown. No token",
		},
		{
			name: "Windows PowerShell", mode: "azure-powershell", tool: "pwsh",
			script: fails("Get-AzAccessToken : The tenant is unknown.", "At line:21 char:10", "+ $token = Get-AzAccessToken @params", "    + CategoryInfo : CloseError"),
			cause:  "AzurePowerShellCredential: Get-AzAccessToken : The tenant is unknown",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			setTools(t, map[string]string{row.tool: row.script})
			cause, hint := explained(t, "aad_tenant_id=contoso.example aad_auth="+row.mode)
			if row.cause != "" && cause != row.cause {
				t.Errorf("cause = %q, want %q", cause, row.cause)
			}
			if !strings.HasPrefix(hint, row.hint) {
				t.Errorf("hint = %q, want it to begin with %q", hint, row.hint)
			}
			if row.hint == "" && hint != "" {
				t.Errorf("hint = %q, want none", hint)
			}
		})
	}
}

// Where the time is up, the error names the credential that was being asked, and the hint
// is about that one. Nobody has asked the authority.
func TestToolHangs(t *testing.T) {
	const (
		azTry  = "run az account get-access-token --output none --resource https://ossrdbms-aad.database.windows.net in a terminal"
		azdTry = "run azd auth login --check-status in a terminal"
		psTry  = `run pwsh -NoProfile -Command "Get-AzAccessToken -ResourceUrl https://ossrdbms-aad.database.windows.net | Out-Null" in a terminal`
		warns  = "echo 'WARNING: opening the browser' >&2; " + hangs
	)
	unreachable := WithTransport(failingTransport(func(context.Context) error {
		return errors.New("dial tcp 169.254.169.254:80: connect: no route to host")
	}))
	rows := []struct {
		name, mode string
		tools      map[string]string
		cause      string
		hint       string // at its beginning
	}{
		{"az", "azure-cli", map[string]string{"az": hangs}, "azure-cli: az did not finish in time: context deadline exceeded", azTry},
		{"az after a warning", "azure-cli", map[string]string{"az": warns}, "azure-cli: az did not finish in time: context deadline exceeded", azTry},
		{"azd", "azure-developer-cli", map[string]string{"azd": hangs}, "azure-developer-cli: azd did not finish in time: context deadline exceeded", azdTry},
		{"pwsh", "azure-powershell", map[string]string{"pwsh": hangs}, "azure-powershell: pwsh did not finish in time: context deadline exceeded", psTry},
		{"first of a list", "azure-cli,azure-developer-cli", map[string]string{"az": hangs, "azd": hangs}, "azure-cli: az did not finish in time: context deadline exceeded", azTry},
		{"second of a list", "azure-cli,azure-developer-cli,azure-powershell", map[string]string{"azd": hangs}, "azure-developer-cli: azd did not finish in time: context deadline exceeded", azdTry},
		{"default, az", "default", map[string]string{"az": hangs, "azd": hangs}, "azure-cli: az did not finish in time: context deadline exceeded", azTry},
		{"default, az after a warning", "default", map[string]string{"az": warns}, "azure-cli: az did not finish in time: context deadline exceeded", azTry},
		{"default, azd", "default", map[string]string{"azd": warns}, "azure-developer-cli: azd did not finish in time: context deadline exceeded", azdTry},
		{"default, pwsh", "default", map[string]string{"pwsh": hangs}, "azure-powershell: pwsh did not finish in time: context deadline exceeded", psTry},
		{"default, pwsh after the failure of az", "default", map[string]string{"az": fails("ERROR: Please run 'az login' to setup account."), "pwsh": hangs}, "azure-powershell: pwsh did not finish in time: context deadline exceeded", psTry},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			setTools(t, row.tools)
			began := time.Now()
			cause, hint := explained(t, "aad_token_timeout=1s aad_auth="+row.mode, unreachable)
			if got := time.Since(began); got > 10*time.Second {
				t.Errorf("took %s, want about 1s", got)
			}
			if cause != row.cause {
				t.Errorf("cause = %q, want %q", cause, row.cause)
			}
			if !strings.HasPrefix(hint, row.hint) {
				t.Errorf("hint = %q, want it to begin with %q", hint, row.hint)
			}
		})
	}
}

// The hint is about the credential that could have worked here, and the error names it.
func TestListsReason(t *testing.T) {
	loggedOut := fails("ERROR: Please run 'az login' to setup account.")
	unreachable := WithTransport(failingTransport(func(context.Context) error {
		return errors.New("dial tcp 169.254.169.254:80: connect: no route to host")
	}))
	rows := []struct {
		name, mode string
		tools      map[string]string
		cause      string // a part
		hint       string
	}{
		{"az signed out", "managed-identity,azure-cli", map[string]string{"az": loggedOut}, "AzureCLICredential: ERROR: Please run 'az login'", "run az login"},
		{"az signed out, first of the tools", "azure-developer-cli,azure-cli", map[string]string{"az": loggedOut}, "AzureCLICredential: ERROR: Please run 'az login'", "run az login"},
		{"default, az signed out", "default", map[string]string{"az": loggedOut}, "AzureCLICredential: ERROR: Please run 'az login'", "run az login"},
		{"default, az and azd signed out", "default", map[string]string{"az": loggedOut, "azd": fails("ERROR: not logged in, run `azd auth login` to login")}, "AzureDeveloperCLICredential: ERROR: not logged in", "run az login"},
		{"default, azd signed out", "default", map[string]string{"azd": fails("ERROR: not logged in, run `azd auth login` to login")}, "AzureDeveloperCLICredential: ERROR: not logged in", "run azd auth login"},
		{"default, second factor", "default", map[string]string{"az": fails("ERROR: AADSTS50076: more.", "az login --scope x")}, "AzureCLICredential: ERROR: AADSTS50076: more (az login --scope x)", "run az login --scope https://ossrdbms-aad.database.windows.net/.default and pass the second factor"},
		{"default, nothing", "default", nil, "none of the credentials is available here: EnvironmentCredential: missing environment variable AZURE_TENANT_ID / ", "check which of them this host is to have"},
		{"nothing", "managed-identity,azure-cli,azure-powershell", nil, "AzurePowerShellCredential: executable not found on path", "check which of them this host is to have"},
		{"default in a list", "azure-developer-cli,default", map[string]string{"az": loggedOut}, "AzureCLICredential: ERROR: Please run 'az login'", "run az login"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			setTools(t, row.tools)
			cause, hint := explained(t, "aad_auth="+row.mode, unreachable)
			if !strings.Contains(cause, row.cause) {
				t.Errorf("cause = %q, want %q in it", cause, row.cause)
			}
			if !strings.HasPrefix(hint, row.hint) {
				t.Errorf("hint = %q, want it to begin with %q", hint, row.hint)
			}
		})
	}
}

// A tool that has no younger token does not need a new sign-in, whatever azidentity says.
func TestToolHasNoYoungerToken(t *testing.T) {
	old := entratest.JWT(map[string]any{"iat": time.Now().Add(-20 * time.Minute).Unix()})
	for _, row := range []struct{ mode, tool, output string }{
		{"azure-cli", "az", `{"accessToken":"` + old + `","expires_on":4102444800}`},
		{"azure-powershell", "pwsh", `{"Token":"` + old + `","ExpiresOn":4102444800}`},
	} {
		t.Run(row.tool, func(t *testing.T) {
			setTools(t, map[string]string{row.tool: "echo '" + row.output + "'"})
			cause, hint := explained(t, "aad_token_max_age=5m aad_auth="+row.mode)
			if want := "requesting a younger token: "; !strings.HasPrefix(cause, want) {
				t.Errorf("cause = %q, want it to begin with %q", cause, want)
			}
			if want := "raise aad_token_max_age"; !strings.HasPrefix(hint, want) {
				t.Errorf("hint = %q, want it to begin with %q", hint, want)
			}
		})
	}
}

// Where nobody signs in in the browser, or enters the device code, the hint is to do so.
func TestNobodySignsIn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("browsers are opened by another program")
	}
	const discovery = `{"issuer":"https://login.microsoftonline.com/t/v2.0","authorization_endpoint":"https://login.microsoftonline.com/a","token_endpoint":"https://login.microsoftonline.com/t/token"}`
	authority := WithTransport(&transport{func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(discovery)), Request: r}, nil
	}})
	setTools(t, map[string]string{"xdg-open": "exit 0"})
	cause, hint := explained(t, "aad_token_timeout=1s aad_tenant_id=t aad_disable_instance_discovery=true aad_auth=interactive-browser", authority)
	if want := "nobody has signed in before the time was up: context deadline exceeded"; cause != want {
		t.Errorf("cause = %q, want %q", cause, want)
	}
	if want := "sign in sooner, or raise aad_token_timeout"; hint != want {
		t.Errorf("hint = %q, want %q", hint, want)
	}
}

// A connect whose own time is up says what the developer tool may be waiting for.
func TestConnectEndsBeforeTheTool(t *testing.T) {
	setTools(t, map[string]string{"az": hangs})
	c := newConnector(t, "host=h user=u aad_auth=azure-cli")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := tokenOf(ctx, c)
	checkSafeError(t, err, "waiting for the token: azure-cli: context deadline exceeded")
	checkHint(t, err, "allow more time, or run az account get-access-token --output none --resource https://ossrdbms-aad.database.windows.net in a terminal")
}
