// Command mutate removes the driver's guards, one at a time, and reports whether a test of
// the root module fails:
//
//	go run ./driver/integration/cmd/mutate
//	go run ./driver/integration/cmd/mutate tls.go redirect
//
// Arguments select the mutants whose line contains one of them. Files are not changed: the
// compiler gets a mutant as an overlay. The exit status is 1 if a mutant survives, or if
// the text to replace no longer exists.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A mutant replaces a guard.
type mutant struct {
	file     string // path in the root module
	old, new string // old must occur once
	run      string // the test that must fail, in the form of go test -run
}

// The results of a mutant.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "ERROR"
)

func main() {
	log.SetFlags(0)
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aadpostgres/aadpostgres").Output()
	if err != nil {
		log.Fatalf("root module not found: %v; run mutate in the workspace", err)
	}
	root := strings.TrimSpace(string(out))
	selected := selectMutants(mutants, os.Args[1:])
	if err := checkUnmutated(root, selected); err != nil {
		log.Fatal(err)
	}
	if n := runAll(root, selected); n > 0 {
		os.Exit(1)
	}
}

// selectMutants returns the mutants whose line contains one of the words, or all without
// words.
func selectMutants(all []mutant, words []string) (selected []mutant) {
	if len(words) == 0 {
		return all
	}
	for _, m := range all {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(m.String(), w) }) {
			selected = append(selected, m)
		}
	}
	return selected
}

// String returns the mutant's line in the report.
func (m mutant) String() string {
	line := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return fmt.Sprintf("%s: %.70s -> %.40s", m.file, line(m.old), line(m.new))
}

// checkUnmutated runs the tests without a mutant. They must pass: a test that fails anyway
// would kill every mutant.
func checkUnmutated(root string, all []mutant) error {
	tests := map[string][]string{}
	for _, m := range all {
		if dir := filepath.Dir(m.file); !slices.Contains(tests[dir], m.run) {
			tests[dir] = append(tests[dir], m.run)
		}
	}
	for dir, names := range tests {
		out, err := test(root, dir, strings.Join(names, "|"), "")
		if err != nil {
			return fmt.Errorf("tests fail without a mutant: %w: %s", err, out)
		}
	}
	return nil
}

// runAll runs all mutants, one per processor at a time. It prints the results and returns
// the number of those that were not killed.
func runAll(root string, all []mutant) (notKilled int) {
	began := time.Now()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		slots = make(chan bool, runtime.NumCPU())
	)
	for _, m := range all {
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			result, reason := run(root, m)
			mu.Lock()
			defer mu.Unlock()
			if result != killed {
				notKilled++
			}
			fmt.Printf("%-8s %5.1fs  %s  %s%s\n", result, time.Since(began).Seconds(), m, m.run, reason)
		})
	}
	wg.Wait()
	fmt.Printf("%d mutants, %d killed, in %s\n", len(all), len(all)-notKilled, time.Since(began).Round(time.Second))
	return notKilled
}

// run runs the mutant's test and returns the result, with a reason if it is broken.
func run(root string, m mutant) (result, reason string) {
	path := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(path)
	if err != nil {
		return broken, ": " + err.Error()
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return broken, fmt.Sprintf(": its text occurs %d times, want 1", n)
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return broken, ": " + err.Error()
	}
	defer os.RemoveAll(dir)
	changed := filepath.Join(dir, "mutant.go")
	overlay := filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	err = errors.Join(err,
		os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600),
		os.WriteFile(overlay, list, 0o600))
	if err != nil {
		return broken, ": " + err.Error()
	}
	out, err := test(root, filepath.Dir(m.file), m.run, overlay)
	switch {
	case err == nil:
		return survived, ""
	case strings.Contains(out, "--- FAIL") || strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: "):
		return killed, ""
	}
	return broken, ": " + strings.TrimSpace(out) // it does not compile
}

// test runs tests of one package. overlay is the path of an overlay file, or "".
func test(root, dir, run, overlay string) (string, error) {
	args := []string{"test", "-vet=off", "-count=1", "-failfast", "-timeout=60s", "-run", anchor(run)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./"+filepath.ToSlash(dir))...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		err = fmt.Errorf("no test matches %q", run)
	}
	return string(out), err
}

// anchor makes a -run pattern match whole names of tests only. The names are separated by
// "|", and a name may have a subtest after a slash.
func anchor(run string) string {
	names := strings.Split(run, "|")
	for i, name := range names {
		test, sub, hasSub := strings.Cut(name, "/")
		names[i] = "^" + test + "$"
		if hasSub {
			names[i] += "/^" + sub + "$"
		}
	}
	return strings.Join(names, "|")
}
