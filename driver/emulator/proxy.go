package emulator

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
)

// A proxy is the HTTP proxy of the programs that run on a host, at an address of this
// machine. It leads the authorities of every cloud to the emulator, so that a program
// needs neither another authority nor a setting for instance discovery. It refuses every
// other host and connects to the emulator's Entra only.
type proxy struct {
	server *httptest.Server
	entra  net.Addr
	ctx    context.Context // canceled by close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the tunnels
}

// newProxy starts a proxy on a free port of 127.0.0.1.
func newProxy(entra net.Addr) *proxy {
	p := &proxy{entra: entra}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	return p
}

// close waits until the last tunnel has ended.
func (p *proxy) close() {
	p.server.CloseClientConnections()
	p.server.Close() // no tunnel begins after this
	p.cancel()
	p.wg.Wait()
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.wg.Add(1) // before Hijack, after which the server does not wait for the connection
	defer p.wg.Done()
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return // the client is gone
	}
	defer conn.Close()
	stop := context.AfterFunc(p.ctx, func() { conn.Close() })
	defer stop()
	switch {
	case isMetadataService(r.Host):
		// Hang up, as if no server listened there. Microsoft's libraries then go on to the
		// next credential. Older ones take any response for that of a metadata service.
	case r.Method == http.MethodConnect && isAuthority(r.Host):
		p.tunnel(conn, buffered.Reader)
	default:
		refuseHost(conn, r.Host)
	}
}

// isAuthority reports whether a host and port are those of a cloud's authority.
func isAuthority(addr string) bool {
	name, port, err := net.SplitHostPort(addr)
	if err != nil || port != "443" {
		return false
	}
	_, ok := cloudOf(name)
	return ok
}

// isMetadataService reports whether a host and port are those of a metadata service, which
// has a link-local address.
func isMetadataService(addr string) bool {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		name = strings.Trim(addr, "[]") // without a port
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLinkLocalUnicast()
}

// refuseHost answers with the reason in the status line too, because Go's client shows only
// that.
func refuseHost(w io.Writer, host string) {
	reason := fmt.Sprintf("%+q is unreachable, because the emulator lets nothing leave this machine; add the host to NO_PROXY to reach it", host)
	fmt.Fprintf(w, "HTTP/1.1 403 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", reason, len(reason), reason)
}

// tunnel connects a client to Entra, which terminates TLS.
func (p *proxy) tunnel(client net.Conn, buffered *bufio.Reader) {
	entra, err := new(net.Dialer).DialContext(p.ctx, p.entra.Network(), p.entra.String())
	if err != nil {
		return
	}
	defer entra.Close()
	stop := context.AfterFunc(p.ctx, func() { entra.Close() })
	defer stop()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(entra, buffered) // what the client has sent already, and then the rest
		entra.Close()            // ends the other copy
	}()
	io.Copy(client, entra)
	client.Close()
	<-done
}
