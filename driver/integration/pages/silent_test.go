package pages

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestSilentServer checks that the commands end, whatever a server leaves unanswered.
func TestSilentServer(t *testing.T) {
	a, admin := newAzure(t)
	env := append(os.Environ(), commandEnv(t, a, admin)...)
	bin, err := buildCommands()
	if err != nil {
		t.Fatal(err)
	}
	certificate, file := newCertificate(t)
	for _, row := range []struct {
		name   string
		silent int // what the server does not answer
	}{
		{"TLS request", 0},
		{"TLS handshake", 1},
		{"startup message", 2},
		{"password", 3},
		{"query", 4},
	} {
		port := listenSilently(t, certificate, row.silent)
		dsn := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=%s sslrootcert=%s aad_auth=azure-cli", port, admin.Name, file)
		for _, command := range []struct {
			name   string
			args   []string
			status int
		}{
			{"ping", []string{"ping", "-timeout", "300ms", dsn}, 1},
			{"doctor", []string{"doctor", "-timeout", "300ms", dsn}, 1},
			{"role", []string{"role", "user", "me@contoso.com", "-timeout", "300ms", "-apply", dsn}, 1},
			{"ping with connect_timeout", []string{"ping", "-timeout", "300ms", dsn + " connect_timeout=60"}, 1},
		} {
			t.Run(row.name+"/"+command.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var out bytes.Buffer
				cmd := exec.CommandContext(ctx, filepath.Join(bin, "aadpostgres"), command.args...)
				cmd.Env = env
				cmd.Stdout = &out
				cmd.Stderr = &out
				err := cmd.Run()
				if err != nil && !errors.As(err, new(*exec.ExitError)) {
					t.Fatal(err)
				}
				if row.silent == 4 && command.name != "role" {
					command.status = 0 // signed in; only what the role may do is not known
				}
				if got := cmd.ProcessState.ExitCode(); got != command.status {
					t.Errorf("exit status = %d, want %d:\n%s", got, command.status, &out)
				}
				if !strings.Contains(out.String(), "timeout") && !strings.Contains(out.String(), "cannot be read") && command.status != 0 {
					t.Errorf("output = %q, want timeout", &out)
				}
			})
		}
	}
}

// newCertificate returns a certificate for 127.0.0.1 and the file that holds it.
func newCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "silent.pem")
	err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// listenSilently returns the port of a server that answers the first n messages of a
// connect, and none after them.
func listenSilently(t *testing.T, certificate tls.Certificate, n int) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answered := answer(conn, certificate, n)
				if answered != nil {
					io.Copy(io.Discard, answered) // until the client gives up
				}
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// answer answers n messages. It returns the connection, or nil if it is lost.
func answer(conn net.Conn, certificate tls.Certificate, n int) net.Conn {
	if n == 0 {
		return conn
	}
	_, err := io.ReadFull(conn, make([]byte, 8)) // SSLRequest
	if err != nil {
		return nil
	}
	conn.Write([]byte("S"))
	if n == 1 {
		return conn
	}
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
	backend := pgproto3.NewBackend(secure, secure)
	_, err = backend.ReceiveStartupMessage()
	if err != nil || n == 2 {
		return secure
	}
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	backend.Flush()
	err = backend.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	if err != nil {
		return nil
	}
	_, err = backend.Receive()
	if err != nil || n == 3 {
		return secure
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	backend.Flush()
	return secure
}
