package dsn

import (
	"slices"
	"strings"
	"unicode"
)

// secretParts are parts of the names of secrets, without separators.
var secretParts = []string{
	"passw", "pwd", "passphrase", "passcode", "passkey", "kennwort", "secret", "token", "jwt", "bearer", "credential", "signature",
	"apikey", "accesskey", "accountkey", "privatekey", "sharedkey", "connectionstring",
}

// secretEnds are the ends of such names, and secretWords words in them that would be too
// short for a part or an end.
var (
	secretEnds  = []string{"pass", "pswd", "key", "creds"}
	secretWords = []string{"pass", "psw", "pswd", "pw", "key", "sig", "sas", "cred", "creds", "otp", "pin"}
)

// looksSecret reports whether the name is that of a secret, known or not.
func looksSecret(name string) bool {
	if isKnown(name) {
		return isSecret(name)
	}
	return secretWord(name) != ""
}

// secretWord returns the word by which a name looks like that of a secret, or "".
func secretWord(name string) string {
	n := normalize(name)
	for _, part := range secretParts {
		if strings.Contains(n, part) {
			return strings.Replace(part, "passw", "password", 1)
		}
	}
	for _, end := range secretEnds {
		if strings.HasSuffix(n, end) {
			return end
		}
	}
	for _, word := range words(name) {
		if slices.Contains(secretWords, word) {
			return word
		}
		for _, misspelled := range []string{"secret", "password"} {
			if distance(word, misspelled) <= len(misspelled)/4 {
				return misspelled
			}
		}
	}
	return ""
}

// secretHint says what to write instead of an unknown key with that word.
func secretHint(word string) string {
	switch word {
	case "token", "jwt", "bearer":
		return "write aad_auth=access-token with password or aad_token_file, or remove the key"
	case "secret", "credential", "creds", "cred":
		return "write aad_client_secret or password, or remove the key"
	case "password", "pwd", "pass", "psw", "pswd", "pw", "kennwort", "passphrase":
		return "write password, sslpassword or aad_client_certificate_password, or remove the key"
	}
	return "remove it"
}

// words splits a name at separators, digits and changes of case, and returns the words in
// lower case.
func words(name string) []string {
	var split strings.Builder
	lower := false
	for _, r := range name {
		if unicode.IsUpper(r) && lower {
			split.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		if !unicode.IsLetter(r) {
			r = ' '
		}
		split.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(split.String())
}
