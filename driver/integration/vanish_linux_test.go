//go:build vanish

package integration

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/integration/internal/netns"
)

// A cable joins two network namespaces, in one of which the server seems to be.
type cable struct {
	t              *testing.T
	client, server string // names of the namespaces
}

const (
	cableClient = "198.51.100.1" // addresses for documentation, inside the namespaces
	cableServer = "198.51.100.2"
)

func newCable(t *testing.T) *cable {
	t.Helper()
	c := &cable{t, netns.New(t, "client"), netns.New(t, "server")}
	netns.IP(t, "-n "+c.client+" link add cable type veth peer name cable netns "+c.server)
	netns.IP(t, "-n "+c.client+" address add "+cableClient+"/24 dev cable")
	netns.IP(t, "-n "+c.server+" address add "+cableServer+"/24 dev cable")
	netns.IP(t, "-n "+c.client+" link set cable up")
	c.plug()
	return c
}

func (c *cable) cut()  { netns.IP(c.t, "-n "+c.server+" link set cable down") }
func (c *cable) plug() { netns.IP(c.t, "-n "+c.server+" link set cable up") }

// dial opens a connection over the cable, whatever the address.
func (c *cable) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return netns.Do(c.client, func() (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", cableServer+":5432")
	})
}

// vanishLimit is how long a statement without a deadline may outlive its server. With pgx's
// own settings it is the kernel's limit, 15 minutes and more.
const vanishLimit = 75 * time.Second

// A server that vanishes without a word, as when its zone loses power, is noticed by
// statements that wait for it and by those that come later. When it is back the pool works
// again, and what was acknowledged is there.
func TestServerVanishes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute of waiting")
	}
	t.Parallel()
	c := newCable(t)
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: "vanished " + strings.ToLower(t.Name())})
	if err := az.Grant(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	netns.Relay(t, c.server, cableServer+":5432", fmt.Sprintf("127.0.0.1:%d", az.Port()))
	connector, err := driver.NewConnector(
		az.Database(t).DSN("aad_auth=managed-identity", "aad_client_id="+id.ClientID, "connect_timeout=5"),
		driver.WithTransport(az.Client()),
		driver.WithConnConfig(func(config *pgx.ConnConfig) { config.DialFunc = c.dial }),
	)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec("create table written (n int primary key)"); err != nil {
		t.Fatal(err)
	}

	waiting := newProbe(t, db, "select pg_sleep(600)")
	idle := newProbe(t, db, "select 1")
	writer := newProbe(t, db, "")
	acknowledged := 0
	write := func() error {
		_, err := writer.conn.ExecContext(context.Background(), "insert into written values ($1)", acknowledged)
		if err == nil {
			acknowledged++
		}
		return err
	}
	for range 100 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}

	var wg sync.WaitGroup
	wg.Go(func() { waiting.run("a statement that was waiting") })
	time.Sleep(200 * time.Millisecond) // until it is with the server
	c.cut()
	wg.Go(func() { idle.run("a statement that began after the cut") })
	wg.Go(func() {
		began := time.Now()
		for write() == nil {
		}
		writer.report("a write", began)
	})
	wg.Wait()

	c.plug()
	began := time.Now()
	for db.PingContext(t.Context()) != nil {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the pool does not work 20s after the server is back")
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("the pool works %s after the server is back", time.Since(began).Round(time.Millisecond))
	var found int
	if err := db.QueryRow("select count(*) from written where n < $1", acknowledged).Scan(&found); err != nil {
		t.Fatal(err)
	}
	t.Logf("writes acknowledged %d, lost %d", acknowledged, acknowledged-found)
	if found != acknowledged {
		t.Errorf("%d acknowledged writes are there, want %d", found, acknowledged)
	}
}

// A probe is a connection of the pool on which one statement runs.
type probe struct {
	t         *testing.T
	conn      *sql.Conn
	statement string
}

func newProbe(t *testing.T, db *sql.DB, statement string) *probe {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &probe{t, conn, statement}
}

// run runs the statement without a deadline. It must fail in time.
func (p *probe) run(name string) {
	began := time.Now()
	_, err := p.conn.ExecContext(context.Background(), p.statement)
	if err == nil {
		p.t.Errorf("%s succeeded without a server", name)
		return
	}
	p.report(name, began)
}

func (p *probe) report(name string, began time.Time) {
	took := time.Since(began)
	p.t.Logf("%s failed after %s", name, took.Round(time.Millisecond))
	if took > vanishLimit {
		p.t.Errorf("%s failed after %s, want at most %s", name, took, vanishLimit)
	}
}
