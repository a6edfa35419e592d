//go:build linux && cluster

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pamScript is what PAM runs for each sign-in to PgBouncer: it signs in to the server with
// the token.
const pamScript = `#!/bin/sh
PGUSER=$PAM_USER PGPASSWORD=$PAM_AUTHTOK exec psql -qXAtw -c 'select' \
	'host=127.0.0.1 port=%d dbname=postgres sslmode=verify-full sslrootcert=%s' >/dev/null
`

// newPgBouncer starts a PgBouncer in transaction mode in front of the emulator's gateway, as
// Azure has it. It returns the port and the certificate's file. A client signs in to
// PgBouncer over TLS with the token as its password. If the server accepts the token,
// PgBouncer opens sessions with it.
//
// Azure does not document how its own PgBouncer checks a token. Here PAM checks it, because
// only in that mode PgBouncer keeps a password that its configuration does not have.
func newPgBouncer(t testing.TB, settings map[string]string) (port int, cert string) {
	t.Helper()
	home, ca := newDir(t), copyCAFile(t)
	release, err := pgbouncerPAM.install(fmt.Sprintf(pamScript, az.Port(), ca))
	check(t, err)
	t.Cleanup(release)

	port = freePort(t)
	cert, key := newCertificate(t, home)
	all := map[string]string{
		"listen_addr": "127.0.0.1", "listen_port": fmt.Sprint(port), "unix_socket_dir": "",
		"auth_type": "pam", "pool_mode": "transaction", "default_pool_size": "5", "max_client_conn": "200",
		"client_tls_sslmode": "require", "client_tls_key_file": key, "client_tls_cert_file": cert,
		"server_tls_sslmode": "verify-full", "server_tls_ca_file": ca,
	}
	maps.Copy(all, settings)
	ini := fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\n", az.Port())
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ini += name + " = " + all[name] + "\n"
	}
	p := launch(t, "pgbouncer", writeFile(t, filepath.Join(home, "pgbouncer.ini"), 0o600, ini))
	p.waitForPort(t, "127.0.0.1", port)
	return port, cert
}

// pgbouncerMinor returns the minor version of the installed PgBouncer: 18 for 1.18.0.
func pgbouncerMinor(t testing.TB) (n int) {
	t.Helper()
	out, err := exec.Command("pgbouncer", "-V").Output()
	check(t, err)
	_, err = fmt.Sscanf(string(out), "PgBouncer 1.%d", &n)
	check(t, err)
	return n
}

// poolerDSN returns a DSN through PgBouncer.
func poolerDSN(port int, cert string, params ...string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres sslrootcert=%s ", port, cert) + strings.Join(params, " ")
}

// newCertificate creates a self-signed certificate for 127.0.0.1.
func newCertificate(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pgbouncer"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &private.PublicKey, private)
	check(t, err)
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	file := func(name, kind string, b []byte) string {
		return writeFile(t, filepath.Join(dir, name), 0o600, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})))
	}
	return file("cert.pem", "CERTIFICATE", der), file("key.pem", "PRIVATE KEY", bytes)
}
