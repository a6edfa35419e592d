package dsn

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// connectionNames are the settings of libpq and pgx that are not secrets. The server does
// not know them, so they are written in lower case.
var connectionNames = []string{
	"host", "hostaddr", "port", "dbname", "user", "passfile", "service", "servicefile", "connect_timeout", "require_auth", "channel_binding",
	"sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslkeylogfile", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni",
	"ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version", "max_protocol_version", "requirepeer", "requiressl",
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "load_balance_hosts", "target_session_attrs",
	"gssencmode", "gsslib", "gssdelegation", "krbsrvname", "krbspn", "oauth_issuer", "oauth_client_id", "oauth_scope", "replication",
	"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
}

// pathNames are the settings of libpq and pgx that hold the path of a file or a folder. That
// of a host is a Unix socket's.
var pathNames = []string{"host", "passfile", "servicefile", "sslcert", "sslkey", "sslkeylogfile", "sslrootcert", "sslcrl", "sslcrldir"}

// secretNames are the settings of libpq and pgx that are secrets.
var secretNames = []string{"password", "sslpassword"}

// serverNames are settings of the server, whose names may be written in any case: the
// common ones, and those that look like the name of a secret.
var serverNames = []string{
	"application_name", "fallback_application_name", "client_encoding", "options", "timezone", "search_path",
	"password_encryption", "md5_password_warnings",
}

// foreignNames are keys of other drivers, in lower case and without separators, with the
// keys to write.
var foreignNames = []struct{ write, foreign string }{
	{"host", "server servername datasource hostname address addr networkaddress dbhost pghost endpoint"},
	{"port", "dbport pgport"},
	{"dbname", "initialcatalog databasename db pgdatabase"},
	{"user", "userid uid username usr login loginname dbuser pguser"},
	{"aad_auth", "fedauth authentication"},
	{"sslmode", "ssl usessl encrypt trustservercertificate sslverify pgsslmode"},
	{"sslrootcert", "rootcertificate sslca"},
	{"connect_timeout", "timeout connectiontimeout logintimeout"},
	{"search_path", "schema currentschema"},
}

// separators stand between the words of a name.
const separators = "_-. "

// normalize returns a name in lower case and without separators.
func normalize(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(separators, r) {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// isKnown reports whether name is a key that a DSN may contain, or one that the server
// knows.
func isKnown(name string) bool {
	return lookupKey(name) != nil || name == "database" || slices.Contains(connectionNames, name) ||
		slices.Contains(secretNames, name) || slices.Contains(serverNames, strings.ToLower(name))
}

// isSecret reports whether name is a key whose value is a secret.
func isSecret(name string) bool {
	if k := lookupKey(name); k != nil {
		return k.Secret
	}
	return slices.Contains(secretNames, name)
}

// isPath reports whether name is a key whose value is a path.
func isPath(name string) bool {
	if k := lookupKey(name); k != nil {
		return k.path
	}
	return slices.Contains(pathNames, name)
}

// intended returns the key that is meant by a name of another driver, or by a name with
// other separators or in another case. It returns "" if there is none.
func intended(name string) string {
	n := normalize(name)
	for _, f := range foreignNames {
		if slices.Contains(strings.Fields(f.foreign), n) {
			return f.write
		}
	}
	for _, known := range slices.Concat(keyNames(), connectionNames, secretNames, serverNames, []string{"database"}) {
		if normalize(known) == n {
			return known
		}
	}
	return ""
}

// plausibleName matches what can be the name of a setting.
var plausibleName = regexp.MustCompile(`^[A-Za-z0-9_.$-]{1,100}$`)

// checkName rejects names that cannot be a setting, misspelled keys, and names of secrets
// that are not known: without an error they would be sent to the server as run-time
// parameters. A name may be the rest of a password that contains a space or an &, so it
// is quoted only if it is nearly that of a key.
func checkName(name string) error {
	if err := checkControl("a parameter name", name); err != nil {
		return err
	}
	if !plausibleName.MatchString(name) {
		return errors.New("a parameter name is empty or contains spaces, quotes or slashes; write name=value")
	}
	if isKnown(name) {
		return nil
	}
	if write := intended(name); write != "" {
		return misnamed(name, write)
	}
	if strings.HasPrefix(strings.ToLower(name), "aad") {
		return unknownKey(name, keyNames(), suggest(name, keyNames()))
	}
	if word := secretWord(name); word != "" {
		return fmt.Errorf("a key with %q in its name is not known, and would be sent to the server as a setting; %s", word, secretHint(word))
	}
	if strings.Contains(name, ".") {
		return nil // the setting of an extension
	}
	known := slices.Concat(keyNames(), connectionNames, secretNames, serverNames, []string{"database"})
	if nearest := nearestTo(strings.ToLower(name), known, 2); nearest != "" {
		return unknownKey(name, known, "did you mean "+nearest+"?")
	}
	return nil
}

func unknownKey(name string, known []string, hint string) error {
	if !nearly(name, known) {
		return fmt.Errorf("a key is not known; %s", hint)
	}
	return fmt.Errorf("key %q is not known; %s", name, hint)
}

// misnamed returns the error about a name that is written differently here.
func misnamed(name, write string) error {
	switch lower := strings.ToLower(name); {
	case lower == write || lower == "database":
		return fmt.Errorf("key %q is not known; write %s in lower case, and separate the pairs by spaces", name, lower)
	case lower == "fedauth":
		return fmt.Errorf("key %q belongs to SQL Server; write aad_auth, which has the same values", name)
	case lower == "ssl":
		return fmt.Errorf("key %q is not known; write sslmode, with one of %s", name, strings.Join(sslModes, ", "))
	case normalize(lower) == normalize(write):
		return fmt.Errorf("key %q is not known; did you mean %s?", name, write)
	}
	return fmt.Errorf("key %q is not known; write %s, and separate the pairs by spaces, as in host=app.postgres.database.azure.com dbname=app", name, write)
}

// label returns a parameter's name for an error text. An unknown name is not quoted,
// because it may be the rest of a password that contains a space or an &.
func label(name string) string {
	if !isKnown(name) {
		return "a parameter"
	}
	return fmt.Sprintf("%q", name)
}

// subject returns what begins an error about a parameter.
func subject(name string) string {
	if name == "host" {
		return "the host"
	}
	if !isKnown(name) {
		return label(name)
	}
	return "key " + label(name)
}
