package driver

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A file that is far too long for a token is not read.
func TestHugeTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<30)); err != nil { // a hole: it takes no room
		t.Fatal(err)
	}
	for _, auth := range []string{"aad_auth=access-token aad_token_file=", "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file="} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := ping(t, "host=127.0.0.1 port=1 user=u "+auth+file)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "is not a regular file of at most 1 MiB") || after.TotalAlloc-before.TotalAlloc > 10<<20 {
			t.Errorf("%s: %v, after %d bytes", auth, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}
