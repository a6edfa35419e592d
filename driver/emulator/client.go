package emulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Client is an HTTP client to ask for tokens with: the authorities of every cloud and
// the address of a virtual machine's metadata service are the emulator, and
// trusted as such. It reaches no other host but this one. It is the same for each
// call.
func (a *Azure) Client() *http.Client { return a.client }

func (a *Azure) newClient() *http.Client {
	t := a.entra.Client().Transport.(*http.Transport).Clone()
	t.Proxy = nil
	entra, host := a.entra.Listener.Addr().String(), a.host.Listener.Addr().String()
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if _, ok := cloudOf(name); ok {
			addr = entra
		} else if name == imdsAddress {
			addr = host
		} else if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("the emulator does not play %s", name)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return &http.Client{Transport: t}
}

// hostOf is the host of a URL, or "".
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
