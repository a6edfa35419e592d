package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The text that each mutant removes occurs once in its file, and the tests that must kill
// it exist. Whether they kill it, the command reports: that takes minutes.
func TestMutants(t *testing.T) {
	const root = "../../../.."
	for _, m := range mutants {
		t.Run(m.String(), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(text), m.old); got != 1 {
				t.Errorf("the text to remove occurs %d times, want 1", got)
			}
			dir, run := m.killers()
			sources := testSources(t, filepath.Join(root, filepath.FromSlash(dir)))
			for name := range strings.SplitSeq(run, "|") {
				name, _, _ = strings.Cut(name, "/")
				if !strings.Contains(sources, "func "+name+"(t *testing.T)") {
					t.Errorf("%s has no test %s, want one", dir, name)
				}
			}
		})
	}
}

// No mutant is listed twice.
func TestMutantsDiffer(t *testing.T) {
	seen := map[mutant]bool{}
	for _, m := range mutants {
		key := mutant{file: m.file, old: m.old, new: m.new}
		if seen[key] {
			t.Errorf("%s is listed twice, want once", m)
		}
		seen[key] = true
	}
}

// testSources returns the text of the test files in a folder.
func testSources(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(b)
	}
	return sources.String()
}
