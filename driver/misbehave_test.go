package driver

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgproto3"
)

// readSSLRequest reads the client's request for TLS, which holds no data of the client's.
func (s *fakeServer) readSSLRequest(conn net.Conn) bool {
	_, err := io.ReadFull(io.TeeReader(conn, &s.received), make([]byte, 8))
	return err == nil
}

// readStartup speaks the protocol up to and including the startup message. It returns the
// connection over TLS, or nil if the client has gone.
func (s *fakeServer) readStartup(conn net.Conn) *tls.Conn {
	if !s.readSSLRequest(conn) {
		return nil
	}
	if _, err := conn.Write([]byte("S")); err != nil {
		return nil
	}
	secure := tls.Server(conn, s.tls)
	length := make([]byte, 4)
	if _, err := io.ReadFull(secure, length); err != nil {
		return nil
	}
	startup := make([]byte, min(binary.BigEndian.Uint32(length)-4, 10000))
	if _, err := io.ReadFull(io.TeeReader(secure, &s.received), startup); err != nil {
		return nil
	}
	return secure
}

// send returns a misbehave function: it answers the startup message with b, and then each
// message of the client with the next of replies.
func send(b []byte, replies ...[]byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		secure := s.readStartup(conn)
		if secure == nil {
			return
		}
		if _, err := secure.Write(b); err != nil {
			return
		}
		message := make([]byte, 64<<10)
		for _, reply := range replies {
			n, err := secure.Read(message)
			s.received.Write(message[:n])
			if err != nil {
				return
			}
			if _, err := secure.Write(reply); err != nil {
				return
			}
		}
		io.Copy(&s.received, secure)
	}
}

// sendForever returns a misbehave function: it answers the startup message with what next
// returns, until the client has gone, and reads nothing.
func sendForever(next func(n int) []byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		secure := s.readStartup(conn)
		if secure == nil {
			return
		}
		for n := 0; ; n++ {
			if _, err := secure.Write(next(n)); err != nil {
				return
			}
		}
	}
}

// sendWhileReading returns a misbehave function: it answers the startup message with b,
// over and over, and reads what the client sends.
func sendWhileReading(b []byte) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		secure := s.readStartup(conn)
		if secure == nil {
			return
		}
		go func() {
			for {
				if _, err := secure.Write(b); err != nil {
					return
				}
			}
		}()
		io.Copy(&s.received, secure)
	}
}

// answerSSLRequest returns a misbehave function: it answers the request for TLS with b.
// With handshake it then offers TLS.
func answerSSLRequest(b []byte, handshake bool) func(*fakeServer, net.Conn) {
	return func(s *fakeServer, conn net.Conn) {
		if !s.readSSLRequest(conn) {
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
		if handshake {
			conn = tls.Server(conn, s.tls)
		}
		io.Copy(&s.received, conn)
	}
}

// encode returns messages as the server would send them.
func encode(messages ...pgproto3.BackendMessage) []byte {
	var b []byte
	for _, m := range messages {
		var err error
		b, err = m.Encode(b)
		if err != nil {
			panic(err) // a mistake in the test
		}
	}
	return b
}

// encodeRaw returns a message of any type that claims any length.
func encodeRaw(kind byte, length uint32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, length), body...)
}

// encodeAuthRequest returns an authentication request of any type, including those that
// pgproto3 cannot encode.
func encodeAuthRequest(kind byte, body ...byte) []byte {
	return encodeRaw('R', uint32(8+len(body)), append([]byte{0, 0, 0, kind}, body...)...)
}

var cleartextRequest = encode(&pgproto3.AuthenticationCleartextPassword{})
