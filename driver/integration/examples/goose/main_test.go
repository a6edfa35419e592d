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

// The program, built and run as on a host with a managed identity.
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
		if !strings.Contains(string(out), step.want) || (err != nil) != step.fails || step.want == "" && len(out) > 0 {
			t.Errorf("%s: %v: %s\nwant %s", step.command, err, out, step.want)
		}
	}
	if c := az.Counts(); c.Refused != 0 || c.SignIns < 11 {
		t.Errorf("%+v", c)
	}
}
