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

// An issuer is a certificate authority of the test's own, for what stands before
// the emulator.
type issuer struct {
	own  *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newIssuer(t testing.TB) *issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fault suite"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{own, key, filepath.Join(t.TempDir(), "issuer.pem")}
	if err := os.WriteFile(i.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// sign makes a certificate for 127.0.0.1 that holds until then.
func (i *issuer) sign(t testing.TB, until time.Time) *tls.Certificate {
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, i.own, &i.key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}
}

func (i *issuer) pool(t testing.TB) *x509.CertPool {
	pool := x509.NewCertPool()
	b, err := os.ReadFile(i.file)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatal(err)
	}
	return pool
}

// A front stands before the emulator's token endpoints, over real sockets, and
// may misbehave.
type front struct {
	real   string // what it stands before: a URL
	client *http.Client
	addr   string
	tls    *tls.Config // nil: plain HTTP
	right  *tls.Certificate
	wrong  *tls.Certificate
	asked  atomic.Int64 // requests, of every kind
	old    atomic.Bool  // present the expired certificate
	after  atomic.Int64 // how long it has asked to be left alone, until somebody has read that

	mu   sync.Mutex
	play play
	srv  *http.Server
}

// A play answers in the real endpoint's place; it may ask that.
type play func(f *front, w http.ResponseWriter, r *http.Request)

func newFront(t testing.TB, az *emulator.Azure, i *issuer, metadata bool) *front {
	f := &front{real: az.Authority(), client: az.Client()}
	if metadata {
		f.real = "http://169.254.169.254/"
	} else {
		f.right, f.wrong = i.sign(t, time.Now().Add(time.Hour)), i.sign(t, time.Now().Add(-time.Hour))
		f.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if f.old.Load() {
				return f.wrong, nil
			}
			return f.right, nil
		}}
	}
	f.up(t)
	t.Cleanup(f.down)
	return f
}

// up begins to listen, at the same address each time.
func (f *front) up(t testing.TB) {
	ln := relisten(t, f.addr)
	if f.addr == "" { // the same ever after, and read without the lock
		f.addr = ln.Addr().String()
	}
	if f.tls != nil {
		ln = tls.NewListener(ln, f.tls)
	}
	srv := &http.Server{Handler: f, ErrorLog: log.New(io.Discard, "", 0)}
	f.mu.Lock()
	f.srv = srv
	f.mu.Unlock()
	go srv.Serve(ln)
}

// down ends every connection and refuses new ones.
func (f *front) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.srv.Close()
}

// relisten listens where somebody listened a moment ago, or anywhere if addr is "".
func relisten(t testing.TB, addr string) net.Listener {
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

// set makes it misbehave; nil ends that.
func (f *front) set(p play) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.play = p
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	f.mu.Lock()
	p := f.play
	f.mu.Unlock()
	if p != nil {
		p(f, w, r)
		return
	}
	status, header, body := f.ask(r)
	answer(w, status, header, body)
}

// ask asks the real endpoint.
func (f *front) ask(r *http.Request) (int, http.Header, []byte) {
	form, _ := io.ReadAll(r.Body)
	req, err := http.NewRequestWithContext(r.Context(), r.Method, f.real+r.URL.RequestURI()[1:], bytes.NewReader(form))
	if err != nil {
		return http.StatusBadGateway, nil, nil
	}
	req.Header, req.Host = r.Header.Clone(), r.Host // Entra tells its own name by the one it is called
	resp, err := f.client.Do(req)
	if err != nil {
		return http.StatusBadGateway, nil, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body
}

func answer(w http.ResponseWriter, status int, header http.Header, body []byte) {
	for _, name := range []string{"Content-Type", "Date", "Retry-After"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(status)
	w.Write(body) // a client that left is no concern of ours
}

// transport leads every request to the front.
func (f *front) transport(t testing.TB, i *issuer) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: i.pool(t)}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, f.addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
