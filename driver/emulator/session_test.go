package emulator

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// A slowConn returns from writing a password message long after PostgreSQL has answered it.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.HasPrefix(b, []byte("p")) {
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// pgconn reads in the background during a slow write. What it has read then is not lost to
// the relay.
func TestSlowWrite(t *testing.T) {
	az := Start(t)
	dial := az.gateway.dial
	az.gateway.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return slowConn{conn}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := connectAsApp(ctx, az)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "select 1"); err != nil {
		t.Error(err)
	}
}

func TestStartupsAreBounded(t *testing.T) {
	a := &Azure{}
	for i := range 2500 {
		a.recordStartup(map[string]string{"user": fmt.Sprint(i)})
	}
	startups := a.Startups()
	if len(startups) != 1000 {
		t.Fatalf("%d startups, want 1000", len(startups))
	}
	if got := startups[0]["user"]; got != "1500" {
		t.Errorf("user of the first = %q, want 1500", got)
	}
	if got := startups[999]["user"]; got != "2499" {
		t.Errorf("user of the last = %q, want 2499", got)
	}
}
