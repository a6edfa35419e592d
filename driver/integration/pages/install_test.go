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
)

// release packs the modules as a module proxy has them, all in the version that they
// require of each other, and returns the proxy's URL.
func newProxy(t *testing.T) string {
	t.Helper()
	const path = "github.com/aadpostgres/aadpostgres"
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^\s` + path + ` (v\S+)`).FindSubmatch(mod)
	if version == nil {
		t.Fatal("go.mod does not require " + path)
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
			t.Errorf("%s: a module that replaces another cannot be installed by its version", m.Path)
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

// folder is a folder's URL.
func fileURL(dir string) string {
	if dir = filepath.ToSlash(dir); runtime.GOOS == "windows" {
		dir = "/" + dir
	}
	return "file://" + dir
}

// A stranger has Go, no checkout and no workspace: the commands that pages print get
// and install the modules from where they are published, and README's program runs.
func TestInstall(t *testing.T) {
	e := newPageEnv(t)
	var known struct{ GOCACHE, GOMODCACHE, GOPROXY string }
	if out, err := exec.Command("go", "env", "-json").Output(); err != nil || json.Unmarshal(out, &known) != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	env := append(e.env, "GOWORK=off", "HOME="+home, "GOMODCACHE="+filepath.Join(home, "mod"), "GOBIN="+filepath.Join(home, "bin"),
		"GOPROXY="+newProxy(t)+","+fileURL(filepath.Join(known.GOMODCACHE, "cache", "download"))+","+known.GOPROXY,
		"GOSUMDB=off",                                   // the checksums were looked at on the way into that cache
		"GOCACHE="+known.GOCACHE, "GOFLAGS=-modcacherw") // so that it can be removed
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
			if line = strings.TrimSpace(line); releasedCommand.MatchString(line) && !ran[line] {
				ran[line] = true
				run(line)
			}
		}
	}
	if len(ran) < 5 {
		t.Errorf("%d commands: the pattern is off", len(ran))
	}
	for _, b := range blocks(t) {
		if b.page != "README.md" || !strings.HasPrefix(b.text, "package main") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(e.rewrite(b.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run("go run ."); !strings.HasSuffix(out, " signed in as app\n") {
			t.Errorf("%v prints %s", b, out)
		}
	}
	for _, use := range []struct{ command, says string }{
		{"aadpostgres ping", `sign-in  as "app"`},
		{"emulate -- go run .", "signed in as app"},
		{"aadpostgres-migrate -path '" + filepath.Join(e.dir, "migrations") + "' up", "1/u fruit"},
	} {
		if out := run(`"$GOBIN"/` + use.command); !strings.Contains(out, use.says) {
			t.Errorf("%s prints %s", use.command, out)
		}
	}
}

// released are the commands that need no checkout.
var releasedCommand = regexp.MustCompile(`^go (get|install|run) github\.com/aadpostgres/\S+( -demo)?$`)
