package emulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// What the scripts of Microsoft's libraries for Go, Node and Python have in common: they
// assign the resource, and the tenant if the program has chosen one.
var (
	resourceURL  = regexp.MustCompile(`(?i)ResourceUrl['"]?\s*=?\s*['"]([^'"]*)['"]`)
	scriptTenant = regexp.MustCompile(`(?i)\$tenantId\s*=\s*['"]([^'"]*)['"]`)
)

// pwsh is PowerShell with the module Az.Accounts. It knows the scripts by which Microsoft's
// libraries request a token, and answers in the form that a script prints.
func pwsh(a *Azure, args []string) (string, int) {
	if asksForHelp(args) {
		return "Usage: pwsh[.exe] [-NoProfile] [-NonInteractive] [-EncodedCommand <Base64EncodedCommand>] [-Command { - | <script-block> }]", 0
	}
	script, err := pwshScript(args)
	if err != nil {
		return err.Error(), 1
	}
	resource := resourceURL.FindStringSubmatch(script)
	if resource == nil {
		return "The command is not one that the emulator supports.", 1
	}
	id, ok := a.loggedIn()
	if !ok {
		return "Get-AzAccessToken: Run Connect-AzAccount to login.", 1
	}
	if tenant := scriptTenant.FindStringSubmatch(script); tenant != nil && tenant[1] != "" && tenant[1] != TenantID {
		return "Get-AzAccessToken: AADSTS90002: Tenant '" + tenant[1] + "' not found.", 1
	}
	token, expiresOn := a.issue(id, resource[1])
	switch {
	case strings.Contains(script, "azsdk%"): // Python's
		return fmt.Sprintf("\nazsdk%%%s%%%d\n", token, expiresOn.Unix()), 0
	case strings.Contains(script, "ToUnixTimeSeconds"): // Go's
		return fmt.Sprintf(`{"Token":%q,"ExpiresOn":%d}`, token, expiresOn.Unix()), 0
	}
	// Node's script prints the date as ConvertTo-Json does.
	return fmt.Sprintf(`{"ExpiresOn":%q,"Token":%q}`, expiresOn.UTC().Format("2006-01-02T15:04:05-07:00"), token), 0
}

// asksForHelp reports whether a program is to print its usage only. Node's library runs
// pwsh so to learn whether it is there.
func asksForHelp(args []string) bool {
	return len(args) == 1 && slices.Contains([]string{"/?", "-?", "-h", "-help", "--help"}, strings.ToLower(args[0]))
}

// pwshScript returns the script of a command line: the value of -EncodedCommand, or
// everything after -Command.
func pwshScript(args []string) (string, error) {
	for i, arg := range args {
		switch strings.ToLower(arg) {
		case "-command", "-c":
			return strings.Join(args[i+1:], "\n"), nil
		case "-encodedcommand", "-enc", "-ec", "-e":
			return decodeCommand(flagValue(args, arg))
		}
	}
	return "", errors.New("The command is not one that the emulator supports.") //lint:ignore ST1005 it is what the program prints
}

// decodeCommand decodes base64 of UTF-16, in little endian.
func decodeCommand(encoded string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", errors.New("Cannot process the command because the value specified with -EncodedCommand is not properly encoded.") //lint:ignore ST1005 PowerShell's text
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return string(utf16.Decode(units)), nil
}
