package emulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Client returns an HTTP client for token requests. For that client, the authorities of
// every cloud and the metadata service of a virtual machine are the emulator, and it
// trusts the emulator's certificates. It connects only to the emulator and to this
// machine. Every call returns the same client.
func (a *Azure) Client() *http.Client { return a.client }

func (a *Azure) newClient() *http.Client {
	t := a.entra.Client().Transport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		addr, err := a.resolve(addr)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return &http.Client{Transport: t}
}

// resolve returns the address to dial for a host and port.
func (a *Azure) resolve(addr string) (string, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if _, ok := cloudOf(name); ok {
		return a.entra.Listener.Addr().String(), nil
	}
	if name == imdsAddress {
		return a.host.Listener.Addr().String(), nil
	}
	if ip := net.ParseIP(name); name == "localhost" || ip.IsLoopback() {
		return addr, nil
	}
	return "", fmt.Errorf("the emulator does not serve %s; use its client for Azure and for this machine only", name)
}

// hostOf returns the host of a URL in lower case, or "".
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
