package dsn

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// checkHosts rejects what is no list of host names, addresses and folders of sockets.
func checkHosts(subject, list string) error {
	if strings.Contains(list, ";") {
		return fmt.Errorf("%s contains a semicolon; separate the pairs by spaces, as in host=app.postgres.database.azure.com dbname=app", subject)
	}
	// The first @ of a URL ends the user, so a second one is part of the host.
	if strings.Contains(list, "@") {
		return fmt.Errorf("%s contains an @; write each @ of a user name or password as %%40, as in me%%40contoso.com@host", subject)
	}
	if strings.HasSuffix(list, ",") {
		return fmt.Errorf("%s ends in a comma; separate the pairs by spaces, and write commas between hosts only", subject)
	}
	for host := range strings.SplitSeq(list, ",") {
		if err := checkHost(host); err != nil {
			return fmt.Errorf("%s %w", subject, err)
		}
	}
	return nil
}

var (
	driveFolder   = regexp.MustCompile(`^[A-Za-z]:\\`)
	hostAndPort   = regexp.MustCompile(`^[^:]*:[0-9]*$`)
	hostProtocol  = regexp.MustCompile(`(?i)^(tcp|np|lpc|admin|ssl|tls|http|https):`)
	bracketedHost = regexp.MustCompile(`^\[.*\]`)
)

// checkHost rejects what is no host. Its error continues a sentence.
func checkHost(host string) error {
	switch {
	case host == "" || host[0] == '/' || driveFolder.MatchString(host):
		return nil // the folder of a socket
	case strings.Contains(host, "://"):
		return errors.New("is a URL; write the host's name alone, as in host=app.postgres.database.azure.com")
	case hostProtocol.MatchString(host):
		return errors.New("begins with a protocol; write name and port alone, as in host=app.postgres.database.azure.com port=5432")
	case bracketedHost.MatchString(host):
		return errors.New("contains brackets; write an IPv6 address without them, as in host=::1 port=5432")
	case hostAndPort.MatchString(host) || strings.Trim(host, "0123456789") == "":
		return errors.New("contains a port; write it as its own key, as in host=app.postgres.database.azure.com port=5432")
	}
	isHostRune := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("._-:%", r)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return !isHostRune(r) }) {
		return errors.New("contains characters that no host name has; write the host's name alone, as in host=app.postgres.database.azure.com")
	}
	return nil
}
