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
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A token file that others may read or replace causes one warning in the log, and one by
// Diagnose. The token is used all the same, for Kubernetes mounts secrets with such modes.
func TestExposedTokenFile(t *testing.T) {
	for _, tt := range []struct {
		mode   fs.FileMode
		warned bool
	}{
		{0o600, false}, {0o400, false}, {0o440, false}, {0o640, false}, {0o750, false},
		{0o644, true}, {0o604, true}, {0o602, true}, {0o601, true}, {0o620, true}, {0o660, true}, {0o666, true}, {0o777, true},
	} {
		for _, link := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, symbolic link %t", tt.mode, link), func(t *testing.T) {
				entratest.CleanEnv(t)
				s := newFakeServer(t, nil)
				path := filepath.Join(t.TempDir(), "token")
				writeFile(t, path, entratest.JWT(map[string]any{"oid": "o"}))
				if err := os.Chmod(path, tt.mode); err != nil {
					t.Fatal(err)
				}
				if link { // as Kubernetes mounts it
					if err := os.Symlink(path, path+".link"); err != nil {
						t.Fatal(err)
					}
					path += ".link"
				}
				log := &syncBuffer{}
				dsn := s.trustedDSN("aad_auth=access-token aad_token_file=" + path)
				c := newConnector(t, dsn, WithLogger(slog.New(slog.NewTextHandler(log, nil))))
				for range 3 {
					conn, err := c.Connect(t.Context())
					if err != nil {
						t.Fatalf("Connect() = %v, want no error", err)
					}
					conn.Close()
				}
				wantWarnings := 0
				wantStatus := StatusOK
				wantHint := ""
				if tt.warned {
					wantWarnings = 1
					wantStatus = StatusWarn
					wantHint = "run chmod g-w,o-rwx " + path + ", or set defaultMode of the volume in Kubernetes: with its mode -"
				}
				warning := `level=WARN msg="others may read or replace the token file" file=` + path + " mode=-"
				if got := strings.Count(log.String(), warning); got != wantWarnings {
					t.Errorf("log = %s, want %q in it %d times", log, warning, wantWarnings)
				}
				checkNoSecret(t, "log", log.String())

				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the server answers no query
				defer cancel()
				for check := range Diagnose(ctx, dsn) {
					if check.Name != "token" {
						continue
					}
					if check.Status != wantStatus {
						t.Errorf("token: Status = %q, want %q", check.Status, wantStatus)
					}
					if !strings.HasPrefix(check.Hint, wantHint) {
						t.Errorf("token: Hint = %q, want it to begin with %q", check.Hint, wantHint)
					}
					if !tt.warned && check.Hint != "" {
						t.Errorf("token: Hint = %q, want none", check.Hint)
					}
					return
				}
				t.Error("Diagnose() yields no check of the token, want one")
			})
		}
	}
}
