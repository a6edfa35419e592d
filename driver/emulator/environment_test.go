package emulator_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// libpq's variables do not affect the gateway's own connections, and TMPDIR may contain
// spaces and quotes.
func TestEnvironment(t *testing.T) {
	dir, err := os.MkdirTemp("", "it's a folder ")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the server's user
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Setenv("PGREQUIREAUTH", "password")
	az := emulator.Start(t)
	before := az.Counts().SignIns
	mustConnectAs(t, az, "app", az.Token(az.Identity("app"), nil))
	if n := az.Counts().SignIns - before; n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// If the server ends during its start, New returns its message at once and leaves nothing.
func TestServerEndsDuringStart(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("the programs of this test are shell scripts")
	}
	bin, err := os.MkdirTemp("", "bin-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil { // for the server's user
		t.Fatal(err)
	}
	const script = "#!/bin/sh\ncase $0 in */postgres) echo FATAL: no memory >&2; exit 1;; esac\n"
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	before := goleak.IgnoreCurrent()
	start := time.Now()
	_, err = emulator.New(context.Background())
	if err == nil || !strings.Contains(err.Error(), "FATAL: no memory") {
		t.Errorf("New() = %v, want the server's message in it", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("New() took %v, want at most 5s", d)
	}
	goleak.VerifyNone(t, before)
}
