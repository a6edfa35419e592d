package emulator

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// programScript is each of the programs. It sends its arguments to the emulator, and
// prints and exits as the response tells it. Bash has TCP built in, so nothing else need
// be installed.
const programScript = `#!/usr/bin/env bash
# Stands for %[1]s, in tests.
LC_ALL=C
body=$(printf '%%s\n' "$@")
exec 3<>/dev/tcp/%[2]s/%[3]s
printf 'POST /program/%[1]s HTTP/1.0\r\nSecret: %[4]s\r\nContent-Type: text/plain\r\nContent-Length: %%d\r\n\r\n%%s' "${#body}" "$body" >&3
status=2
while IFS= read -r line <&3; do
	line=${line%%$'\r'}
	case $line in
	X-Exit-Status:*) status=${line#*: } ;;
	"") break ;;
	esac
done
if [ "$status" = 0 ]; then cat <&3; else cat <&3 >&2; fi
exit "$status"
`

// A program is a command on a workstation's PATH. Its output goes to standard output if
// the exit status is 0, and to standard error otherwise.
type program struct {
	name           string
	run            func(a *Azure, args []string) (output string, exitStatus int)
	isTokenRequest bool // a run counts as one token request
}

var programTable = []program{
	{name: "az", run: az, isTokenRequest: true},
	{name: "azd", run: azd, isTokenRequest: true},
	{name: "pwsh", run: pwsh, isTokenRequest: true},
	{name: "xdg-open", run: openBrowser}, // the program that opened it requests the token
}

// writePrograms writes the scripts and returns their directory.
func (a *Azure) writePrograms() (string, error) {
	bin := filepath.Join(a.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(a.host.Listener.Addr().String())
	if err != nil {
		return "", err
	}
	for _, p := range programTable {
		file := filepath.Join(bin, p.name)
		if _, err := os.Stat(file); err == nil {
			continue // it may be running
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, programScript, p.name, host, port, a.hostSecret), 0o755); err != nil {
			return "", err
		}
	}
	return bin, nil
}

func (a *Azure) serveProgram(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(programTable, func(p program) bool { return p.name == r.PathValue("name") })
	if i < 0 || r.Header.Get("Secret") != a.hostSecret {
		http.NotFound(w, r)
		return
	}
	p := programTable[i]
	args := strings.Split(readAll(http.MaxBytesReader(w, r.Body, maxBody)), "\n")
	serve := func(w http.ResponseWriter, r *http.Request) {
		r.Form = url.Values{"arg": args}
		output, exitStatus := p.run(a, args)
		w.Header().Set("X-Exit-Status", fmt.Sprint(exitStatus))
		fmt.Fprintln(w, output)
	}
	if p.isTokenRequest && !asksForHelp(args) {
		serve = a.withCounting(serve)
	}
	serve(w, r)
}

// flagValue returns the argument that follows a flag, or "".
func flagValue(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func az(a *Azure, args []string) (string, int) {
	resource := flagValue(args, "--resource")
	if scope := flagValue(args, "--scope"); scope != "" {
		resource = strings.TrimSuffix(scope, "/.default")
	}
	if flagValue(args, "--resource-type") == "oss-rdbms" {
		resource = Resource
	}
	if len(args) < 2 || args[0] != "account" || args[1] != "get-access-token" || resource == "" {
		return "ERROR: the following arguments are required: get-access-token, --resource", 2
	}
	id, ok := a.loggedIn()
	if !ok {
		return "ERROR: Please run 'az login' to setup account.", 1
	}
	if tenant := flagValue(args, "--tenant"); tenant != "" && tenant != TenantID {
		return "ERROR: AADSTS90002: Tenant '" + tenant + "' not found.", 1
	}
	token, expiresOn := a.issue(id, resource)
	output := cmp.Or(flagValue(args, "--output"), flagValue(args, "-o"))
	if strings.Trim(flagValue(args, "--query"), "[]") == "accessToken" && output == "tsv" {
		return token, 0
	}
	return fmt.Sprintf(`{"accessToken":%q,"expiresOn":%q,"expires_on":%d,"subscription":%q,"tenant":%q,"tokenType":"Bearer"}`,
		token, expiresOn.Format("2006-01-02 15:04:05.000000"), expiresOn.Unix(), guid("subscription"), TenantID), 0
}

func azd(a *Azure, args []string) (string, int) {
	scope := flagValue(args, "--scope")
	if len(args) < 2 || args[0] != "auth" || args[1] != "token" || scope == "" {
		return `{"type":"consoleMessage","data":{"message":"ERROR: unknown command"}}`, 2
	}
	id, ok := a.loggedIn()
	if !ok {
		return `{"type":"consoleMessage","data":{"message":"\nERROR: fetching token: not logged in, run ` + "`azd auth login`" + ` to login\n"}}`, 1
	}
	token, expiresOn := a.issue(id, strings.TrimSuffix(scope, "/.default"))
	return fmt.Sprintf(`{"token":%q,"expiresOn":%q}`, token, expiresOn.UTC().Format("2006-01-02T15:04:05Z")), 0
}
