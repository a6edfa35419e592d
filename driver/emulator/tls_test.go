package emulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A client may begin with TLS, as with PostgreSQL 17.
func TestDirectTLS(t *testing.T) {
	az := emulator.Start(t)
	ctx := t.Context()
	connect := func(params ...string) (*pgx.Conn, error) {
		config, err := pgx.ParseConfig(az.DSN(append(params, "user=app", "sslmode=verify-full", "sslnegotiation=direct")...))
		if err != nil {
			t.Fatal(err)
		}
		config.Password = az.Token(az.Identity("app"), nil)
		return pgx.ConnectConfig(ctx, config)
	}
	t.Run("signs in and cancels", func(t *testing.T) {
		conn, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if got := queryString(t, conn, "select session_user"); got != "app" {
			t.Errorf("session_user = %q, want app", got)
		}
		timeout, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := conn.Exec(timeout, "select pg_sleep(30)"); err == nil {
			t.Error("the query ended, want it canceled")
		}
	})
	t.Run("refused", func(t *testing.T) {
		az.Faults.RefuseTLS(true)
		defer az.Faults.RefuseTLS(false)
		if conn, err := connect(); err == nil {
			conn.Close(ctx)
			t.Error("connected, want an error")
		}
	})
	t.Run("wrong certificate", func(t *testing.T) {
		az.Faults.Certificate(emulator.WrongHostCertificate)
		defer az.Faults.Certificate(emulator.ValidCertificate)
		conn, err := connect()
		if err == nil {
			conn.Close(ctx)
		}
		if want := "certificate"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("connect = %v, want %q in it", err, want)
		}
	})
}

// dialTLS begins a connection to the gateway with TLS.
func dialTLS(t *testing.T, az *emulator.Azure, serverName string, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	pem, err := os.ReadFile(az.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	raw, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", az.Port()), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: serverName, NextProtos: protocols})
	return conn, conn.Handshake()
}

// A connection that begins with TLS must name PostgreSQL's protocol.
func TestDirectTLSRequiresALPN(t *testing.T) {
	az := emulator.Start(t)
	for _, tt := range []struct {
		name      string
		protocols []string
	}{
		{"no protocol", nil},
		{"another protocol", []string{"http/1.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := dialTLS(t, az, "localhost", tt.protocols...)
			if err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
			if err == nil {
				t.Error("the gateway answers, want it to hang up")
			}
		})
	}
	t.Run("TLS inside TLS", func(t *testing.T) {
		conn, err := dialTLS(t, az, "localhost", "postgresql")
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
		answer, _ := io.ReadAll(conn)
		if len(answer) == 0 || answer[0] != 'E' {
			t.Errorf("the gateway answers %q, want an error", answer)
		}
	})
}

// The certificate is valid for the servers of every cloud, and those of Azure Cosmos DB may
// have names with more than one label.
func TestCertificateNames(t *testing.T) {
	az := emulator.Start(t)
	for _, tt := range []struct {
		name    string
		isValid bool
	}{
		{"localhost", true},
		{"app.postgres.database.azure.com", true},
		{"app.postgres.database.usgovcloudapi.net", true},
		{"c-x.postgres.cosmos.azure.com", true},
		{"c-x.123.postgres.cosmos.azure.com", true},
		{"C-X.abc123.Postgres.Cosmos.Azure.com", true},
		{"w1.c-x.123.postgres.cosmos.azure.com", true},
		{"app.privatelink.postgres.database.azure.com", false}, // nor is Azure's
		{"c-x.123.postgres.cosmos.azure.com.evil.example", false},
		{"example.com", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dialTLS(t, az, tt.name, "postgresql")
			if isValid := err == nil; isValid != tt.isValid {
				t.Errorf("handshake = %v, want a valid certificate: %t", err, tt.isValid)
			}
		})
	}
	az.Faults.Certificate(emulator.ExpiredCertificate)
	if _, err := dialTLS(t, az, "c-x.123.postgres.cosmos.azure.com", "postgresql"); err == nil {
		t.Error("the handshake succeeded, want the fault's certificate")
	}
}
