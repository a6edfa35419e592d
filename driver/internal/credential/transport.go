package credential

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// maxResponseBytes is what a response may hold, uncompressed. Entra's take some kilobytes.
const maxResponseBytes = 1 << 20

// newTransport returns t, or a client like azcore's own if t is nil. An HTTP client is
// copied, because it would follow a redirect with the secret in its body or in one of
// Azure's headers.
func newTransport(t policy.Transporter) policy.Transporter {
	client, ok := t.(*http.Client)
	if t == nil {
		client = defaultClient()
	} else if !ok || client == nil {
		return t
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// defaultClient is azcore's, which it does not export, with a bound on headers.
var defaultClient = sync.OnceValue(func() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:       proxyFor,
		DialContext: (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},

		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    10,
		IdleConnTimeout:        time.Second, // the requests for one token, not those of the next hour
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient},
	}}
})

// closeIdleConnections closes those of the clients that no program has given.
func closeIdleConnections() { defaultClient().CloseIdleConnections() }

// onServiceFabric reports whether a managed identity's endpoint is Service Fabric's.
// azidentity pins that endpoint's certificate to an HTTP client, so it accepts no
// safeTransport.
func onServiceFabric() bool {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"} {
		if os.Getenv(name) == "" {
			return false
		}
	}
	return true
}

// A safeTransport sends token requests where they are addressed and nowhere else, and
// bounds their responses: an endless one would be kept.
type safeTransport struct{ policy.Transporter }

// Do implements policy.Transporter.
func (t safeTransport) Do(r *http.Request) (*http.Response, error) {
	if !isSecure(r) {
		return nil, nonRetriable{fmt.Errorf("a secret was to be sent to %s://%s, without TLS", r.URL.Scheme, r.URL.Host)}
	}
	resp, err := t.Transporter.Do(r)
	if err != nil {
		return resp, err
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, nonRetriable{fmt.Errorf("%s redirects to %s, which is not followed with a secret", r.URL.Host, location(resp))}
	}
	resp.Body = &limitedBody{
		ReadCloser: resp.Body,
		left:       maxResponseBytes,
		host:       r.URL.Host,
		truncate:   resp.StatusCode >= 400,
	}
	return resp, nil
}

// isSecure reports whether a request may be sent. An authority's metadata say where to post
// a secret, so that they could name any address. Only what a host's own variables name,
// or its platform has at a fixed address, is asked without TLS: by GET, or by POST where
// that is Cloud Shell's endpoint or Azure Pipelines' on this machine.
func isSecure(r *http.Request) bool {
	switch {
	case r.URL.Scheme == "https":
		return true
	case r.Method == http.MethodGet:
		return isIdentityEndpoint(r.URL)
	}
	return isLocal(r.URL) && isNamedBy(r.URL, "MSI_ENDPOINT", "SYSTEM_OIDCREQUESTURI")
}

// location names where a response redirects to, without the path.
func location(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return u.Scheme + "://" + u.Host
}

// A nonRetriable error is one that another try would not avoid, so azcore does not try
// again.
type nonRetriable struct{ error }

// NonRetriable marks the error for azcore.
func (nonRetriable) NonRetriable() {}

// Unwrap returns the cause.
func (e nonRetriable) Unwrap() error { return e.error }

// A limitedBody ends with an error when it is longer than its limit, or as if there were
// no more, where the beginning says enough.
type limitedBody struct {
	io.ReadCloser
	left     int
	host     string
	truncate bool
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left >= 0 {
		n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)]) // one byte more shows that it is too long
		b.left -= n
		if b.left >= 0 {
			return n, err
		}
	}
	if b.truncate {
		return 0, io.EOF
	}
	return 0, nonRetriable{fmt.Errorf("the response of %s is longer than 1 MiB", b.host)}
}

// readBody reads the body of a response and leaves it to be read again. A body that
// breaks off is not requested again by POST: a code or a refresh token may be used up.
func readBody(req *http.Request, resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		err = fmt.Errorf("reading the response: %w", err)
		if req.Method == http.MethodPost {
			return nil, nonRetriable{err}
		}
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}
