// Package direct begins connections with TLS, as sslnegotiation=direct of libpq does, to
// servers that are known to accept it. Where a server does not, the same connect negotiates
// TLS after all, and so do all later ones.
package direct

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Protocol is the name of PostgreSQL's protocol in TLS (ALPN). Each TLS configuration
	// must offer it, and a server that accepts direct TLS must select it: so no server of
	// another protocol can take its place.
	Protocol = "postgresql"

	// Timeout limits the wait for the response of a server that a connection began with
	// TLS, before the connection is closed and another one negotiates.
	Timeout = time.Second

	// minVersion is the first major version of PostgreSQL that accepts direct TLS.
	minVersion = 17

	// maxServers limits what a program remembers whose servers have ever new names.
	maxServers = 1000
)

// ErrProtocol says that TLS was established and the server did not select [Protocol]. The
// next connect to it negotiates.
var ErrProtocol = errors.New("the server accepted direct TLS without the protocol postgresql (ALPN)")

// Servers is what is known of the servers of one connector. The zero value knows none, and
// is ready to use. It is safe for concurrent use.
type Servers struct {
	mu     sync.Mutex        // guards what follows; not held while a connection is read or dialed
	names  map[string]string // the host by what it was resolved to
	states map[string]state  // by host and port
}

// A state is what is known of one server.
type state int

const (
	unknown   state = iota
	candidate       // it is new enough, and was seen without anything in between that hides it
	trying          // one connection begins with TLS, and the others negotiate
	works
	refused // for good
)

type (
	// A DialFunc opens a connection, as net.Dialer.DialContext does.
	DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

	// A LookupFunc resolves a host, as net.Resolver.LookupHost does.
	LookupFunc = func(ctx context.Context, host string) ([]string, error)
)

// Lookup returns lookup, whose results s remembers: what is known of a server is known by
// its name, because its addresses change.
func (s *Servers) Lookup(lookup LookupFunc) LookupFunc {
	return func(ctx context.Context, host string) ([]string, error) {
		addrs, err := lookup(ctx, host)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.names == nil || len(s.names) > maxServers {
			s.names = map[string]string{}
		}
		for _, addr := range addrs {
			s.names[addr] = host
		}
		return addrs, err
	}
}

// Dialer returns dial, whose connections begin with TLS where that is known to work. To
// their user they look as if the server had agreed to TLS.
func (s *Servers) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil || network == "unix" {
			return raw, err
		}
		c := &Conn{servers: s, server: s.name(address), raw: raw}
		c.redial = func() (net.Conn, error) { return dial(ctx, network, address) }
		c.timeout = Timeout
		if deadline, ok := ctx.Deadline(); ok {
			c.timeout = min(c.timeout, time.Until(deadline)/2) // the rest is for the negotiation
		}
		return c, nil
	}
}

// name returns the host and port of an address.
func (s *Servers) name(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resolved := range []string{address, host} {
		if name := s.names[resolved]; name != "" {
			return net.JoinHostPort(name, port)
		}
	}
	return address
}

// SignedIn takes note of a server that has signed in a client on conn. It is a candidate if
// its version is new enough, and the peer of TLS knows the protocol: a pooler that reports
// the version of its server does not, unless it accepts direct TLS itself.
func (s *Servers) SignedIn(conn net.Conn, serverVersion string) {
	t, c := find(conn)
	if t == nil || c == nil || t.ConnectionState().NegotiatedProtocol != Protocol || !Supports(serverVersion) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states == nil {
		s.states = map[string]state{}
	}
	if s.states[c.server] == unknown && len(s.states) < maxServers {
		s.states[c.server] = candidate
	}
}

// Supports reports whether a server of this version, as its parameter server_version has
// it, accepts direct TLS.
func Supports(serverVersion string) bool {
	digits := serverVersion
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	major, err := strconv.Atoi(digits)
	return err == nil && major >= minVersion
}

// Verify returns [ErrProtocol] if conn began with TLS and the server did not select the
// protocol. The handshake must be complete.
func (s *Servers) Verify(conn net.Conn) error {
	t, c := find(conn)
	if t == nil || c == nil || !c.direct || t.ConnectionState().NegotiatedProtocol == Protocol {
		return nil
	}
	s.set(c.server, refused)
	return ErrProtocol
}

// Used reports whether conn began with TLS. The handshake must be complete.
func Used(conn net.Conn) bool {
	_, c := find(conn)
	return c != nil && c.direct
}

// Begun reports whether conn began with TLS, or is about to.
func Begun(conn net.Conn) bool {
	_, c := find(conn)
	return c != nil && c.outcome.Load() != decided
}

// find returns the TLS of conn and the connection of this package under it. Both are nil
// where there is none.
func find(conn net.Conn) (*tls.Conn, *Conn) {
	var t *tls.Conn
	for {
		switch c := conn.(type) {
		case *Conn:
			return t, c
		case *tls.Conn:
			t = c
		}
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return t, nil
		}
		conn = w.NetConn()
	}
}

// begin reports whether a connection begins with TLS. After a server became a candidate,
// only one does until it is known that it works: what goes wrong costs one caller.
func (s *Servers) begin(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.states[server] {
	case candidate:
		s.states[server] = trying
		return true
	case works:
		return true
	}
	return false
}

// set changes what is known of a server. A refusal is for good.
func (s *Servers) set(server string, to state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[server] != refused {
		s.states[server] = to
	}
}

// doubt takes note of a connection whose user or peer gave up before it was clear whether
// direct TLS works: it is tried once more where it has worked, by one connection.
func (s *Servers) doubt(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.states[server] {
	case works:
		s.states[server] = candidate
	case trying:
		s.states[server] = refused
	}
}

// release takes note of a connection that says nothing of direct TLS, because the server was
// not reached.
func (s *Servers) release(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[server] == trying {
		s.states[server] = candidate
	}
}
