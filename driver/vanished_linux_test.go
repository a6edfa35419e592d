package driver

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/socket"
)

// Each connection has the options by which a server that vanishes is noticed, in mode
// password too.
func TestConnectionsNoticeVanishedServers(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name, params string
		opts         []Option
	}{
		{name: "token", opts: []Option{WithCredential(&entratest.Credential{})}},
		{name: "password", params: "aad_auth=password password=p"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			c := newConnector(t, "host=db.example user=me "+tt.params, tt.opts...)
			conn, err := c.Config().DialFunc(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			const tcpUserTimeout = 0x12 // of linux/tcp.h
			var got int
			err = raw.Control(func(fd uintptr) { got, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) })
			if err != nil {
				t.Fatal(err)
			}
			if want := int(socket.DefaultTimeout / time.Millisecond); got != want {
				t.Errorf("TCP_USER_TIMEOUT = %d ms, want %d", got, want)
			}
		})
	}
}
