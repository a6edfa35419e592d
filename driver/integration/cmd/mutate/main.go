// Command mutate takes the driver's guards away, one at a time, and tells whether a
// test of the root module notices:
//
//	go run ./driver/integration/cmd/mutate
//	go run ./driver/integration/cmd/mutate tls.go redirect
//
// Words choose the mutants whose line has one of them. The tree is not touched: a
// mutant is handed to the compiler as an overlay. It ends with status 1 if a mutant
// survives, and if the text to take away is no longer there.
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

// A mutant is a guard less.
type mutant struct {
	file     string // of the root module, its package's folder in front
	old, new string // old is there once
	run      string // the test that must fail, as go test -run has it
}

// What becomes of a mutant.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "ERROR"
)

func main() {
	log.SetFlags(0)
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aadpostgres/aadpostgres").Output()
	if err != nil {
		log.Fatal("where is the root module? ", err)
	}
	root := strings.TrimSpace(string(out))
	chosen := selectMutants(mutants, os.Args[1:])
	if err := checkUnmutated(root, chosen); err != nil {
		log.Fatal(err)
	}
	if n := runAll(root, chosen); n > 0 {
		os.Exit(1)
	}
}

func selectMutants(all []mutant, words []string) (chosen []mutant) {
	for _, m := range all {
		if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(m.String(), w) }) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// String is a line of the report.
func (m mutant) String() string {
	line := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return fmt.Sprintf("%s: %.70s -> %.40s", m.file, line(m.old), line(m.new))
}

// sound runs the tests without a mutant: they must pass, or they kill anything.
func checkUnmutated(root string, all []mutant) error {
	tests := map[string][]string{}
	for _, m := range all {
		if dir := filepath.Dir(m.file); !slices.Contains(tests[dir], m.run) {
			tests[dir] = append(tests[dir], m.run)
		}
	}
	for dir, names := range tests {
		if out, err := test(root, dir, strings.Join(names, "|"), ""); err != nil {
			return fmt.Errorf("without a mutant: %w: %s", err, out)
		}
	}
	return nil
}

// report tries all, two at a time for each processor would only wait, and counts those
// that were not killed.
func runAll(root string, all []mutant) (alive int) {
	began := time.Now()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seat = make(chan bool, runtime.NumCPU())
	)
	for _, m := range all {
		seat <- true
		wg.Go(func() {
			defer func() { <-seat }()
			began := time.Now()
			fate, why := run(root, m)
			mu.Lock()
			defer mu.Unlock()
			if fate != killed {
				alive++
			}
			fmt.Printf("%-8s %5.1fs  %s  %s%s\n", fate, time.Since(began).Seconds(), m, m.run, why)
		})
	}
	wg.Wait()
	fmt.Printf("%d mutants, %d killed, in %s\n", len(all), len(all)-alive, time.Since(began).Round(time.Second))
	return alive
}

func run(root string, m mutant) (fate, why string) {
	path := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(path)
	if err != nil {
		return broken, ": " + err.Error()
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return broken, fmt.Sprintf(": its text is there %d times", n)
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return broken, ": " + err.Error()
	}
	defer os.RemoveAll(dir)
	changed, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	err = errors.Join(err, os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600), os.WriteFile(overlay, list, 0o600))
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

// test runs tests of one package, with an overlay unless that is "".
func test(root, dir, run, overlay string) (string, error) {
	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=60s", "-run", anchor(run), "-overlay", overlay, "./"+filepath.ToSlash(dir))
	if overlay == "" {
		cmd.Args = slices.DeleteFunc(cmd.Args, func(a string) bool { return a == "-overlay" || a == "" })
	}
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		err = errors.New("there is no such test")
	}
	return string(out), err
}

// anchored makes names of tests, with | between them and of subtests after a slash, the
// whole names.
func anchor(run string) string {
	names := strings.Split(run, "|")
	for i, name := range names {
		test, sub, ok := strings.Cut(name, "/")
		if names[i] = "^" + test + "$"; ok {
			names[i] += "/^" + sub + "$"
		}
	}
	return strings.Join(names, "|")
}
