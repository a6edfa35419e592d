//go:build unix

package driver

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file that is none, or has no end, wherever a DSN or the environment names one: an
// error of one line, at once.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, sparse, closed := filepath.Join(dir, "fifo"), filepath.Join(dir, "sparse"), filepath.Join(dir, "closed")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{sparse, closed} {
		if err := os.WriteFile(path, []byte("eyJ"+marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		closed = filepath.Join(closed, "beneath") // for root can read the other
	}
	const app = "host=h user=u aad_token_timeout=1s aad_disable_instance_discovery=true "
	application := map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
	for _, way := range []struct {
		name, dsn string
		env       string // the variable that names the file
	}{
		{"token", "host=h user=u aad_auth=access-token aad_token_file={file}", ""},
		{"certificate", app + "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate={file}", ""},
		{"certificate by environment", app + "aad_auth=environment", "AZURE_CLIENT_CERTIFICATE_PATH"},
		{"certificate by default", app + "aad_auth=default", "AZURE_CLIENT_CERTIFICATE_PATH"},
		{"federated", app + "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file={file}", ""},
		{"federated by environment", app + "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c", "AZURE_FEDERATED_TOKEN_FILE"},
	} {
		for path, want := range map[string]string{
			dir: "is not a regular file of at most 1 MiB", fifo: "is not a regular file of at most 1 MiB", sparse: "is not a regular file of at most 1 MiB",
			"/dev/zero": "is not a regular file of at most 1 MiB", closed: "", filepath.Join(dir, "none"): "",
		} {
			t.Run(way.name+" "+filepath.Base(path), func(t *testing.T) {
				clean(t)
				for _, name := range []string{"AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"} {
					t.Setenv(name, "")
					os.Unsetenv(name)
				}
				for name, v := range application {
					t.Setenv(name, v)
				}
				if way.env != "" {
					t.Setenv(way.env, path)
				}
				t.Setenv("PATH", "")
				imds := roundTrip(absentService)
				var err error
				allocated, took := cost(func() {
					var c *Connector
					if c, err = NewConnector(strings.ReplaceAll(way.dsn, "{file}", path), WithTransport(&imds)); err == nil {
						_, err = ask(c.tokens, t.Context())
					}
				})
				oneHarmlessLine(t, err, want)
				if allocated > 8<<20 || took > 2*time.Second {
					t.Errorf("it took %d KiB and %s", allocated>>10, took)
				}
			})
		}
	}
}

// A token's file that others may read, or replace, is warned of once, in the log and
// by the doctor. It works all the same: Kubernetes mounts secrets so.
func TestExposedTokenFile(t *testing.T) {
	clean(t)
	for mode, warned := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o440: false, 0o640: false, 0o750: false,
		0o644: true, 0o604: true, 0o602: true, 0o601: true, 0o620: true, 0o660: true, 0o666: true, 0o777: true} {
		for _, link := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, link), func(t *testing.T) {
				s := newFakeServer(t, nil)
				path := filepath.Join(t.TempDir(), "token")
				if err := os.WriteFile(path, []byte(jwt(map[string]any{"oid": "o"})), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				if link { // as Kubernetes does
					if err := os.Symlink(path, path+".link"); err != nil {
						t.Fatal(err)
					}
					path += ".link"
				}
				log := &record{}
				dsn := s.dsn("sslrootcert=" + s.certFile + " aad_auth=access-token aad_token_file=" + path)
				c, err := NewConnector(dsn, WithLogger(slog.New(slog.NewTextHandler(log, nil))))
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					conn, err := c.Connect(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					conn.Close()
				}
				want := 0
				if warned {
					want = 1
				}
				if n := strings.Count(log.String(), `level=WARN msg="others may read or replace the token's file" file=`+path+" mode=-"); n != want || strings.Contains(log.String(), marker) {
					t.Errorf("logged %q", log)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the server answers no query
				defer cancel()
				for check := range Diagnose(ctx, dsn) {
					if check.Name != "token" {
						continue
					}
					if warned && (check.Status != StatusWarn || !strings.HasPrefix(check.Hint, "chmod 600 "+path+": its mode is -")) || !warned && (check.Status != StatusOK || check.Hint != "") {
						t.Errorf("the doctor says %+v", check)
					}
					break
				}
			})
		}
	}
}
