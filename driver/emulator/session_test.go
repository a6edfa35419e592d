package emulator

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// slow is slow to return from writing a password, long after the answer is there.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.HasPrefix(b, []byte("p")) {
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// pgconn reads in the background during a slow write. What it reads after the
// relay has taken over is lost.
func TestSlowWrite(t *testing.T) {
	az := Start(t)
	dial := az.gateway.dial
	az.gateway.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return slowConn{conn}, err
	}
	app, _ := az.findIdentity(func(id Identity) bool { return id.Name == "app" })
	config, err := pgx.ParseConfig(az.DSN("user=app sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = az.Token(app, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
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
	s := a.Startups()
	if len(s) != 1000 || s[0]["user"] != "1500" || s[999]["user"] != "2499" {
		t.Errorf("%d startups, %v to %v", len(s), s[0], s[len(s)-1])
	}
}
