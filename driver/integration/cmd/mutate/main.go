// Command mutate removes the driver's guards, one at a time, and reports whether a test
// of the root module fails for each:
//
//	go run ./driver/integration/cmd/mutate
//	go run ./driver/integration/cmd/mutate policy.go redirect
//
// Arguments select the mutants whose line in the report contains one of them. The sources
// are not changed: the compiler reads a mutant from an overlay. The exit status is 1 if a
// mutant survives, or if the text to remove is not in its file.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A mutant is a file of the root module with one guard removed.
type mutant struct {
	file     string // slash-separated, relative to the module's root
	old, new string // old occurs once in the file

	// tests are those of which one must fail. They are written as go test -run has them,
	// after "folder: " if they are not in the package of the file.
	tests string
}

// killers returns the folder of the tests that must kill m, and their names.
func (m mutant) killers() (dir, run string) {
	dir, run, found := strings.Cut(m.tests, ": ")
	if !found {
		return path.Dir(m.file), m.tests
	}
	return dir, run
}

// String returns a line of the report.
func (m mutant) String() string {
	line := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return fmt.Sprintf("%s: %.70s -> %.40s", m.file, line(m.old), line(m.new))
}

// An outcome is what became of a mutant.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	failed   outcome = "ERROR" // it does not compile, or the text to remove is not in its file
)

func main() {
	log.SetFlags(0)
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aadpostgres/aadpostgres").Output()
	if err != nil {
		log.Fatalf("root module not found: %v; run mutate in the workspace", err)
	}
	root := strings.TrimSpace(string(out))
	selected := selectMutants(mutants, os.Args[1:])
	if err := checkTests(root, selected); err != nil {
		log.Fatal(err)
	}
	if alive := run(root, selected); alive > 0 {
		os.Exit(1)
	}
}

// selectMutants returns the mutants whose line contains one of words, or all if there are
// no words.
func selectMutants(all []mutant, words []string) []mutant {
	if len(words) == 0 {
		return all
	}
	var selected []mutant
	for _, m := range all {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(m.String(), word) }) {
			selected = append(selected, m)
		}
	}
	return selected
}

// checkTests runs the tests without a mutant. A test that fails anyway would kill every
// mutant.
func checkTests(root string, selected []mutant) error {
	names := map[string][]string{}
	for _, m := range selected {
		dir, run := m.killers()
		if !slices.Contains(names[dir], run) {
			names[dir] = append(names[dir], run)
		}
	}
	for dir, runs := range names {
		out, err := test(root, dir, strings.Join(runs, "|"), "")
		if err != nil {
			return fmt.Errorf("tests fail without a mutant: %w: %s", err, out)
		}
	}
	return nil
}

// run tests each mutant, one for each processor at a time. It returns how many were not
// killed.
func run(root string, selected []mutant) (alive int) {
	began := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards alive and the output
	slots := make(chan struct{}, runtime.NumCPU())
	for _, m := range selected {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			result, details := tryMutant(root, m)
			mu.Lock()
			defer mu.Unlock()
			if result != killed {
				alive++
			}
			fmt.Printf("%-8s %5.1fs  %s  %s%s\n", result, time.Since(began).Seconds(), m, m.tests, details)
		})
	}
	wg.Wait()
	fmt.Printf("%d mutants, %d killed, in %s\n", len(selected), len(selected)-alive, time.Since(began).Round(time.Second))
	return alive
}

// tryMutant runs the tests that must kill m. The details are of an error, or "".
func tryMutant(root string, m mutant) (result outcome, details string) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return failed, ": " + err.Error()
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return failed, fmt.Sprintf(": the text to remove occurs %d times", n)
	}
	temp, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return failed, ": " + err.Error()
	}
	defer os.RemoveAll(temp)
	changed := strings.Replace(string(text), m.old, m.new, 1)
	dir, run := m.killers()
	var out string
	if dir == "." {
		out, err = testCopy(root, temp, m.file, changed, run)
	} else {
		out, err = testOverlay(root, temp, m.file, changed, dir, run)
	}
	if err == nil {
		return survived, ""
	}
	for _, mark := range []string{"--- FAIL", "panic: ", "fatal error: "} {
		if strings.Contains(out, mark) {
			return killed, ""
		}
	}
	return failed, fmt.Sprintf(": %v: %s", err, strings.TrimSpace(out))
}

// testOverlay runs tests with another text of a file.
func testOverlay(root, temp, file, text, dir, run string) (string, error) {
	changed := filepath.Join(temp, "mutant.go")
	overlay := filepath.Join(temp, "overlay.json")
	original := filepath.Join(root, filepath.FromSlash(file))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	err = errors.Join(os.WriteFile(changed, []byte(text), 0o600), os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return "", err
	}
	return test(root, dir, run, overlay)
}

// testCopy is testOverlay for the tests of the root folder: these read the sources
// themselves, so they are given a copy of the module.
func testCopy(root, temp, file, text, run string) (string, error) {
	if err := os.CopyFS(temp, visible{os.DirFS(root)}); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(temp, filepath.FromSlash(file)), []byte(text), 0o600); err != nil {
		return "", err
	}
	return test(temp, ".", run, "")
}

// test runs tests of one package, with an overlay unless that is "".
func test(root, dir, run, overlay string) (string, error) {
	args := []string{"test", "-vet=off", "-count=1", "-failfast", "-timeout=60s", "-run", anchor(run)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./"+dir)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		err = errors.New("there is no such test")
	}
	return string(out), err
}

// anchor makes each of the names in run match whole names only, those of subtests too.
func anchor(run string) string {
	names := strings.Split(run, "|")
	for i, name := range names {
		test, subtest, found := strings.Cut(name, "/")
		names[i] = "^" + test + "$"
		if found {
			names[i] += "/^" + subtest + "$"
		}
	}
	return strings.Join(names, "|")
}
