package socket

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// Windows counts in whole seconds. Its numbers for the options are those of ws2ipdef.h.
func TestDialer(t *testing.T) {
	const (
		maxRetransmit  = 5  // TCP_MAXRT
		keepAliveIdle  = 3  // TCP_KEEPALIVE, which has the name TCP_KEEPIDLE too
		keepAliveCount = 16 // TCP_KEEPCNT
		interval       = 17 // TCP_KEEPINTVL
	)
	minute, short := Within(DefaultTimeout), Within(7*time.Second)
	rows := []struct {
		name    string
		options Options
		option  int // of IPPROTO_TCP
		want    int
	}{
		{"idle", minute, keepAliveIdle, 30},
		{"idle, rounded up", short, keepAliveIdle, 4},
		{"interval", minute, interval, 10},
		{"interval, rounded up", short, interval, 2},
		{"probes", minute, keepAliveCount, 3},
		{"user timeout", minute, maxRetransmit, 60},
		{"short user timeout", short, maxRetransmit, 7},
		{"user timeout of a part of a second", Options{UserTimeout: time.Millisecond}, maxRetransmit, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := tcpOption(t, dial(t, row.options), row.option)
			if errors.Is(err, syscall.Errno(10042)) { // WSAENOPROTOOPT
				entratest.SkipOnWine(t, "it does not know this option of TCP")
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != row.want {
				t.Errorf("option %d = %d, want %d", row.option, got, row.want)
			}
		})
	}
}

// A connection works although the system refuses an option.
func TestConnectionWorks(t *testing.T) {
	conn := dial(t, Within(DefaultTimeout))
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := conn.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("Read() = %q, %v, want what was written", b, err)
	}
}

// dial connects to a listener that returns what it reads.
func dial(t *testing.T, o Options) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		peer, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 1)
		n, _ := peer.Read(b)
		peer.Write(b[:n])
		peer.Close()
	}()
	conn, err := o.Dialer(new(net.Dialer).DialContext)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func tcpOption(t *testing.T, conn net.Conn, option int) (int, error) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var failed error
	err = raw.Control(func(fd uintptr) {
		got, failed = syscall.GetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_TCP, option)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, failed
}
