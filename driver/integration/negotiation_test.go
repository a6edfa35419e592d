package integration

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A middlebox stands before the gateway and sees how each connection begins.
type middlebox struct {
	port       string
	onDirect   func(net.Conn) // what it does with a connection that begins with TLS; nil: it lets it through
	direct     atomic.Int64   // connections that began with TLS
	negotiated atomic.Int64   // connections that began with an SSLRequest
}

// What a middlebox does that does not know direct TLS.
var (
	closes   = func(net.Conn) {}
	isSilent = func(conn net.Conn) { io.Copy(io.Discard, conn) }
)

func newMiddlebox(tb testing.TB, onDirect func(net.Conn)) *middlebox {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	m := &middlebox{port: port, onDirect: onDirect}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				m.serve(conn)
			})
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return m
}

func (m *middlebox) serve(conn net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	if first[0] == 0 {
		m.negotiated.Add(1)
	} else {
		m.direct.Add(1)
		if m.onDirect != nil {
			m.onDirect(conn)
			return
		}
	}
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", az.Port()))
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := server.Write(first); err != nil {
		return
	}
	go func() {
		defer conn.Close()
		io.Copy(conn, server)
	}()
	io.Copy(server, conn)
}

// count returns how many connections began in each way since the last call.
func (m *middlebox) count() (direct, negotiated int64) {
	return m.direct.Swap(0), m.negotiated.Swap(0)
}

// claims18 makes an older server say that it is PostgreSQL 18, which the emulator's gateway
// is as far as TLS goes.
func claims18() driver.Option {
	return driver.WithConnConfig(func(config *pgx.ConnConfig) {
		build := config.BuildFrontend
		config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { return build(&claim{r}, w) }
	})
}

type claim struct{ io.Reader }

func (c *claim) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	const key = "server_version\x00"
	if i := bytes.Index(b[:n], []byte(key)); i >= 0 && i+len(key)+2 <= n {
		copy(b[i+len(key):], "18")
	}
	return n, err
}

// newAutoConnector returns a connector of sslnegotiation=auto through m, in a mode of each
// kind.
func newAutoConnector(tb testing.TB, m *middlebox, id emulator.Identity, params ...string) *driver.Connector {
	tb.Helper()
	c, err := driver.NewConnector(az.DSN(append([]string{"port=" + m.port, "sslnegotiation=auto", "user='" + id.Name + "'"}, params...)...), claims18())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// TestAuto connects with sslnegotiation=auto in each way that there is to connect.
func TestAuto(t *testing.T) {
	id, _ := newIdentity(t, "auto")
	managed := []string{"aad_auth=managed-identity", "aad_client_id=" + id.ClientID}
	token := []string{"aad_auth=access-token", "password=" + az.Token(id, nil)}
	password := []string{"aad_auth=password", "password=" + az.Token(id, nil), "sslmode=verify-full"}
	bySQL := func(t *testing.T, c *driver.Connector) func() error {
		db := sql.OpenDB(c)
		t.Cleanup(func() { db.Close() })
		db.SetMaxIdleConns(-1)
		return func() error { return db.PingContext(t.Context()) }
	}
	byPool := func(t *testing.T, c *driver.Connector) func() error {
		return func() error {
			config, err := pgxpool.ParseConfig("")
			if err != nil {
				return err
			}
			config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				return err
			}
			defer pool.Close()
			return pool.Ping(t.Context())
		}
	}
	ways := []struct {
		name    string
		params  []string
		connect func(*testing.T, *driver.Connector) func() error
	}{
		{"database/sql", managed, bySQL},
		{"access-token", token, bySQL},
		{"password", password, bySQL},
		{"pgxpool", managed, byPool},
		{"pgxpool, password", password, byPool},
		{"unverified", append([]string{"aad_insecure=unverified", "sslmode=require"}, managed...), bySQL},
	}
	boxes := []struct {
		name     string
		onDirect func(net.Conn)
		most     time.Duration // that the connect that falls back may take longer
		want     int64         // connections of four that begin with TLS
	}{
		{"accepts", nil, 0, 3},
		{"closes", closes, 0, 1},
		{"silent", isSilent, time.Second, 1},
	}
	for _, way := range ways {
		for _, box := range boxes {
			t.Run(way.name+", "+box.name, func(t *testing.T) {
				m := newMiddlebox(t, box.onDirect)
				connect := way.connect(t, newAutoConnector(t, m, id, way.params...))
				for i := range 4 {
					began := time.Now()
					if err := connect(); err != nil {
						t.Fatalf("connect %d = %v", i, err)
					}
					took := time.Since(began)
					t.Logf("connect %d took %v", i, took)
					if i == 1 && took < box.most {
						t.Errorf("connect %d took %v, want that it waits %v for the middlebox", i, took, box.most)
					}
					if i > 1 && took >= time.Second {
						t.Errorf("connect %d took %v, want less than a second", i, took)
					}
				}
				direct, negotiated := m.count()
				if direct != box.want {
					t.Errorf("connections that began with TLS = %d, want %d", direct, box.want)
				}
				if want := 4 - box.want; box.onDirect == nil && negotiated != want {
					t.Errorf("connections that negotiated = %d, want %d", negotiated, want)
				}
			})
		}
	}
}

