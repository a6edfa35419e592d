package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A Certificate is one that the gateway can present: see [Faults.Certificate].
type Certificate string

// The certificates.
const (
	ValidCertificate     Certificate = ""           // valid for every name of the emulator
	ExpiredCertificate   Certificate = "expired"    // expired an hour ago
	WrongHostCertificate Certificate = "wrong-host" // valid for another host, other-name.example
	UntrustedCertificate Certificate = "untrusted"  // signed by an authority that is not in CertFile
)

// A certAuthority is a certificate authority and a valid certificate that it has signed.
type certAuthority struct {
	root    *x509.Certificate
	rootPEM []byte
	key     *ecdsa.PrivateKey
	cert    tls.Certificate

	mu     sync.Mutex                  // guards nested
	nested map[string]*tls.Certificate // by the wildcard name that it adds
}

func newCertAuthority() (*certAuthority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "aadpostgres emulator CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &certAuthority{root: root, rootPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}
	a.cert, err = a.sign(ValidCertificate)
	return a, err
}

// sign creates a certificate of that kind, which is valid for further names too.
func (a *certAuthority) sign(kind Certificate, names ...string) (tls.Certificate, error) {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "aadpostgres emulator"},
		NotBefore:    a.root.NotBefore,
		NotAfter:     a.root.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:     []string{"localhost", "login.windows.net", "*" + dsn.CosmosSuffix},
	}
	for _, c := range dsn.Clouds() {
		leaf.DNSNames = append(leaf.DNSNames, hostOf(c.Authority), "*"+c.HostSuffix)
		names = append(names, authorityAliases[c.Name]...)
	}
	leaf.DNSNames = append(leaf.DNSNames, names...)
	switch kind {
	case ExpiredCertificate:
		leaf.NotBefore = time.Now().Add(-48 * time.Hour)
		leaf.NotAfter = time.Now().Add(-time.Hour)
	case WrongHostCertificate:
		leaf.IPAddresses = nil
		leaf.DNSNames = []string{"other-name.example"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.root, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der, a.root.Raw}, PrivateKey: key}, err
}

// tlsConfig returns a server's configuration with the valid certificate.
func (a *certAuthority) tlsConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.cert}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return a.certificateFor(hello.ServerName)
	}}
}

// certificateFor returns the valid certificate for a name. The servers of Azure Cosmos DB
// have names with any number of labels, such as c-x.123.postgres.cosmos.azure.com, and a
// wildcard stands for one label only.
func (a *certAuthority) certificateFor(name string) (*tls.Certificate, error) {
	_, parent, _ := strings.Cut(strings.ToLower(name), ".")
	if !strings.HasSuffix(parent, dsn.CosmosSuffix) {
		return &a.cert, nil
	}
	wildcard := "*." + parent
	a.mu.Lock()
	defer a.mu.Unlock()
	if cert := a.nested[wildcard]; cert != nil {
		return cert, nil
	}
	cert, err := a.sign(ValidCertificate, wildcard)
	if err != nil {
		return nil, err
	}
	if a.nested == nil || len(a.nested) >= maxRecorded { // clients choose the names
		a.nested = map[string]*tls.Certificate{}
	}
	a.nested[wildcard] = &cert
	return &cert, nil
}

// tlsConfigWith returns a server's configuration with a certificate of that kind. All but
// the valid one are created for each call, because tests use them rarely.
func (a *certAuthority) tlsConfigWith(kind Certificate) (*tls.Config, error) {
	switch kind {
	case ValidCertificate:
		return a.tlsConfig(), nil
	case UntrustedCertificate:
		other, err := newCertAuthority()
		if err != nil {
			return nil, err
		}
		return other.tlsConfig(), nil
	}
	cert, err := a.sign(kind)
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
}
