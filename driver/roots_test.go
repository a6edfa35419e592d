package driver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// otherRoot writes the root certificate of somebody else.
func otherRoot(t *testing.T, path string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "somebody else"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// homeFile returns where pgx looks for root certificates in the home directory.
func homeFile(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Setenv("APPDATA", t.TempDir())
		return filepath.Join(os.Getenv("APPDATA"), "postgresql", "root.crt")
	}
	return filepath.Join(os.Getenv("HOME"), ".postgresql", "root.crt")
}

// Where the root of a server's certificate is unknown, the hint says by which roots it was
// verified.
func TestUnknownRoot(t *testing.T) {
	const (
		dropFile = "check the host, and for a proxy that intercepts TLS; then remove sslrootcert (PGSSLROOTCERT) to use the system's roots"
		setFile  = "check the host, that this machine has root certificates (package ca-certificates)"
	)
	rows := []struct {
		name   string
		params func(t *testing.T) (string, []Option)
		want   string // at the beginning of the hint
		names  string // in the hint: {file}
	}{
		{"none", func(*testing.T) (string, []Option) { return "", nil }, setFile, ""},
		{"the system's", func(*testing.T) (string, []Option) { return "sslrootcert=system", nil }, setFile, ""},
		{"a file", func(t *testing.T) (string, []Option) {
			return "sslrootcert=" + entratest.Quote(otherRoot(t, filepath.Join(t.TempDir(), "root.pem"))), nil
		}, dropFile, "root.pem"},
		{"a file, verify-ca", func(t *testing.T) (string, []Option) {
			return "sslmode=verify-ca sslrootcert=" + entratest.Quote(otherRoot(t, filepath.Join(t.TempDir(), "root.pem"))), nil
		}, dropFile, "root.pem"},
		{"a file by a variable", func(t *testing.T) (string, []Option) {
			t.Setenv("PGSSLROOTCERT", otherRoot(t, filepath.Join(t.TempDir(), "variable.pem")))
			return "", nil
		}, dropFile, "variable.pem"},
		{"a file by a service", func(t *testing.T) (string, []Option) {
			file := otherRoot(t, filepath.Join(t.TempDir(), "service.pem"))
			services := filepath.Join(t.TempDir(), "services")
			if err := os.WriteFile(services, []byte("[s]\nsslrootcert="+file+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PGSERVICEFILE", services)
			return "service=s", nil
		}, dropFile, "service.pem"},
		{"a file of the home directory", func(t *testing.T) (string, []Option) {
			otherRoot(t, homeFile(t))
			return "", nil
		}, "check the host, and for a proxy that intercepts TLS; then set sslrootcert=system to use the system's roots", "root.crt"},
		{"the system's, beside a file of the home directory", func(t *testing.T) (string, []Option) {
			otherRoot(t, homeFile(t))
			return "sslrootcert=system", nil
		}, setFile, ""},
		{"the program's", func(*testing.T) (string, []Option) {
			return "", []Option{WithTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})}
		}, "check the host, and for a proxy that intercepts TLS; then correct the RootCAs that this program sets", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			s := newFakeServer(t, nil)
			params, opts := row.params(t)
			err := ping(t, s.dsn(params), append(opts, WithCredential(&entratest.Credential{}))...)
			checkHint(t, err, row.want)
			var e *Error
			if errors.As(err, &e) && (e.Step != StepTLS || !strings.Contains(e.Hint, row.names)) {
				t.Errorf("error = %v, want step %s and %q in its hint", err, StepTLS, row.names)
			}
		})
	}
}

// A file of root certificates that cannot be used is named when the DSN is read, with what
// to do.
func TestBadRootFile(t *testing.T) {
	const drop = "remove sslrootcert (PGSSLROOTCERT) to use the system's roots"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	rows := []struct{ name, file, cause string }{
		{"none", filepath.Join(dir, "none"), "unable to read CA file"},
		{"folder", dir, "unable to read CA file"},
		{"text", write("text", "no certificate"), "unable to add CA to cert pool"},
		{"empty", write("empty", ""), "unable to add CA to cert pool"},
		{"key", write("key", key), "unable to add CA to cert pool"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			_, err := NewConnector("host=h user=u sslrootcert="+entratest.Quote(row.file), WithCredential(&entratest.Credential{}))
			checkSafeError(t, err, row.cause)
			checkHint(t, err, drop)
		})
		t.Run(row.name+", in mode password", func(t *testing.T) {
			entratest.CleanEnv(t)
			_, err := NewConnector("host=h user=u aad_auth=password sslmode=verify-full sslrootcert=" + entratest.Quote(row.file))
			checkHint(t, err, drop)
		})
	}
	t.Run("in the home directory", func(t *testing.T) {
		entratest.CleanEnv(t)
		file := homeFile(t)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("no certificate"), 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := NewConnector("host=h user=u", WithCredential(&entratest.Credential{}))
		checkHint(t, err, "set sslrootcert=system to use the system's roots, or correct ")
	})
}

// On a machine without root certificates, as in an image made from scratch, the hint is to
// install some: for the server's certificate, and for the authority's. The test runs itself
// there, because a process reads them once.
func TestNoRootCertificates(t *testing.T) {
	const variable = "AADPOSTGRES_TEST_WITHOUT_ROOTS"
	if os.Getenv(variable) != "" {
		testNoRootCertificates(t, os.Getenv(variable) == "unset")
		return
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("root certificates are the system's")
	}
	for _, state := range []string{"set", "unset"} {
		t.Run("variables "+state, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoRootCertificates$", "-test.v")
			none := filepath.Join(t.TempDir(), "none")
			cmd.Env = append(os.Environ(), variable+"="+state, "SSL_CERT_FILE="+none, "SSL_CERT_DIR="+none)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestNoRootCertificates/") {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

func testNoRootCertificates(t *testing.T, unset bool) {
	entratest.CleanEnv(t)
	if credential.HasRoots() {
		t.Fatal("HasRoots() = true, want false")
	}
	want := "correct SSL_CERT_FILE="
	if unset { // there are none already
		os.Unsetenv("SSL_CERT_FILE")
		os.Unsetenv("SSL_CERT_DIR")
		want = "install root certificates (package ca-certificates), or copy /etc/ssl/certs/ca-certificates.crt into the image"
	}
	t.Run("server", func(t *testing.T) {
		s := newFakeServer(t, nil)
		checkHint(t, ping(t, s.dsn(""), WithCredential(&entratest.Credential{})), want)
		checkHint(t, ping(t, s.dsn("sslrootcert=system"), WithCredential(&entratest.Credential{})), want)
	})
	t.Run("server, with a file", func(t *testing.T) {
		s := newFakeServer(t, nil)
		params := "sslrootcert=" + entratest.Quote(otherRoot(t, filepath.Join(t.TempDir(), "root.pem")))
		checkHint(t, ping(t, s.dsn(params), WithCredential(&entratest.Credential{})), "check the host, and for a proxy that intercepts TLS; then remove sslrootcert")
	})
	t.Run("authority", func(t *testing.T) {
		web := httptest.NewTLSServer(nil)
		defer web.Close()
		c := newConnector(t, "host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_token_timeout=500ms aad_disable_instance_discovery=true aad_authority_host="+web.URL)
		_, err := tokenOf(t.Context(), c)
		checkHint(t, err, want)
	})
}
