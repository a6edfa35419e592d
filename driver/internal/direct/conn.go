package direct

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// sslRequest is what a client sends to negotiate TLS. A server that has it responds S.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// A Conn is a connection to a server. If it begins with TLS, it responds itself to its
// user's SSLRequest, and sends what follows at once. If the server does not respond to that
// ClientHello with a ServerHello, the Conn sends the same ClientHello on a new connection
// that the server has agreed to use TLS on. The user's TLS verifies the server either way.
type Conn struct {
	servers *Servers
	server  string
	redial  func() (net.Conn, error)
	timeout time.Duration

	// What follows belongs to the goroutine that is in the handshake, during which there is
	// one only. Then it does not change.
	phase   phase
	direct  bool
	hello   []byte      // what was sent since the SSLRequest
	pending []byte      // what was read and the user has not
	timer   *time.Timer // closes the connection

	outcome atomic.Int32 // one of those below

	mu                          sync.Mutex // guards what follows against Close and deadlines
	raw                         net.Conn
	closed                      bool
	readDeadline, writeDeadline time.Time
}

// The outcome of beginning with TLS.
const (
	decided   int32 = iota // known, or the connection did not begin with TLS
	untried                // nothing was sent
	undecided              // the ClientHello was sent, and the handshake is not complete
)

type phase int

const (
	start    phase = iota // nothing was sent
	agreed                // the user is told that the server agrees to TLS
	greeting              // the ClientHello is sent
	open                  // bytes go through
)

func (c *Conn) Write(b []byte) (int, error) {
	if c.phase == open {
		const applicationData = 23 // also what ends a handshake of TLS 1.3
		if c.outcome.Load() == undecided && len(b) > 0 && b[0] == applicationData && c.outcome.CompareAndSwap(undecided, decided) {
			c.servers.set(c.server, works)
		}
		return c.raw.Write(b)
	}
	if c.phase == start {
		if string(b) != string(sslRequest) || !c.servers.begin(c.server) {
			c.phase = open
			return c.raw.Write(b)
		}
		c.outcome.Store(untried)
		c.phase = agreed
		c.pending = []byte{'S'}
		return len(b), nil
	}
	c.outcome.CompareAndSwap(untried, undecided) // Close may have come between
	if c.phase == agreed {
		raw := c.raw
		c.timer = time.AfterFunc(c.timeout, func() { raw.Close() })
	}
	c.phase = greeting
	c.hello = append(c.hello, b...)
	n, err := c.raw.Write(b)
	if err != nil && !c.ended(err) {
		return len(b), nil // the response shows it
	}
	return n, err
}

func (c *Conn) Read(b []byte) (int, error) {
	if c.phase == greeting {
		if err := c.respond(); err != nil {
			return 0, err
		}
	}
	if len(c.pending) > 0 {
		n := copy(b, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	return c.raw.Read(b)
}

// ended reports whether the user has ended the connect, by Close or a deadline.
func (c *Conn) ended(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || errors.Is(err, os.ErrDeadlineExceeded)
}

// respond reads the response to the ClientHello, or gets one on a new connection.
func (c *Conn) respond() error {
	raw := c.raw
	record, err := readServerHello(raw)
	inTime := c.timer.Stop()
	if err == nil && inTime {
		c.phase = open
		c.direct = true
		c.pending = record
		c.hello = nil
		return nil
	}
	if inTime && c.ended(err) {
		return err // Close tells what that means
	}
	raw.Close()
	c.outcome.Store(decided)
	certain := inTime || c.timeout == Timeout
	switch {
	case inTime: // it may be down
	case certain:
		c.servers.set(c.server, refused)
	default:
		c.servers.doubt(c.server)
	}
	if err := c.negotiate(); err != nil {
		c.servers.release(c.server)
		return err
	}
	if certain {
		c.servers.set(c.server, refused)
	}
	return nil
}

// negotiate sends the ClientHello again, on a connection whose server agrees to TLS.
func (c *Conn) negotiate() error {
	raw, err := c.redial()
	if err != nil {
		return err
	}
	if err := c.replace(raw); err != nil {
		return err
	}
	if _, err := raw.Write(sslRequest); err != nil {
		return err
	}
	response := make([]byte, 1)
	if _, err := io.ReadFull(raw, response); err != nil {
		return err
	}
	if response[0] != 'S' {
		return errors.New("server refused TLS connection")
	}
	hello := c.hello
	c.hello = nil
	c.phase = open
	_, err = raw.Write(hello)
	return err
}

// replace puts raw in the place of the connection that was closed.
func (c *Conn) replace(raw net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		raw.Close()
		return net.ErrClosed
	}
	c.raw = raw
	return errors.Join(raw.SetReadDeadline(c.readDeadline), raw.SetWriteDeadline(c.writeDeadline))
}

// Close closes the connection.
func (c *Conn) Close() error {
	switch c.outcome.Swap(decided) {
	case untried:
		c.servers.release(c.server)
	case undecided:
		c.servers.doubt(c.server)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.raw.Close()
}

// NetConn returns the connection to the server. It changes if the server refuses direct
// TLS, but not after the handshake.
func (c *Conn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.NetConn().LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.NetConn().RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	return c.raw.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	return c.raw.SetWriteDeadline(t)
}
