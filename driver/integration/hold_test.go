package integration

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// A slowCredential returns a token that is the password of role direct, after a delay.
type slowCredential struct {
	delay time.Duration
	calls atomic.Int64
}

const directToken = "the-token-of-role-direct"

func (c *slowCredential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.calls.Add(1)
	select {
	case <-time.After(c.delay):
		return azcore.AccessToken{Token: directToken, ExpiresOn: time.Now().Add(time.Hour)}, nil
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
}

// newDirectPostgres starts a PostgreSQL server with TLS of its own, as no gateway is before
// it, ten connections and an authentication_timeout of two seconds. Role direct signs in
// with directToken as a cleartext password. It returns the port and the root certificate.
func newDirectPostgres(t *testing.T) (port, rootCert string) {
	p := newPostgres(t, emulator.Start(t))
	ca := newTestCA(t)
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		t.Fatal(err)
	}
	hba, err := os.ReadFile(filepath.Join(p.data, "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := ca.sign(t, time.Now().Add(time.Hour)).Certificate[0]
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{"server.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})},
		{"server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
		{"pg_hba.conf", append([]byte("hostssl all direct all password\n"), hba...)},
	} {
		cmd := exec.Command(need.Shell(t), "-c", `umask 077 && cat > "$1"`, "sh", filepath.Join(p.data, f.name))
		cmd.Stdin = strings.NewReader(string(f.content))
		if err := runAsOwner(cmd, p.data); err != nil {
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("writing %s: %v: %s", f.name, err, out)
		}
	}
	p.exec("create role direct login password '" + directToken + "'")
	p.exec("alter system set ssl = on")
	p.exec("alter system set authentication_timeout = '2s'")
	p.opts = strings.Replace(p.opts, "max_connections=500", "max_connections=10", 1)
	p.restart()
	config, err := pgx.ParseConfig(p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(config.Port), ca.file
}

// recordDials appends the address of each dial.
func recordDials(dialed *[]string) driver.Option {
	var mu sync.Mutex
	return driver.WithConnConfig(func(c *pgx.ConnConfig) {
		dial := c.DialFunc
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			*dialed = append(*dialed, addr)
			mu.Unlock()
			return dial(ctx, network, addr)
		}
	})
}

// TestTokenLaterThanTheServerWaits checks that a token that takes longer than the server's
// authentication_timeout, or than connect_timeout, signs in at the first host with one
// request.
func TestTokenLaterThanTheServerWaits(t *testing.T) {
	port, rootCert := newDirectPostgres(t)
	other := newProxy(t, "127.0.0.1:"+port, nil)
	_, otherPort, _ := net.SplitHostPort(other.addr)
	hosts := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%s,%s user=direct dbname=postgres sslrootcert=%s ", port, otherPort, rootCert)
	for _, tt := range []struct {
		name, params string
		token        time.Duration
	}{
		{name: "authentication_timeout", token: 4 * time.Second},
		{name: "connect_timeout", params: "connect_timeout=1", token: 1500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cred := &slowCredential{delay: tt.token}
			var dialed []string
			c, err := driver.NewConnector(hosts+tt.params, driver.WithCredential(cred), recordDials(&dialed))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conn, err := c.Connect(t.Context())
			if err != nil {
				t.Fatalf("Connect() = %v, want no error", err)
			}
			defer conn.Close()
			if _, err := conn.(*stdlib.Conn).Conn().Exec(t.Context(), "select 1"); err != nil {
				t.Errorf("select 1 = %v, want no error", err)
			}
			if got := cred.calls.Load(); got != 1 {
				t.Errorf("token requests = %d, want 1", got)
			}
			for _, addr := range dialed {
				if want := "127.0.0.1:" + port; addr != want {
					t.Errorf("dialed %s, want the first host %s only", addr, want)
				}
			}
		})
	}
}

// TestWaitingCallersLeaveTheServerFree checks that 150 callers that wait for a token leave
// a server of ten connections free for others.
func TestWaitingCallersLeaveTheServerFree(t *testing.T) {
	port, rootCert := newDirectPostgres(t)
	dsn := fmt.Sprintf("host=127.0.0.1 port=%s user=direct dbname=postgres sslrootcert=%s ", port, rootCert)
	c, err := driver.NewConnector(dsn, driver.WithCredential(&slowCredential{delay: 6 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 150 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			if _, err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Connect() = %v, want %v", err, context.DeadlineExceeded)
			}
		})
	}
	others, err := driver.NewConnector(dsn + "aad_auth=password password=" + directToken)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ctx.Err() == nil; n++ {
		var conns []io.Closer
		for range 5 { // of the seven that are not reserved for a superuser
			conn, err := others.Connect(t.Context())
			if err != nil {
				t.Fatalf("Connect() of another client = %v, want no error (round %d)", err, n)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.Close()
		}
		time.Sleep(200 * time.Millisecond) // the server notices
	}
	wg.Wait()
}

// TestPromptComesBeforeTheDial checks that no server is dialed before a person is asked to
// sign in: the sign-in may take minutes.
func TestPromptComesBeforeTheDial(t *testing.T) {
	for _, auth := range []string{"device-code", "environment,device-code"} {
		t.Run(auth, func(t *testing.T) {
			id := az.Add(emulator.Identity{Name: newGUID()[:8] + "@contoso.com", Kind: emulator.User})
			if err := az.Grant(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			az.SetenvOn(t, emulator.VirtualMachine, id)
			az.Login(id)
			t.Cleanup(az.Logout)
			var dialed []string
			prompts := 0
			prompt := driver.WithDeviceCodePrompt(func(context.Context, azidentity.DeviceCodeMessage) error {
				prompts++
				time.Sleep(300 * time.Millisecond) // a dial beside it would be over
				if len(dialed) != 0 {
					t.Errorf("dialed before the prompt: %q, want nothing", dialed)
				}
				return nil
			})
			dsn := az.DSN("aad_auth="+auth, "aad_tenant_id="+emulator.TenantID)
			c, err := driver.NewConnector(dsn, append(newTestTransport().opts, prompt, recordDials(&dialed))...)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conn, err := c.Connect(t.Context())
			if err != nil {
				t.Fatalf("Connect() = %v, want no error", err)
			}
			conn.Close()
			if prompts != 1 {
				t.Errorf("prompts = %d, want 1", prompts)
			}
		})
	}
}
