package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// What bounds a server until it has signed us in bounds no session: rows, notices and
// copies of many megabytes go both ways, and more messages than a sign-in takes.
func TestSessionIsNotBounded(t *testing.T) {
	_, dsn := newIdentity(t, "unbounded")
	for name, most := range map[string]int{"as PostgreSQL has it": 0, "as the program has it": 32 << 20} {
		c, err := driver.NewConnector(dsn, driver.WithConnConfig(func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = most }))
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(c)
		db.SetMaxOpenConns(1)
		const size = 24 << 20
		big, got := strings.Repeat("x", size), ""
		if err := db.QueryRow("select $1::text || ''", big).Scan(&got); err != nil || got != big {
			t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
		}
		if _, err := db.Exec(fmt.Sprintf("do $$ begin raise notice '%%', repeat('x', %d); end $$", size)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 100 {
			if err := db.Ping(); err != nil {
				t.Fatal(err)
			}
		}
		err = db.QueryRow("select repeat('x', 64 << 20)").Scan(&got)
		if bounded := err != nil && strings.Contains(err.Error(), "invalid body length: expected at most 33554432"); bounded != (most > 0) || !bounded && len(got) != 64<<20 {
			t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
		}
		db.Close()
	}
	conn, err := openDB(t, dsn).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		if _, err := c.Exec(t.Context(), "create temp table copied (v text)"); err != nil {
			return err
		}
		rows := make([][]any, 3000)
		for i := range rows {
			rows[i] = []any{strings.Repeat("y", 4096)}
		}
		n, err := c.CopyFrom(t.Context(), pgx.Identifier{"copied"}, []string{"v"}, pgx.CopyFromRows(rows))
		if err == nil && n != 3000 {
			err = fmt.Errorf("%d rows were copied", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// meddler stands between the client and the emulator's gateway. It answers the request
// for TLS with first, and keeps what it hears.
func newManInTheMiddle(t *testing.T, first func(answer []byte) []byte) (port int, heard func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all strings.Builder
	)
	relay := func(client net.Conn) error {
		defer client.Close()
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", az.Port()))
		if err != nil {
			return err
		}
		defer server.Close()
		hello := make([]byte, 8)
		if _, err := io.ReadFull(client, hello); err != nil {
			return err
		}
		server.Write(hello)
		answer := make([]byte, 1)
		if _, err := io.ReadFull(server, answer); err != nil {
			return err
		}
		client.Write(first(answer))
		wg.Go(func() { io.Copy(client, server); client.Close() })
		b := make([]byte, 32<<10)
		for {
			n, err := client.Read(b)
			mu.Lock()
			all.Write(b[:n])
			mu.Unlock()
			if err != nil {
				return err
			}
			if _, err := server.Write(b[:n]); err != nil {
				return err
			}
		}
	}
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(conn) })
		}
	})
	stop := sync.OnceFunc(func() { ln.Close(); wg.Wait() })
	t.Cleanup(stop)
	return ln.Addr().(*net.TCPAddr).Port, func() string { stop(); mu.Lock(); defer mu.Unlock(); return all.String() }
}

// Who stands in the way and cannot break TLS cannot slip words in before it, either.
// Left alone he hears nothing.
func TestMeddler(t *testing.T) {
	id, dsn := newIdentity(t, "meddled with")
	const forged = "R\x00\x00\x00\x08\x00\x00\x00\x03"
	for name, tt := range map[string]struct{ first, want string }{
		"stays out of it":              {"", ""},
		"stuffs a request in":          {"S" + forged, "tls: first record does not look like a TLS handshake"},
		"stuffs an error in":           {"SE\x00\x00\x00\x1dSFATAL\x00C28P01\x00Mforged\x00\x00", "tls: first record does not look like a TLS handshake"},
		"stuffs a record in":           {"S\x17\x03\x03\x00\x09" + forged, "tls: "},
		"stuffs a handshake record in": {"S\x16\x03\x03\x00\x04\x00\x00\x00\x00", "tls: "},
		"stuffs an alert in":           {"S\x15\x03\x03\x00\x02\x01\x00", "EOF"},
		"says there is no TLS":         {"N", "server refused TLS connection"},
		"asks for a password":          {forged, "server refused TLS connection"},
		"forges an error":              {"E\x00\x00\x00\x1dSFATAL\x00C28P01\x00Mforged\x00\x00", "server refused TLS connection"},
	} {
		t.Run(name, func(t *testing.T) {
			port, heard := newManInTheMiddle(t, func(answer []byte) []byte {
				if tt.first == "" {
					return answer
				}
				return []byte(tt.first)
			})
			c, err := driver.NewConnector(regexp.MustCompile(`port=\d+`).ReplaceAllString(dsn, fmt.Sprintf("port=%d connect_timeout=5", port)))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := c.Connect(t.Context())
			if conn != nil {
				conn.Close()
			}
			var e *driver.Error
			if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "forged") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if said := heard(); strings.Contains(said, "eyJ") || strings.Contains(said, id.Name) {
				t.Errorf("he heard %q", said)
			}
		})
	}
}

// Before the emulator's Entra stands one who sends the request for a token elsewhere.
// The secret does not go there, with any mode that has one.
func TestAuthorityThatRedirects(t *testing.T) {
	id, _ := newIdentity(t, "redirected")
	var (
		mu    sync.Mutex
		heard strings.Builder
		asked int
	)
	transport := az.Client().Transport
	client := &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "elsewhere.example" {
			dump, _ := httputil.DumpRequest(r, true)
			mu.Lock()
			heard.Write(dump)
			mu.Unlock()
		}
		resp, err := transport.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "/token") {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			mu.Lock()
			asked++
			mu.Unlock()
			resp.StatusCode, resp.Header, resp.Body = http.StatusTemporaryRedirect, http.Header{"Location": {"https://elsewhere.example/token"}}, http.NoBody
		}
		return resp, err
	})}
	for _, on := range []struct {
		host emulator.Host
		mode string
	}{{emulator.Kubernetes, "workload-identity"}, {emulator.Pipelines, "azure-pipelines"}} {
		t.Run(on.mode, func(t *testing.T) {
			az.SetenvOn(t, on.host, id)
			_, err := requestCredentials(az.DSN("user='"+id.Name+"'", "aad_auth="+on.mode), client)
			checkNotRedirected(t, err)
		})
	}
	t.Run("client-secret", func(t *testing.T) {
		_, err := requestCredentials(az.DSN("user='"+id.Name+"'", "aad_auth=client-secret", "aad_disable_instance_discovery=true", "aad_authority_host="+az.Authority(),
			"aad_tenant_id="+emulator.TenantID, "aad_client_id="+id.ClientID, "aad_client_secret='"+id.Secret+"'"), client)
		checkNotRedirected(t, err)
	})
	if asked != 3 || heard.String() != "" {
		t.Errorf("asked %d times, heard elsewhere: %s", asked, heard.String())
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func requestCredentials(dsn string, client *http.Client) (driver.Credentials, error) {
	c, err := driver.NewConnector(dsn, driver.WithTransport(client))
	if err != nil {
		return driver.Credentials{}, err
	}
	defer c.Close()
	return c.Credentials(context.Background())
}

func checkNotRedirected(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "redirects to https://elsewhere.example, which is not followed with a secret") {
		t.Errorf("got %v", err)
	}
}
