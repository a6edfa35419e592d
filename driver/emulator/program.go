package emulator

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// script is each of the programs: it hands its arguments to the emulator and does
// what the answer says. Bash speaks TCP, so that nothing else need be installed.
const script = `#!/usr/bin/env bash
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

// A program answers with what it prints, and its exit status.
type program func(a *Azure, args []string) (out string, status int)

// programTable lists the programs of a workstation. Whether they ask for tokens
// themselves is their own business, but a run of az, azd or pwsh counts as one request.
var programTable = map[string]program{"az": az, "azd": azd, "pwsh": pwsh, "xdg-open": browse}

// programs writes the scripts and returns their folder.
func (a *Azure) programs() (string, error) {
	bin := filepath.Join(a.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(a.host.Listener.Addr().String())
	if err != nil {
		return "", err
	}
	for name := range programTable {
		file := filepath.Join(bin, name)
		if _, err := os.Stat(file); err == nil {
			continue // it may be running
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, script, name, host, port, a.header), 0o755); err != nil {
			return "", err
		}
	}
	return bin, nil
}

func (a *Azure) serveProgram(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	run, ok := programTable[name]
	if !ok || r.Header.Get("Secret") != a.header {
		http.NotFound(w, r)
		return
	}
	text := new(strings.Builder)
	if _, err := fmt.Fprint(text, readAll(http.MaxBytesReader(w, r.Body, 1<<20))); err != nil {
		panic(err) // a builder takes everything
	}
	args := strings.Split(text.String(), "\n")
	serve := func(w http.ResponseWriter, r *http.Request) {
		r.Form = url.Values{"arg": args}
		out, status := run(a, args)
		w.Header().Set("X-Exit-Status", fmt.Sprint(status))
		fmt.Fprintln(w, out)
	}
	if name == "xdg-open" {
		serve(w, r)
		return
	}
	a.counted(serve)(w, r)
}

// after returns the argument that follows name, or "".
func after(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func az(a *Azure, args []string) (string, int) {
	id, ok := a.loggedIn()
	resource := after(args, "--resource")
	if after(args, "--resource-type") == "oss-rdbms" {
		resource = Resource
	}
	switch {
	case len(args) < 2 || args[0] != "account" || args[1] != "get-access-token" || resource == "":
		return "ERROR: the following arguments are required: get-access-token, --resource", 2
	case !ok:
		return "ERROR: Please run 'az login' to setup account.", 1
	case after(args, "--tenant") != "" && after(args, "--tenant") != TenantID:
		return "ERROR: AADSTS90002: Tenant '" + after(args, "--tenant") + "' not found.", 1
	}
	token, end := a.issue(id, resource)
	if strings.Trim(after(args, "--query"), "[]") == "accessToken" && cmp.Or(after(args, "--output"), after(args, "-o")) == "tsv" {
		return token, 0
	}
	return fmt.Sprintf(`{"accessToken":%q,"expiresOn":%q,"expires_on":%d,"subscription":%q,"tenant":%q,"tokenType":"Bearer"}`,
		token, end.Format("2006-01-02 15:04:05.000000"), end.Unix(), guid("subscription"), TenantID), 0
}

func azd(a *Azure, args []string) (string, int) {
	id, ok := a.loggedIn()
	switch {
	case len(args) < 2 || args[0] != "auth" || args[1] != "token" || after(args, "--scope") == "":
		return `{"type":"consoleMessage","data":{"message":"ERROR: unknown command"}}`, 2
	case !ok:
		return `{"type":"consoleMessage","data":{"message":"\nERROR: fetching token: not logged in, run ` + "`azd auth login`" + ` to login\n"}}`, 1
	}
	token, end := a.issue(id, strings.TrimSuffix(after(args, "--scope"), "/.default"))
	return fmt.Sprintf(`{"token":%q,"expiresOn":%q}`, token, end.UTC().Format("2006-01-02T15:04:05Z")), 0
}

var resourceURL = regexp.MustCompile(`ResourceUrl\s*=\s*'([^']*)'`)

func pwsh(a *Azure, args []string) (string, int) {
	b, err := base64.StdEncoding.DecodeString(after(args, "-EncodedCommand"))
	if err != nil {
		return "Cannot process the command because the value specified with -EncodedCommand is not properly encoded.", 1
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	resource := resourceURL.FindStringSubmatch(string(utf16.Decode(units)))
	id, ok := a.loggedIn()
	switch {
	case resource == nil:
		return "The command is not one that this stands for.", 1
	case !ok:
		return "Get-AzAccessToken: Run Connect-AzAccount to login.", 1
	}
	token, end := a.issue(id, resource[1])
	return fmt.Sprintf(`{"Token":%q,"ExpiresOn":%d}`, token, end.Unix()), 0
}
