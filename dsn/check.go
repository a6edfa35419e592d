package dsn

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// sslModes are the values of sslmode.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// enums are the settings of pgx that have one of a few values.
var enums = []struct {
	name    string
	allowed []string
}{
	{"sslmode", sslModes},
	{"sslnegotiation", []string{"postgres", "direct"}},
	{"sslcertmode", []string{"disable", "allow", "require"}},
	{"channel_binding", []string{"disable", "prefer", "require"}},
	{"target_session_attrs", []string{"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}},
	{"default_query_exec_mode", []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}},
	{"min_protocol_version", []string{"3.0", "3.2", "latest"}},
	{"max_protocol_version", []string{"3.0", "3.2", "latest"}},
}

// numbers are the settings of pgx that are numbers.
var numbers = []string{"connect_timeout", "statement_cache_capacity", "description_cache_capacity"}

// checkValue rejects a value that cannot be meant, and one that contains what may be a
// secret although the key's value is none: without an error it would be printed, and sent
// to the server. subject begins the error, which does not quote the value.
func checkValue(subject, name, value string) error {
	if err := checkControl(subject, value); err != nil {
		return err
	}
	if isSecret(name) {
		return nil
	}
	if err := checkHidden(subject, name, value); err != nil {
		return err
	}
	if name == "host" {
		return checkHosts(subject, value)
	}
	isKey := lookupKey(name) != nil
	isConnection := slices.Contains(connectionNames, name)
	if (isKey || isConnection) && len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
		return fmt.Errorf("%s is in double quotes; write single quotes around a value that contains spaces, and none around others", subject)
	}
	if (isConnection || isKey) && strings.HasSuffix(value, ";") {
		return fmt.Errorf("%s ends in a semicolon; separate the pairs by spaces, as in host=app.postgres.database.azure.com dbname=app", subject)
	}
	if name == "port" && strings.Trim(value, "0123456789,") != "" {
		return fmt.Errorf("%s is an invalid port; write its number, as in port=5432", subject)
	}
	if slices.Contains(numbers, name) && strings.Trim(value, "0123456789+-") != "" {
		return fmt.Errorf("%s is not a number; write digits alone, as in connect_timeout=10", subject)
	}
	if name == "require_auth" {
		return checkMethods(subject, value)
	}
	for _, e := range enums {
		if name == e.name && value != "" && !slices.Contains(e.allowed, value) {
			return fmt.Errorf("%s is not one of %s; %s", subject, strings.Join(e.allowed, ", "), enumHint(name, value, e.allowed))
		}
	}
	return nil
}

// authMethods are the elements of require_auth, each of which may follow a !.
var authMethods = []string{"password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"}

// checkMethods rejects a value of require_auth that pgx would quote.
func checkMethods(subject, value string) error {
	for method := range strings.SplitSeq(value, ",") {
		method = strings.TrimPrefix(strings.TrimSpace(method), "!")
		if value != "" && !slices.Contains(authMethods, method) {
			return fmt.Errorf("%s is not a list of %s; remove it", subject, strings.Join(authMethods, ", "))
		}
	}
	return nil
}

// checkControl rejects a value with a control character.
func checkControl(subject, value string) error {
	if strings.ContainsFunc(value, isControl) {
		return fmt.Errorf("%s contains a line break or another control character; remove it", subject)
	}
	return nil
}

// isControl reports whether r does not print, and is no part of a name or a password: it
// ends a line, marks the byte order, has no width or changes the direction of text.
func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(invisible, r)
}

var invisible = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x200b, Hi: 0x200b, Stride: 1}, {Lo: 0x2028, Hi: 0x202e, Stride: 1}, {Lo: 0x2060, Hi: 0x2060, Stride: 1},
	{Lo: 0x2066, Hi: 0x2069, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
}}

func enumHint(name, value string, allowed []string) string {
	if nearest := nearestTo(strings.ToLower(value), allowed, maxEdits); nearest != "" {
		return "did you mean " + nearest + "?"
	}
	if name == "sslmode" {
		return "remove it to get verify-full"
	}
	return "write one of these, or remove it"
}

