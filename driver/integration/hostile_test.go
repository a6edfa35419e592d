package integration

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
)

// TestSessionIsNotBounded checks that the limits of a sign-in end with it. Rows, notices
// and copies of many megabytes pass in both directions, and more messages than a sign-in
// has. A limit that the program itself has set stays.
func TestSessionIsNotBounded(t *testing.T) {
	_, dsn := newIdentity(t, "unbounded")
	for _, tt := range []struct {
		name  string
		limit int // MaxProtocolMessageBodyLen; 0: pgx's default, none
	}{{"default", 0}, {"limited by the program", 32 << 20}} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := driver.NewConnector(dsn, driver.WithConnConfig(func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = tt.limit }))
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(c)
			defer db.Close()
			db.SetMaxOpenConns(1)
			const size = 24 << 20
			want, got := strings.Repeat("x", size), ""
			if err := db.QueryRow("select $1::text || ''", want).Scan(&got); err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("a row of %d bytes, want %d", len(got), len(want))
			}
			if _, err := db.Exec(fmt.Sprintf("do $$ begin raise notice '%%', repeat('x', %d); end $$", size)); err != nil {
				t.Errorf("a notice: %v", err)
			}
			for range 100 {
				if err := db.Ping(); err != nil {
					t.Fatal(err)
				}
			}
			err = db.QueryRow("select repeat('x', 64 << 20)").Scan(&got)
			if tt.limit > 0 {
				checkError(t, err, "invalid body length: expected at most 33554432")
				return
			}
			if err != nil {
				t.Error(err)
			}
			if len(got) != 64<<20 {
				t.Errorf("a row of %d bytes, want %d", len(got), 64<<20)
			}
		})
	}
	t.Run("copy", func(t *testing.T) {
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
			if n != 3000 {
				t.Errorf("rows copied = %d, want 3000", n)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// newManInTheMiddle starts a relay to the emulator's gateway. It answers the SSLRequest
// with what reply returns for the gateway's answer. received stops the relay and returns
// all that the client sent after the SSLRequest.
func newManInTheMiddle(t *testing.T, reply func(answer []byte) []byte) (port int, received func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg  sync.WaitGroup
		buf syncBuffer
	)
	relay := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", az.Port()))
		if err != nil {
			return
		}
		defer server.Close()
		request := make([]byte, 8)
		if _, err := io.ReadFull(client, request); err != nil {
			return
		}
		server.Write(request)
		answer := make([]byte, 1)
		if _, err := io.ReadFull(server, answer); err != nil {
			return
		}
		client.Write(reply(answer))
		wg.Go(func() {
			io.Copy(client, server)
			client.Close()
		})
		io.Copy(io.MultiWriter(&buf, server), client)
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
	stop := sync.OnceFunc(func() {
		ln.Close()
		wg.Wait()
	})
	t.Cleanup(stop)
	return ln.Addr().(*net.TCPAddr).Port, func() string {
		stop()
		return buf.String()
	}
}

// TestManInTheMiddle checks that an attacker who cannot break TLS can neither read
// anything nor inject messages before the handshake.
func TestManInTheMiddle(t *testing.T) {
	id, dsn := newIdentity(t, "intercepted")
	const passwordRequest = "R\x00\x00\x00\x08\x00\x00\x00\x03"
	const errorResponse = "E\x00\x00\x00\x1dSFATAL\x00C28P01\x00Mforged\x00\x00"
	for _, tt := range []struct {
		name, reply, want string // reply "" is the gateway's; want "" is success
	}{
		{"relays only", "", ""},
		{"injects a password request", "S" + passwordRequest, "tls: first record does not look like a TLS handshake"},
		{"injects an error", "S" + errorResponse, "tls: first record does not look like a TLS handshake"},
		{"injects a TLS record", "S\x17\x03\x03\x00\x09" + passwordRequest, "tls: "},
		{"injects a handshake record", "S\x16\x03\x03\x00\x04\x00\x00\x00\x00", "tls: "},
		{"injects an alert", "S\x15\x03\x03\x00\x02\x01\x00", "EOF"},
		{"refuses TLS", "N", "server refused TLS connection"},
		{"requests a password", passwordRequest, "server refused TLS connection"},
		{"sends an error", errorResponse, "server refused TLS connection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port, received := newManInTheMiddle(t, func(answer []byte) []byte {
				if tt.reply == "" {
					return answer
				}
				return []byte(tt.reply)
			})
			c, err := driver.NewConnector(regexp.MustCompile(`port=\d+`).ReplaceAllString(dsn, fmt.Sprintf("port=%d connect_timeout=5", port)))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := c.Connect(t.Context())
			if conn != nil {
				conn.Close()
			}
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else {
				asError(t, err)
				checkError(t, err, tt.want)
				if strings.Contains(err.Error(), "forged") {
					t.Errorf("error = %v, want none with the attacker's text", err)
				}
			}
			if got := received(); strings.Contains(got, "eyJ") || strings.Contains(got, id.Name) {
				t.Errorf("the attacker read %q, want neither token nor name", got)
			}
		})
	}
}
