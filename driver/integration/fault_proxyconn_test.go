package integration

import (
	"crypto/tls"
	"net"
	"time"
)

// trigger applies the disruption's action and reports whether the connection goes on.
func (c *proxyConn) trigger() bool {
	c.proxy.mu.Lock()
	c.proxy.triggered++
	c.proxy.mu.Unlock()
	return c.disrupt(c.disruption.action)
}

// disrupt applies action and reports whether the connection goes on.
func (c *proxyConn) disrupt(action string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if action == actionSilence {
		c.silenced = true
		return true
	}
	c.cancel()
	for _, conn := range c.conns {
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn() // closing the tls.Conn would send close_notify
		}
		if conn == nil {
			continue
		}
		if action == actionReset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
	}
	return false
}

func (c *proxyConn) isSilenced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silenced
}

// copy forwards one direction, segment by segment, until its disruption ends it.
func (c *proxyConn) copy(direction int, to, from net.Conn) {
	defer c.disrupt(actionClose)
	f := &framer{direction: direction, raw: c.proxy.tlsConfig == nil}
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if !c.forward(f, to, buf[:n]) || err != nil {
			return
		}
	}
}

// forward writes b and reports whether the connection goes on. A silenced connection
// is read on, so that its end is noticed, but b is dropped.
func (c *proxyConn) forward(f *framer, to net.Conn, b []byte) bool {
	for len(b) > 0 && !c.isSilenced() {
		s := f.next(b, c.disruption)
		if s.endsMessage && !c.endMessage(f.direction) {
			return false
		}
		if !c.write(to, b[:s.n]) {
			return false
		}
		b = b[s.n:]
		if s.atPosition && !c.trigger() {
			return false
		}
	}
	return true
}

// endMessage delays and counts a message before its last byte is written: a client that
// has the whole message must see it counted.
func (c *proxyConn) endMessage(direction int) bool {
	if c.disruption.delay > 0 {
		select {
		case <-time.After(c.disruption.delay):
		case <-c.done.Done():
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed[direction]++
	return true
}

func (c *proxyConn) write(to net.Conn, b []byte) bool {
	for chunk := c.disruption.chunk; chunk > 0 && len(b) > chunk; b = b[chunk:] {
		if _, err := to.Write(b[:chunk]); err != nil {
			return false
		}
	}
	_, err := to.Write(b)
	return err == nil
}
