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
	"time"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A Certificate is one that the gateway may present: see [Faults.Certificate].
type Certificate string

const (
	RightCertificate     Certificate = ""           // the one to be trusted
	ExpiredCertificate   Certificate = "expired"    // an hour ago
	OtherNameCertificate Certificate = "other-name" // some other server's
	StrangerCertificate  Certificate = "stranger"   // signed by an authority that is not CertFile's
)

// authority is a certificate authority and the right certificate that it has signed.
type authority struct {
	pem  []byte
	own  *x509.Certificate
	key  *ecdsa.PrivateKey
	cert tls.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aadpostgres emulator CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if own, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a := &authority{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), own: own, key: key}
	a.cert, err = a.sign(RightCertificate)
	return a, err
}

func (a *authority) sign(kind Certificate) (tls.Certificate, error) {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "aadpostgres emulator"},
		NotBefore: a.own.NotBefore, NotAfter: a.own.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:    []string{"localhost", "login.windows.net", "*" + dsn.CosmosSuffix},
	}
	for _, c := range dsn.Clouds() {
		leaf.DNSNames = append(leaf.DNSNames, hostOf(c.Authority), "*"+c.HostSuffix)
	}
	switch kind {
	case ExpiredCertificate:
		leaf.NotBefore, leaf.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	case OtherNameCertificate:
		leaf.IPAddresses, leaf.DNSNames = nil, []string{"other-name.example"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.own, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der, a.own.Raw}, PrivateKey: key}, err
}

func (a *authority) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.cert}}
}

// present is config with one of the certificates. The wrong ones are made anew each
// time, which costs less than keeping them would in code.
func (a *authority) present(kind Certificate) (*tls.Config, error) {
	cert, err := a.cert, error(nil)
	switch kind {
	case RightCertificate:
	case StrangerCertificate:
		var other *authority
		if other, err = newAuthority(); err == nil {
			cert = other.cert
		}
	default:
		cert, err = a.sign(kind)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
}