// TestAutoCancel cancels a query on a connection that began with TLS, by another one.
func TestAutoCancel(t *testing.T) {
	id, _ := newIdentity(t, "auto cancel")
	m := newMiddlebox(t, nil)
	db := sql.OpenDB(newAutoConnector(t, m, id, "aad_auth=managed-identity", "aad_client_id="+id.ClientID))
	defer db.Close()
	db.SetMaxIdleConns(-1)
	for range 2 {
		if err := db.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	m.count()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		pg := c.(*stdlib.Conn).Conn().PgConn()
		time.AfterFunc(200*time.Millisecond, func() { pg.CancelRequest(context.Background()) })
		_, err := pg.Exec(t.Context(), "select pg_sleep(30)").ReadAll()
		return err
	})
	checkError(t, err, "57014")
	if direct, negotiated := m.count(); direct != 2 || negotiated != 0 {
		t.Errorf("connections that began with TLS = %d, and negotiated %d; want 2 and 0", direct, negotiated)
	}
}

// TestAutoHosts has several hosts, each of which is known by itself.
func TestAutoHosts(t *testing.T) {
	id, _ := newIdentity(t, "auto hosts")
	down := "1" // nothing listens there
	m := newMiddlebox(t, nil)
	c := newAutoConnector(t, m, id, "host=127.0.0.1,localhost", "port="+down+","+m.port, "aad_auth=managed-identity", "aad_client_id="+id.ClientID)
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxIdleConns(-1)
	for range 4 {
		if err := db.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	if direct, negotiated := m.count(); direct != 3 || negotiated != 1 {
		t.Errorf("connections that began with TLS = %d, and negotiated %d; want 3 and 1", direct, negotiated)
	}
}

// TestAutoSettings takes auto from each place where a setting may stand, and keeps it from
// pgx and the server.
func TestAutoSettings(t *testing.T) {
	t.Setenv("PGSSLNEGOTIATION", "auto")
	c, err := driver.NewConnector("host=h user=u aad_auth=managed-identity")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	config := c.Config()
	if got, want := config.SSLNegotiation, "postgres"; got != want {
		t.Errorf("SSLNegotiation = %q, want %q", got, want)
	}
	if got, want := strings.Join(config.TLSConfig.NextProtos, ","), "postgresql"; got != want {
		t.Errorf("NextProtos = %q, want %q", got, want)
	}
	if got, ok := config.RuntimeParams["sslnegotiation"]; ok {
		t.Errorf("the server is sent sslnegotiation=%q, want nothing", got)
	}
}

// TestDiagnoseDirectTLS says whether the server would accept direct TLS.
func TestDiagnoseDirectTLS(t *testing.T) {
	id, _ := newIdentity(t, "diagnose direct")
	rows := []struct {
		name     string
		onDirect func(net.Conn)
		params   string
		opts     []driver.Option
		want     string // "" for no check
	}{
		{"accepts", nil, "", []driver.Option{claims18()}, "accepted, with sslnegotiation=auto each connection after the first would save a round trip of "},
		{"auto", nil, "sslnegotiation=auto", []driver.Option{claims18()}, "accepted, each connection after the first saves a round trip of "},
		{"direct", nil, "sslnegotiation=direct", []driver.Option{claims18()}, "in use"},
		{"closes", closes, "", []driver.Option{claims18()}, "not accepted, connections negotiate TLS: "},
		{"silent", isSilent, "", []driver.Option{claims18()}, "not accepted, connections negotiate TLS: context deadline exceeded"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := newMiddlebox(t, row.onDirect)
			got := ""
			dsn := az.DSN("port="+m.port, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, row.params)
			for check := range driver.Diagnose(t.Context(), dsn, row.opts...) {
				if check.Err != nil {
					t.Fatal(check.Err)
				}
				if check.Name == "direct-tls" {
					got = check.Found
				}
			}
			if !strings.HasPrefix(got, row.want) {
				t.Errorf("direct-tls = %q, want %q", got, row.want)
			}
		})
	}
}

// BenchmarkDirect compares a warm connect by sslnegotiation=auto with pgx's, which
// negotiates, for several round trip times of the server.
func BenchmarkDirect(b *testing.B) {
	for _, rtt := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		b.Run(rtt.String(), func(b *testing.B) {
			_, pgxs := newDBs(b, "bench direct")
			id, _ := newIdentity(b, "bench direct")
			c, err := driver.NewConnector(az.DSN("sslnegotiation=auto", "aad_auth=managed-identity", "aad_client_id="+id.ClientID), claims18())
			if err != nil {
				b.Fatal(err)
			}
			ours := sql.OpenDB(c)
			defer ours.Close()
			ours.SetMaxIdleConns(-1)
			pgxs.SetMaxIdleConns(-1)
			timeConnect(b, ours) // sees the server
			timeConnect(b, ours)
			az.Faults.RoundTrip(rtt)
			defer az.Faults.RoundTrip(0)
			compare(b, "ours/pgx", func() { timeConnect(b, ours) }, func() { timeConnect(b, pgxs) })
			b.ReportMetric(0, "ns/op")
		})
	}
}
