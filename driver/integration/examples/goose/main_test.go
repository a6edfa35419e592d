package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestGoose builds the program and runs it as on a host with a managed identity. The steps
// depend on each other.
func TestGoose(t *testing.T) {
	program := filepath.Join(t.TempDir(), "goose")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	az := emulator.Start(t)
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		t.Fatal(err)
	}
	dsn := az.Database(t).DSN("aad_auth=managed-identity")
	for _, step := range []struct {
		command, want string
		fails         bool
	}{
		{"version", "0\n", false},
		{"status", "pending  00001_author.sql\npending  00002_author_name.sql\n", false},
		{"up", "OK    up 00002_author_name.sql", false},
		{"up", "", false},
		{"status", "applied  00001_author.sql\napplied  00002_author_name.sql\n", false},
		{"down", "OK    down 00002_author_name.sql", false},
		{"version", "1\n", false},
		{"up", "OK    up 00002_author_name.sql", false},
		{"down", "OK    down 00002_author_name.sql", false},
		{"down", "OK    down 00001_author.sql", false},
		{"down", "goose: nothing to undo\n", true},
		{"sideways", "goose: usage", true},
	} {
		cmd := exec.Command(program, step.command)
		cmd.Env = append(append(os.Environ(), env...), "DATABASE_URL="+dsn)
		out, err := cmd.CombinedOutput()
		if (err != nil) != step.fails {
			t.Errorf("%s: error = %v, want one: %t", step.command, err, step.fails)
		}
		if !strings.Contains(string(out), step.want) {
			t.Errorf("%s: output = %q, want %q", step.command, out, step.want)
		}
		if step.want == "" && len(out) > 0 {
			t.Errorf("%s: output = %q, want none", step.command, out)
		}
	}
	counts := az.Counts()
	if counts.Refused != 0 {
		t.Errorf("refused sign-ins = %d, want 0", counts.Refused)
	}
	if counts.SignIns < 11 {
		t.Errorf("sign-ins = %d, want at least 11", counts.SignIns)
	}
}
