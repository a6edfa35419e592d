package socket

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"
)

// wrapped is a connection as a program's own dialer may return it.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestDialer(t *testing.T) {
	rows := []struct {
		name    string
		options Options
		dial    DialFunc
		want    map[int]int // by option of IPPROTO_TCP
	}{
		{
			name:    "default",
			options: Within(DefaultTimeout),
			dial:    new(net.Dialer).DialContext,
			want:    map[int]int{syscall.TCP_KEEPIDLE: 30, syscall.TCP_KEEPINTVL: 10, syscall.TCP_KEEPCNT: 3, 0x12: 60_000},
		},
		{
			name:    "behind a wrapper",
			options: Within(6 * time.Second),
			dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return wrapped{wrapped{conn}}, err
			},
			want: map[int]int{syscall.TCP_KEEPIDLE: 3, syscall.TCP_KEEPINTVL: 1, syscall.TCP_KEEPCNT: 3, 0x12: 6_000},
		},
		{
			name:    "too short",
			options: Within(time.Second),
			dial:    new(net.Dialer).DialContext,
			want:    map[int]int{syscall.TCP_KEEPIDLE: 3, syscall.TCP_KEEPINTVL: 1, syscall.TCP_KEEPCNT: 3, 0x12: 6_000},
		},
		{
			name: "none",
			dial: (&net.Dialer{KeepAlive: 77 * time.Second}).DialContext,
			want: map[int]int{syscall.TCP_KEEPIDLE: 77, 0x12: 0},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			conn, err := row.options.Dialer(row.dial)(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			for option, want := range row.want {
				if got := tcpOption(t, conn, option); got != want {
					t.Errorf("option %d = %d, want %d", option, got, want)
				}
			}
		})
	}
}

func tcpOption(t *testing.T, conn net.Conn, option int) int {
	t.Helper()
	for {
		w, ok := conn.(wrapped)
		if !ok {
			break
		}
		conn = w.Conn
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var failed error
	err = raw.Control(func(fd uintptr) { got, failed = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option) })
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return got
}

// What is no TCP connection is left alone.
func TestSetOther(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	Within(DefaultTimeout).Set(a)
	Within(DefaultTimeout).Set(wrapped{b})
}
