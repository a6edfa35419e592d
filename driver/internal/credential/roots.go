package credential

import (
	"crypto/x509"
	"os"
	"strconv"
	"strings"
)

// HasRoots reports whether this machine has root certificates. An image made from scratch
// has none. Windows and macOS do not list theirs, and count as having some.
func HasRoots() bool {
	pool, err := x509.SystemCertPool()
	return err == nil && !pool.Equal(x509.NewCertPool())
}

// RootVariables returns the variables that say where root certificates are, as settings, or
// "" if none is set.
func RootVariables() string {
	var set []string
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v := os.Getenv(name); v != "" {
			set = append(set, name+"="+strconv.Quote(v))
		}
	}
	return strings.Join(set, " and ")
}
