package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// alpnProtocol is the name of PostgreSQL's protocol in TLS. A client that names others only
// is refused, and one that begins with TLS must name it, so that no server of another
// protocol can take its place.
const alpnProtocol = "postgresql"

// newTLS returns the server's side of TLS with the certificate that the faults select.
func (g *gateway) newTLS(conn net.Conn) (*tls.Conn, error) {
	config, err := g.azure.ca.tlsConfigWith(g.azure.Faults.current().certificate)
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{alpnProtocol}
	return tls.Server(conn, config), nil
}

// acceptDirectTLS shakes hands with a client that begins with TLS (sslnegotiation=direct).
func (g *gateway) acceptDirectTLS(conn net.Conn) (net.Conn, error) {
	if g.azure.Faults.current().refuseTLS {
		return nil, errors.New("TLS is refused")
	}
	t, err := g.newTLS(conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(g.ctx, shutdownTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if t.ConnectionState().NegotiatedProtocol != alpnProtocol {
		return nil, errors.New("received direct SSL connection request without ALPN protocol negotiation extension")
	}
	return t, nil
}

// peekTLS reads the first byte and reports whether it begins a TLS handshake. A startup
// packet begins with its length, whose first byte is 0. The connection that peekTLS
// returns reads the byte again.
func peekTLS(conn net.Conn) (_ net.Conn, direct bool, err error) {
	const handshakeRecord = 22
	first := make([]byte, 1)
	if _, err := conn.Read(first); err != nil {
		return nil, false, err
	}
	return &peekedConn{conn, first}, first[0] == handshakeRecord, nil
}

// A peekedConn is a connection of which some bytes have been read already.
type peekedConn struct {
	net.Conn
	peeked []byte
}

func (c *peekedConn) Read(b []byte) (int, error) {
	if len(c.peeked) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.peeked)
	c.peeked = c.peeked[n:]
	return n, nil
}
