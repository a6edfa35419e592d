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
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/aadpostgres/aadpostgres/driver"
)

const pfxPassword = "opensesame"

// testCertificates are what applications sign in with.
var testCertificates = newCertificates()

// certificates are files with the same key and different certificates.
type certificates struct {
	cert, ca       *x509.Certificate // that the application trusts
	pem            []byte            // cert
	pfx, pfxModern []byte            // cert, in PKCS#12 with the old and the new encryption
	issued         []byte            // a certificate that ca has issued
	unregistered   []byte            // a certificate that the application does not trust
}

func newCertificates() *certificates {
	var k certificates
	key, other := newKey(), newKey()
	k.cert = newCertificate("own", key, nil, nil)
	k.ca = newCertificate("authority", other, nil, nil)
	leaf := newCertificate("issued", key, k.ca, other)
	k.pem = encodePEM(key, k.cert)
	k.issued = encodePEM(key, leaf, k.ca)
	k.unregistered = encodePEM(key, newCertificate("unregistered", key, nil, nil))
	k.pfx = encodePFX(pkcs12.Legacy, key, k.cert)
	k.pfxModern = encodePFX(pkcs12.Modern, key, k.cert)
	return &k
}

func encodePFX(encoder *pkcs12.Encoder, key *rsa.PrivateKey, cert *x509.Certificate) []byte {
	b, err := encoder.Encode(key, cert, nil, pfxPassword)
	if err != nil {
		panic(err)
	}
	return b
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// newCertificate creates a certificate that issuer signs. Without issuer it is self-signed.
func newCertificate(name string, key *rsa.PrivateKey, issuer *x509.Certificate, by crypto.Signer) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: name == "authority",
	}
	if issuer == nil {
		issuer, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), by)
	if err != nil {
		panic(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
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

// write writes data to a temporary file and returns its path.
func (*certificates) write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestModernPKCS12 checks the hint for a PKCS#12 file in an encryption that azidentity
// cannot read: it differs from that for a wrong password.
func TestModernPKCS12(t *testing.T) {
	_, err := driver.NewConnector("host=h user=u aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=" +
		testCertificates.write(t, testCertificates.pfxModern) + " aad_client_certificate_password=" + pfxPassword)
	checkError(t, err, "openssl pkcs12 -export -legacy")
	if err != nil && strings.Contains(err.Error(), pfxPassword) {
		t.Errorf("error = %v, want none with the password", err)
	}
}
