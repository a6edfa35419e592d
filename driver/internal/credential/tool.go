package credential

import (
	"regexp"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A tool is a developer tool that azidentity runs. Its commands are for a person to run.
type tool struct {
	mode  dsn.Mode
	name  string
	login func(scope string, cfg *dsn.Config) string // signs in for the scope
	try   func(scope string, cfg *dsn.Config) string // does what the mode does, and prints no token
}

// tools are the developer tools. az and Connect-AzAccount document these options; azd's
// --scope is the one that azd itself prints when it wants a new sign-in.
var tools = []tool{
	{
		mode: dsn.AzureCLI,
		name: "az",
		login: func(scope string, cfg *dsn.Config) string {
			return "az login" + option("--scope", scope) + option("--tenant", cfg.TenantID)
		},
		try: func(scope string, cfg *dsn.Config) string {
			return "az account get-access-token --output none" + option("--resource", resource(scope)) + option("--tenant", cfg.TenantID) + option("--subscription", cfg.Subscription)
		},
	},
	{
		mode: dsn.AzureDeveloperCLI,
		name: "azd",
		login: func(scope string, cfg *dsn.Config) string {
			return "azd auth login" + option("--scope", scope) + option("--tenant-id", cfg.TenantID)
		},
		try: func(string, *dsn.Config) string { return "azd auth login --check-status" },
	},
	{
		mode: dsn.AzurePowerShell,
		name: "pwsh",
		login: func(scope string, cfg *dsn.Config) string {
			return "Connect-AzAccount" + option("-AuthScope", resource(scope)) + option("-Tenant", cfg.TenantID) + " in PowerShell"
		},
		try: func(scope string, _ *dsn.Config) string {
			return `pwsh -NoProfile -Command "Get-AzAccessToken` + option("-ResourceUrl", resource(scope)) + ` | Out-Null"`
		},
	},
}

func toolOf(mode dsn.Mode) *tool {
	i := slices.IndexFunc(tools, func(t tool) bool { return t.mode == mode })
	if i < 0 {
		return nil
	}
	return &tools[i]
}

func resource(scope string) string { return strings.TrimSuffix(scope, "/.default") }

// plain is what a shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)

// option writes an option of a command, unless a shell could take its value for more.
func option(name, value string) string {
	if !plain.MatchString(value) {
		return ""
	}
	return " " + name + " " + value
}

var (
	escapeSequence = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")
	notice         = regexp.MustCompile(`(?i)^(warning|debug|info|verbose|notice)\s*:|^\S.*:\d+: \w*Warning: `)
	errorLine      = regexp.MustCompile(`(?i)^(error|fatal|critical)\s*:`)
	login          = regexp.MustCompile("(^|[\\s'\"`>])(az login|azd auth login|Connect-AzAccount)\\b")
	longWord       = regexp.MustCompile(`[A-Za-z0-9_-]{64,}`) // of a token that does not look like a JWT
	traceID        = regexp.MustCompile(`\s*Trace ID: .*`)
)

// A toolOutput is what a developer tool has printed, line by line, without its warnings.
type toolOutput []string

func readOutput(text string) toolOutput {
	var lines toolOutput
	text = strings.ReplaceAll(escapeSequence.ReplaceAllString(text, ""), "\r", "\n")
	quoted := false // Python quotes the line of code that a warning is about
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, " \t")
		indented := strings.HasPrefix(line, " ")
		if line == "" || (quoted && indented) {
			continue
		}
		quoted = notice.MatchString(line)
		if !quoted {
			lines = append(lines, line)
		}
	}
	return lines
}

// reason returns the line that says why the tool failed, and the last line that says how
// to sign in, if that is another one.
func (o toolOutput) reason() string {
	why := traceID.ReplaceAllString(o.why(), "")
	why = cut(strings.TrimRight(longWord.ReplaceAllString(why, redact.Mask), " .:"), 300)
	for _, line := range slices.Backward(o) {
		line = strings.Trim(line, " .:")
		if login.MatchString(line) && !strings.Contains(why, line) {
			return why + " (" + cut(longWord.ReplaceAllString(line, redact.Mask), 160) + ")"
		}
		if login.MatchString(line) {
			break
		}
	}
	return why
}

func (o toolOutput) why() string {
	if line := o.exception(); line != "" {
		return line
	}
	if line := o.conciseView(); line != "" {
		return line
	}
	first := max(0, slices.IndexFunc(o, errorLine.MatchString))
	if first >= len(o) {
		return ""
	}
	line := strings.TrimSpace(o[first])
	if strings.HasSuffix(line, ":") && first+1 < len(o) {
		return line + " " + strings.TrimSpace(errorLine.ReplaceAllString(o[first+1], ""))
	}
	return line
}

// exception returns the last line of Python's last traceback: those before it lead there.
func (o toolOutput) exception() string {
	last := -1
	for i, line := range o {
		if strings.Contains(line, "Traceback (most recent call last)") {
			last = i
		}
	}
	if last < 0 {
		return ""
	}
	for _, line := range o[last+1:] {
		if !strings.HasPrefix(line, " ") {
			return line
		}
	}
	return ""
}

// conciseView returns the message of an error as PowerShell 7 prints it, with the name of
// the command: below a quoted line of the script, behind a gutter.
func (o toolOutput) conciseView() string {
	begin := slices.IndexFunc(o, func(line string) bool { return strings.TrimSpace(line) == "Line |" })
	if begin < 0 {
		return ""
	}
	var message []string
	if begin > 0 {
		message = append(message, strings.TrimSpace(o[begin-1]))
	}
	for _, line := range o[begin+1:] {
		number, text, ok := strings.Cut(line, "|")
		if !ok {
			break
		}
		text = strings.Trim(text, " ~")
		if strings.TrimSpace(number) == "" && text != "" {
			message = append(message, text)
		}
	}
	return strings.Join(message, " ")
}

// cut shortens s to a number of characters.
func cut(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}
