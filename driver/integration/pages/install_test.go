package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// newProxy packs the modules as a module proxy serves them, and returns the proxy's URL.
// All modules have the version that they require of each other.
func newProxy(t *testing.T) string {
	t.Helper()
	const path = "github.com/aadpostgres/aadpostgres"
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^\s` + path + ` (v\S+)`).FindSubmatch(mod)
	if version == nil {
		t.Fatalf("go.mod lacks %s", path)
	}
	proxy := t.TempDir()
	for _, name := range []string{"", "/driver/emulator", "/driver/migrate"} {
		m := module.Version{Path: path + name, Version: string(version[1])}
		from, to := filepath.Join(root, filepath.FromSlash(name)), filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
		mod, err := os.ReadFile(filepath.Join(from, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(mod, []byte("\nreplace ")) {
			t.Errorf("%s: go.mod has a replace directive, so go install with a version fails", m.Path)
		}
		var packed bytes.Buffer
		if err := zip.CreateFromDir(&packed, m, from); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, b := range map[string][]byte{
			"list":              []byte(m.Version + "\n"),
			m.Version + ".info": fmt.Appendf(nil, `{"Version":%q}`, m.Version),
			m.Version + ".mod":  mod,
			m.Version + ".zip":  packed.Bytes(),
		} {
			if err := os.WriteFile(filepath.Join(to, file), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return fileURL(proxy)
}

// fileURL returns the URL of a directory.
func fileURL(dir string) string {
	if dir = filepath.ToSlash(dir); runtime.GOOS == "windows" {
		dir = "/" + dir
	}
	return "file://" + dir
}

// TestInstall runs the commands of the pages that need neither a checkout nor a workspace,
// with an empty module cache. They download the modules as they are published. Then it
// runs the README's program.
func TestInstall(t *testing.T) {
	need.Program(t, "bash")
	e := newPageEnv(t)
	var known struct{ GOCACHE, GOMODCACHE, GOPROXY string }
	if out, err := exec.Command("go", "env", "-json").Output(); err != nil || json.Unmarshal(out, &known) != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	env := append(e.env, "GOWORK=off", "HOME="+home, "GOMODCACHE="+filepath.Join(home, "mod"), "GOBIN="+filepath.Join(home, "bin"),
		"GOPROXY="+newProxy(t)+","+fileURL(filepath.Join(known.GOMODCACHE, "cache", "download"))+","+known.GOPROXY,
		"GOSUMDB=off",                                   // go.sum has verified what is in that cache
		"GOCACHE="+known.GOCACHE, "GOFLAGS=-modcacherw") // so that t.TempDir can remove it
	dir := t.TempDir()
	run := func(command string) string {
		t.Helper()
		began := time.Now()
		cmd := exec.Command("bash", "-euc", command)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		t.Logf("%-70s %4.1f s", command, time.Since(began).Seconds())
		return string(out)
	}
	run("go mod init example.com/program")
	ran := map[string]bool{}
	for _, b := range blocks(t) {
		if b.lang != "sh" {
			continue
		}
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			if releasedCommand.MatchString(line) && !ran[line] {
				ran[line] = true
				run(line)
			}
		}
	}
	if len(ran) < 5 {
		t.Errorf("commands = %d, want at least 5", len(ran))
	}
	for _, b := range blocks(t) {
		if b.page != "README.md" || !strings.HasPrefix(b.text, "package main") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(e.rewrite(b.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run("go run ."); !strings.HasSuffix(out, " signed in as app\n") {
			t.Errorf("output of %v = %q, want that app is signed in", b, out)
		}
	}
	for _, use := range []struct{ command, want string }{
		{"aadpostgres ping", `sign-in  as "app"`},
		{"emulate -- go run .", "signed in as app"},
		{"aadpostgres-migrate -path '" + filepath.Join(e.dir, "migrations") + "' up", "1/u fruit"},
	} {
		if out := run(`"$GOBIN"/` + use.command); !strings.Contains(out, use.want) {
			t.Errorf("output of %s = %q, want %q", use.command, out, use.want)
		}
	}
}

// releasedCommand matches the commands that need no checkout.
var releasedCommand = regexp.MustCompile(`^go (get|install|run) github\.com/aadpostgres/\S+( -demo)?$`)
