package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a mutant takes away is there, once, and the test that must notice is too. Whether
// it does is for the command to tell, which takes minutes.
func TestMutants(t *testing.T) {
	const root = "../../../.."
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
		if n := strings.Count(string(text), m.old); err != nil || n != 1 {
			t.Errorf("%s: its text is there %d times, %v", m, n, err)
		}
		tests, err := filepath.Glob(filepath.Join(root, filepath.Dir(m.file), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(m.run, "|") {
			name, _, _ = strings.Cut(name, "/")
			found := false
			for _, file := range tests {
				b, err := os.ReadFile(file)
				found = found || err == nil && strings.Contains(string(b), "func "+name+"(t *testing.T)")
			}
			if !found {
				t.Errorf("%s: there is no %s", m, name)
			}
		}
	}
}
