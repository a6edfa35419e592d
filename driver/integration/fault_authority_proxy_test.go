package integration

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A testCA is the certificate authority of the proxies that stand before the emulator.
type testCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newTestCA(t testing.TB) *testCA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fault suite"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := &testCA{certificate, key, filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(ca.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}

// sign issues a certificate for 127.0.0.1 that is valid until then, from two days ago.
func (ca *testCA) sign(t testing.TB, until time.Time) *tls.Certificate {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca.certificate, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.key}
}

func (ca *testCA) pool(t testing.TB) *x509.CertPool {
	pool := x509.NewCertPool()
	b, err := os.ReadFile(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	if !pool.AppendCertsFromPEM(b) {
		t.Fatalf("%s has no certificate", ca.file)
	}
	return pool
}

// An authorityProxy stands before the emulator's token endpoints, on a real socket.
type authorityProxy struct {
	upstream           string // URL
	client             *http.Client
	addr               string
	tls                *tls.Config // nil: plain HTTP
	validCertificate   *tls.Certificate
	expiredCertificate *tls.Certificate
	requests           atomic.Int64 // HTTP requests of every kind
	presentExpired     atomic.Bool
	retryAfter         atomic.Int64 // the last Retry-After, until the logChecker has read it

	mu      sync.Mutex
	respond responder
	srv     *http.Server
}

// A responder answers a request itself. It may forward it first.
type responder func(p *authorityProxy, w http.ResponseWriter, r *http.Request)

func newAuthorityProxy(t testing.TB, az *emulator.Azure, ca *testCA, metadata bool) *authorityProxy {
	p := &authorityProxy{upstream: az.Authority(), client: az.Client()}
	if metadata {
		p.upstream = "http://169.254.169.254/"
	} else {
		p.validCertificate = ca.sign(t, time.Now().Add(time.Hour))
		p.expiredCertificate = ca.sign(t, time.Now().Add(-time.Hour))
		p.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if p.presentExpired.Load() {
				return p.expiredCertificate, nil
			}
			return p.validCertificate, nil
		}}
	}
	p.start(t)
	t.Cleanup(p.stop)
	return p
}

// start listens, at the same address each time.
func (p *authorityProxy) start(t testing.TB) {
	ln := listen(t, p.addr)
	if p.addr == "" { // set once: it is read without the lock
		p.addr = ln.Addr().String()
	}
	if p.tls != nil {
		ln = tls.NewListener(ln, p.tls)
	}
	srv := &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0)}
	p.mu.Lock()
	p.srv = srv
	p.mu.Unlock()
	go srv.Serve(ln)
}

// stop closes all connections and refuses new ones.
func (p *authorityProxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.srv.Close()
}

// listen listens at addr, or at any free port if addr is "". It retries, for an address
// whose listener was closed a moment ago may still be in use.
func listen(t testing.TB, addr string) net.Listener {
	addr = cmp.Or(addr, "127.0.0.1:0")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			return ln
		}
		if time.Now().After(end) {
			t.Error(err)
			ln, _ = net.Listen("tcp", "127.0.0.1:0")
			return ln
		}
	}
}

// setResponder makes respond answer all requests; with nil they are forwarded.
func (p *authorityProxy) setResponder(respond responder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.respond = respond
}

func (p *authorityProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	p.mu.Lock()
	respond := p.respond
	p.mu.Unlock()
	if respond != nil {
		respond(p, w, r)
		return
	}
	status, header, body := p.forward(r)
	writeResponse(w, status, header, body)
}

// forward sends the request to the real endpoint and returns its response.
func (p *authorityProxy) forward(r *http.Request) (int, http.Header, []byte) {
	form, _ := io.ReadAll(r.Body)
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.upstream+r.URL.RequestURI()[1:], bytes.NewReader(form))
	if err != nil {
		return http.StatusBadGateway, nil, nil
	}
	req.Header = r.Header.Clone()
	req.Host = r.Host // the emulated Entra puts the requested host into its metadata
	resp, err := p.client.Do(req)
	if err != nil {
		return http.StatusBadGateway, nil, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body
}

func writeResponse(w http.ResponseWriter, status int, header http.Header, body []byte) {
	for _, name := range []string{"Content-Type", "Date", "Retry-After"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(status)
	w.Write(body) // fails if the client has disconnected
}

// transport returns an HTTP client that sends every request to the proxy.
func (p *authorityProxy) transport(t testing.TB, ca *testCA) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(t)}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
