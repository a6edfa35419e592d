package emulator_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// encodeCommand encodes a script for -EncodedCommand.
func encodeCommand(script string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(script)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Scripts of the forms that Microsoft's libraries run. Each prints the expiry in its own way.
const (
	goScript = `
$params = @{
    ResourceUrl   = '` + emulator.Resource + `'
}
$tenantId = ''
$token = Get-AzAccessToken @params
$customToken | Add-Member -MemberType NoteProperty -Name ExpiresOn -Value $token.ExpiresOn.ToUnixTimeSeconds()
return $customToken | ConvertTo-Json`
	nodeScript = `
          $tenantId = ""
          $params = @{
            ResourceUrl = "` + emulator.Resource + `"
          }
          $token = Get-AzAccessToken @params
          $result | Add-Member -MemberType NoteProperty -Name ExpiresOn -Value $token.ExpiresOn
          Write-Output (ConvertTo-Json $result)
          `
	pythonScript = `$params = @{ 'ResourceUrl' = '` + emulator.Resource + `'; 'WarningAction' = 'Ignore' }
$tenantId = ''
$token = Get-AzAccessToken @params
Write-Output "` + "`" + `nazsdk%$($tokenValue)%$($token.ExpiresOn.ToUnixTimeSeconds())` + "`" + `n"`
)

// PowerShell answers each library in its own form, and help is no token request.
func TestPowerShell(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	need.Program(t, "bash")
	az := emulator.Start(t)
	user := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	az.SetenvOn(t, emulator.Workstation, user)
	jsonExpiry := func(pattern string) func(string) (string, time.Time) {
		return func(out string) (string, time.Time) {
			var answer struct {
				Token     string
				ExpiresOn json.RawMessage
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Errorf("output %q: %v", out, err)
			}
			var text string
			var seconds int64
			if pattern == "number" && json.Unmarshal(answer.ExpiresOn, &seconds) == nil {
				return answer.Token, time.Unix(seconds, 0)
			}
			json.Unmarshal(answer.ExpiresOn, &text) // stays empty for a number
			expiresOn, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Errorf("ExpiresOn = %s: %v", answer.ExpiresOn, err)
			}
			return answer.Token, expiresOn
		}
	}
	line := regexp.MustCompile(`(?m)^azsdk%([^%]+)%(\d+)$`)
	for _, tt := range []struct {
		name  string
		args  []string
		parse func(out string) (token string, expiresOn time.Time)
	}{
		{"Go", []string{"-NoProfile", "-NonInteractive", "-OutputFormat", "Text", "-EncodedCommand", encodeCommand(goScript)}, jsonExpiry("number")},
		{"Node", []string{"-NoProfile", "-NonInteractive", "-Command", nodeScript}, jsonExpiry("date")},
		{"Python", []string{"-NoProfile", "-NonInteractive", "-EncodedCommand", encodeCommand(pythonScript)}, func(out string) (string, time.Time) {
			m := line.FindStringSubmatch(out)
			if m == nil {
				t.Fatalf("output = %q, want a line azsdk%%token%%seconds", out)
			}
			var seconds int64
			json.Unmarshal([]byte(m[2]), &seconds) // digits
			return m[1], time.Unix(seconds, 0)
		}},
		{"one line", []string{"-c", "Get-AzAccessToken -ResourceUrl '" + emulator.Resource + "' | ConvertTo-Json"}, jsonExpiry("date")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := az.Counts().Requests
			_, helpErr, helpStatus := runProgram(t, "pwsh", "/?")
			if helpStatus != 0 {
				t.Errorf("pwsh /? returned %d (%s), want 0", helpStatus, helpErr)
			}
			if n := az.Counts().Requests - before; n != 0 {
				t.Errorf("pwsh /? made %d token requests, want none", n)
			}
			out, stderr, status := runProgram(t, "pwsh", tt.args...)
			if status != 0 {
				t.Fatalf("pwsh returned %d (%s), want 0", status, stderr)
			}
			token, expiresOn := tt.parse(out)
			if strings.Count(token, ".") != 2 {
				t.Errorf("token = %q, want a JWT", token)
			}
			if d := time.Until(expiresOn); d < 50*time.Minute || d > 70*time.Minute {
				t.Errorf("the token expires in %v, want an hour", d)
			}
			if n := az.Counts().Requests - before; n != 1 {
				t.Errorf("%d token requests, want 1", n)
			}
		})
	}
	t.Run("another tenant", func(t *testing.T) {
		script := strings.Replace(nodeScript, `$tenantId = ""`, `$tenantId = "other"`, 1)
		_, stderr, status := runProgram(t, "pwsh", "-Command", script)
		if want := "AADSTS90002"; status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("pwsh returned %d, %q, want %q in an error", status, stderr, want)
		}
	})
}
