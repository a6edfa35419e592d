package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	ourModule     = "github.com/aadpostgres/aadpostgres"
	throughModule = ourModule + "/driver/integration/cmd/suites/through"
)

//go:embed through/through.go through/container.go
var throughFiles embed.FS

// errDownload is wrapped by the error for a suite that cannot be downloaded.
var errDownload = errors.New("cannot be downloaded")

// prepare copies a suite to a new folder and patches it. It returns the folder of the
// suite's module.
func (l *lab) prepare(ctx context.Context, s suite) (dir string, err error) {
	work := filepath.Join(l.dir, s.name)
	dir = filepath.Join(work, "0")
	if s.repo != "" {
		if err := clone(ctx, s, dir); err != nil {
			return "", err
		}
		dir = filepath.Join(dir, filepath.FromSlash(s.folder))
	} else if err := download(ctx, s.module+"@"+s.version, dir); err != nil {
		return "", err
	}
	replace := map[string]string{ourModule: l.root, throughModule: filepath.Join(work, "through")}
	for i, m := range s.also {
		path, _, _ := strings.Cut(m, "@")
		replace[path] = filepath.Join(work, fmt.Sprint(i+1))
		if err := download(ctx, m, replace[path]); err != nil {
			return "", err
		}
	}
	if err := writeThrough(replace[throughModule]); err != nil {
		return "", err
	}
	for _, e := range s.edits {
		if err := e.apply(dir); err != nil {
			return "", err
		}
	}
	for _, f := range s.files {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.content), 0o644); err != nil {
			return "", err
		}
	}
	args := []string{"mod", "edit", "-go=1.26.0", "-toolchain=none", "-require=" + ourModule + "@v0.1.0", "-require=" + throughModule + "@v0.0.0"}
	for path, to := range replace {
		args = append(args, "-replace="+path+"="+to)
	}
	for _, path := range s.drop {
		args = append(args, "-droprequire="+path)
	}
	_, err = l.goCommand(ctx, dir, args...)
	return dir, err
}

// download copies a module from the module proxy.
func download(ctx context.Context, module, to string) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false")
	cmd.Dir = os.TempDir() // in no module
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &m); jsonErr != nil {
		return errors.Join(err, jsonErr)
	}
	if m.Dir == "" {
		return fmt.Errorf("%w: %s", errDownload, firstLine(m.Error))
	}
	if err := os.CopyFS(to, os.DirFS(m.Dir)); err != nil {
		return err
	}
	return makeWritable(to) // the module cache is read-only
}

func makeWritable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

func clone(ctx context.Context, s suite, to string) error {
	cmd := exec.CommandContext(ctx, "git", "-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1", "--branch", s.version, s.repo, to)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: git clone: %s", errDownload, lastLine(string(out)))
	}
	return nil
}

// writeThrough makes a module of package through, so that its requirements are those of
// the root module and not those of this one.
func writeThrough(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	gomod := "module " + throughModule + "\n\ngo 1.26.0\n\nrequire " + ourModule + " v0.1.0\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(gomod), 0o644); err != nil {
		return err
	}
	for _, name := range []string{"through/through.go", "through/container.go"} {
		b, err := throughFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

var packageClause = regexp.MustCompile(`(?m)^package \w+.*$`)

// apply edits the files of a module in dir.
func (e edit) apply(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(e.files)))
	if err != nil {
		return err
	}
	old, err := regexp.Compile(e.old)
	if err != nil {
		return err
	}
	found := false
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text := string(b)
		if !old.MatchString(text) {
			continue
		}
		found = true
		if err := os.WriteFile(name, []byte(e.replace(text, old)), 0o644); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s does not contain %q any more; correct the edit", e.files, e.old)
	}
	return nil
}

func (e edit) replace(text string, old *regexp.Regexp) string {
	text = old.ReplaceAllString(text, e.new)
	if e.keepUse != "" {
		text += "\nvar _ = " + e.keepUse + "\n"
	}
	if strings.Contains(e.new, "through.") && !strings.Contains(text, `"`+throughModule+`"`) {
		at := packageClause.FindStringIndex(text)[1]
		text = text[:at] + "\n\nimport \"" + throughModule + "\"\n" + text[at:]
	}
	return text
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}
