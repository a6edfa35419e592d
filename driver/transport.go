package driver

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A carrier carries token requests to where they are addressed and nowhere else,
// and brings back answers of sane size. Below azidentity, Go's client would follow
// a redirect with the secret in its body or in a header of Azure's, and all of an
// endless answer would be kept.
type carrier struct{ policy.Transporter }

// mostAnswer is what an answer may hold, unpacked. Entra's take some kilobytes.
const mostAnswer = 1 << 20

// carry puts a carrier around t, or around a client like azcore's own.
func carry(t policy.Transporter) policy.Transporter {
	client, ok := t.(*http.Client)
	switch {
	case t == nil:
		client = defaultClient()
	case !ok || client == nil:
		return carrier{t}
	}
	alone := *client
	alone.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return carrier{&alone}
}

// defaultClient is azcore's, which cannot be had, with less patience for headers.
var defaultClient = sync.OnceValue(func() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},

		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    10,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient},
	}}
})

// onServiceFabric tells that a managed identity's endpoint is Service Fabric's, where
// azidentity wants the transport as it was given: it pins a certificate to it and
// follows no redirect.
func onServiceFabric() bool {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"} {
		if os.Getenv(name) == "" {
			return false
		}
	}
	return true
}

func (c carrier) Do(r *http.Request) (*http.Response, error) {
	// The authority says where to post a secret. Endpoints of the host itself, which
	// have no TLS, are asked by GET, or are on it.
	if r.Method == http.MethodPost && r.URL.Scheme != "https" && !loopback(r.URL) {
		return nil, final{fmt.Errorf("a secret was to be sent to %s://%s, without TLS", r.URL.Scheme, r.URL.Host)}
	}
	resp, err := c.Transporter.Do(r)
	if err != nil {
		return resp, err
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		to := "nowhere"
		if u, err := resp.Location(); err == nil {
			to = u.Scheme + "://" + u.Host
		}
		return nil, final{fmt.Errorf("%s redirects to %s, which is not followed with a secret", r.URL.Host, to)}
	}
	resp.Body = &reply{resp.Body, mostAnswer, r.URL.Host, resp.StatusCode >= 400}
	return resp, nil
}

func loopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
}

// A final error is one that asking again would not mend: azcore asks no more.
type final struct{ error }

// NonRetriable is what azcore looks for.
func (final) NonRetriable() {}

func (f final) Unwrap() error { return f.error }

// A reply is a body that ends: with an error, or, where the beginning says enough,
// as if there were no more.
type reply struct {
	io.ReadCloser
	left int
	host string
	cut  bool
}

func (r *reply) Read(b []byte) (n int, err error) {
	if r.left >= 0 {
		n, err = r.ReadCloser.Read(b[:min(len(b), r.left+1)]) // one more tells
		r.left -= n
	}
	switch {
	case r.left >= 0:
		return n, err
	case r.cut:
		return 0, io.EOF
	}
	return 0, final{fmt.Errorf("the answer of %s is longer than 1 MiB", r.host)}
}

// download reads an answer, of which the carrier sees the end, and leaves it to be read
// again. What broke off in the middle is not asked for again by POST; what is no JSON
// is quoted by the libraries below, whatever it holds.
func download(req *http.Request, resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil && req.Method == http.MethodPost:
		return nil, final{fmt.Errorf("reading the answer: %w", err)} // a code or refresh token may be used up
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case resp.StatusCode/100 == 2 && len(b) > 0 && !json.Valid(b):
		return nil, final{fmt.Errorf("the answer of %s is not JSON", req.URL.Host)}
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}