var (
	// certificate matches PEM, DER in base64 and PEM in base64.
	certificate = regexp.MustCompile(`-----BEGIN|MII[A-Za-z0-9+/]{60}|LS0tLS1CRUdJTi`)

	jwtPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}`)
	urlOfUser  = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@`)
	dsnURL     = regexp.MustCompile(`(?i)(postgres|postgresql|aadpostgres)(\+\w+)?:/`)

	// authority is the beginning of a URL, whose colons assign nothing.
	authority = regexp.MustCompile(`^[A-Za-z]+://[A-Za-z0-9.-]+(:[0-9]+)?(/|$)`)

	// assignment is a name and what separates it from its value in any notation.
	assignment = regexp.MustCompile(`([A-Za-z0-9_.$-]+)["'\s\\+]*[=:>]`)

	// setting is a name at the beginning of a value or after a separator, and an =.
	setting = regexp.MustCompile(`(?:^|[;&?,{|\s])\s*([A-Za-z][A-Za-z0-9_. -]*?)\s*=`)

	// option is a long option of a command, such as --password.
	option = regexp.MustCompile(`(?:^|\s)--?([A-Za-z][A-Za-z0-9_.-]*)\s`)
)

// checkHidden rejects a value that contains a secret, as far as that can be seen, in the
// notation of another driver, a shell, JSON, YAML or a URL.
func checkHidden(subject, name, value string) error {
	for _, text := range []string{value, unescape(value)} {
		switch {
		case certificate.MatchString(text):
			return fmt.Errorf("%s contains a certificate or a key; write the path of a file that contains it", subject)
		case jwtPattern.MatchString(text):
			return fmt.Errorf("%s contains a token; write the token as password with aad_auth=access-token", subject)
		case !isLocation(name) && (dsnURL.MatchString(text) || urlOfUser.MatchString(text)):
			return fmt.Errorf("%s contains a URL; write the DSN alone, without a name and = before it", subject)
		case assignsSecret(text):
			return fmt.Errorf("%s contains another setting, whose value may be a secret; %s", subject, separateHint)
		case name != "options" && assignsKey(text):
			return fmt.Errorf("%s contains another setting; %s", subject, separateHint)
		}
	}
	return nil
}

// escape matches a character as a URL or a string of JSON has it. The backslash of the
// latter is missing where this grammar has read it.
var escape = regexp.MustCompile(`%([0-9A-Fa-f]{2})|\\?u00([0-9A-Fa-f]{2})`)

// unescape returns text as a URL, HTML or JSON means it, however often it was encoded.
// What is not encoded well is left.
func unescape(text string) string {
	for range 8 {
		decoded := html.UnescapeString(escape.ReplaceAllStringFunc(text, func(s string) string {
			c, err := strconv.ParseUint(s[len(s)-2:], 16, 8)
			if err != nil {
				return s
			}
			return string([]byte{byte(c)})
		}))
		if decoded == text {
			break
		}
		text = decoded
	}
	return text
}

// isLocation reports whether a key takes a URL, which its own check keeps free of users.
func isLocation(name string) bool {
	k := lookupKey(name)
	if k == nil {
		return false
	}
	_, ok := k.field(&Config{}).(*location)
	return ok
}

// separateHint says how this grammar separates settings.
const separateHint = "separate name=value pairs by spaces, or in a URL by & alone after the first ?"

// assignsSecret reports whether text assigns a value to a name that looks like that of a
// secret.
func assignsSecret(text string) bool {
	text = authority.ReplaceAllString(text, "")
	for _, m := range append(assignment.FindAllStringSubmatch(text, -1), option.FindAllStringSubmatch(text, -1)...) {
		if looksSecret(m[1]) || looksSecret(strings.ToLower(m[1])) {
			return true
		}
	}
	return false
}

// assignsKey reports whether text assigns a value to a known key, or to its name in
// another driver.
func assignsKey(text string) bool {
	for _, m := range setting.FindAllStringSubmatch(text, -1) {
		if isKnown(m[1]) || intended(m[1]) != "" {
			return true
		}
	}
	return false
}
