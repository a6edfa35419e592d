// Package socket sets the options of TCP connections by which a peer that vanishes without
// a word is noticed: its machine has lost power, or a firewall drops what it knew.
package socket

import (
	"context"
	"net"
	"time"
)

// DefaultTimeout is how long a peer may be silent to what it must acknowledge. A virtual
// machine that Azure freezes for maintenance responds again within half of it.
const DefaultTimeout = 60 * time.Second

// Options of a connection. The zero Options change nothing.
type Options struct {
	// KeepAlive has the probes that are sent while nothing else is. They notice a peer
	// that vanishes while the program waits for a response.
	KeepAlive net.KeepAliveConfig
	// UserTimeout is how long sent data may stay unacknowledged; 0 means the system's
	// limit, 15 minutes on Linux. Linux applies it to the probes too. Windows and macOS
	// count whole seconds, and other systems ignore it.
	UserTimeout time.Duration
}

// Within returns the options by which a peer that has vanished is noticed after d, at
// least six seconds: probes begin after half of it.
func Within(d time.Duration) Options {
	const probes = 3
	d = max(d, 2*probes*time.Second)
	return Options{
		KeepAlive:   net.KeepAliveConfig{Enable: true, Idle: d / 2, Interval: d / 2 / probes, Count: probes},
		UserTimeout: d,
	}
}

// A DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer returns dial with o set on each of its connections.
func (o Options) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			o.Set(conn)
		}
		return conn, err
	}
}

// Set sets o on conn if it is a TCP connection, or wraps one and has the method NetConn, as
// tls.Conn does. Other connections, such as a Unix socket or a tunnel, stay as they are. A
// system that refuses an option keeps its own: the connection works without.
func (o Options) Set(conn net.Conn) {
	for {
		if tcp, ok := conn.(*net.TCPConn); ok {
			o.set(tcp)
			return
		}
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		conn = w.NetConn()
	}
}

func (o Options) set(tcp *net.TCPConn) {
	if o.KeepAlive != (net.KeepAliveConfig{}) {
		_ = tcp.SetKeepAliveConfig(o.KeepAlive)
	}
	raw, err := tcp.SyscallConn()
	if err != nil || o.UserTimeout <= 0 {
		return
	}
	_ = raw.Control(func(fd uintptr) { setUserTimeout(handle(fd), o.UserTimeout) })
}
