package integration

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

const pfxPassword = "opensesame"

// keys are what applications sign in with: a certificate of their own in two
// formats, one that an authority issued, and a stranger's.
var testCertificates = newCertificates()

type certificates struct {
	cert, ca                                  *x509.Certificate
	pem, pfx, pfxModern, issued, unregistered []byte
}

func newCertificates() *certificates {
	var k certificates
	key, other := newKey(), newKey()
	k.cert = newCertificate("own", key, nil, nil)
	k.ca = newCertificate("authority", other, nil, nil)
	leaf := newCertificate("issued", key, k.ca, other)
	k.pem = encodePEM(key, k.cert)
	k.issued = encodePEM(key, leaf, k.ca)
	k.unregistered = encodePEM(key, newCertificate("stranger", key, nil, nil))
	var err error
	if k.pfx, err = pkcs12.Legacy.Encode(key, k.cert, nil, pfxPassword); err != nil {
		panic(err)
	}
	if k.pfxModern, err = pkcs12.Modern.Encode(key, k.cert, nil, pfxPassword); err != nil {
		panic(err)
	}
	return &k
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// newCertificate makes a certificate signed by issuer, or by itself.
func newCertificate(name string, key *rsa.PrivateKey, issuer *x509.Certificate, by crypto.Signer) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: name == "authority"}
	if issuer == nil {
		issuer, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), by)
	if err != nil {
		panic(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return c
}

func encodePEM(key *rsa.PrivateKey, certs ...*x509.Certificate) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certs {
		out = slices.Concat(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out
}

// file puts data into a file of the test's own.
func (*certificates) write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
