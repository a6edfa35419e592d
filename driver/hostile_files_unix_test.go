//go:build unix

package driver

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A path that a DSN or the environment names, and that is not a regular file of reasonable
// size, causes an error of one line at once.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(dir, "sparse")
	writeFile(t, sparse, "eyJ"+entratest.Marker)
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	unreadable := filepath.Join(dir, "unreadable")
	writeFile(t, unreadable, "eyJ"+entratest.Marker)
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		unreadable = filepath.Join(unreadable, "beneath") // root can read the file
	}
	const (
		app        = "host=h user=u aad_token_timeout=1s aad_disable_instance_discovery=true "
		notRegular = "is not a regular file of at most 1 MiB"
	)
	for _, tt := range []struct {
		name, dsn string // {file} is the path
		env       string // the variable that is the path
	}{
		{"token", "host=h user=u aad_auth=access-token aad_token_file={file}", ""},
		{"certificate", app + "aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate={file}", ""},
		{"certificate, environment", app + "aad_auth=environment", "AZURE_CLIENT_CERTIFICATE_PATH"},
		{"certificate, default", app + "aad_auth=default", "AZURE_CLIENT_CERTIFICATE_PATH"},
		{"federated token", app + "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file={file}", ""},
		{"federated token, environment", app + "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c", "AZURE_FEDERATED_TOKEN_FILE"},
	} {
		for _, file := range []struct {
			name, path string
			want       string // in the error
		}{
			{"folder", dir, notRegular},
			{"pipe", fifo, notRegular},
			{"sparse file", sparse, notRegular},
			{"device", "/dev/zero", notRegular},
			{"unreadable file", unreadable, ""},
			{"no file", filepath.Join(dir, "none"), ""},
		} {
			t.Run(tt.name+", "+file.name, func(t *testing.T) {
				entratest.CleanEnv(t)
				for _, name := range []string{"AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"} {
					t.Setenv(name, "")
					os.Unsetenv(name)
				}
				t.Setenv("AZURE_TENANT_ID", "t")
				t.Setenv("AZURE_CLIENT_ID", "c")
				if tt.env != "" {
					t.Setenv(tt.env, file.path)
				}
				t.Setenv("PATH", "") // no developer tools
				unreachable := WithTransport(&transport{func(*http.Request) (*http.Response, error) {
					return nil, errors.New("no route to host")
				}})
				var err error
				cost := measure(func() {
					var c *Connector
					c, err = NewConnector(strings.ReplaceAll(tt.dsn, "{file}", file.path), unreachable)
					if err == nil {
						_, err = tokenOf(t.Context(), c)
					}
				})
				checkSafeError(t, err, file.want)
				cost.check(t, 8<<20, 2*time.Second)
			})
		}
	}
}
