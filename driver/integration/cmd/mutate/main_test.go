package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants checks that the text of each mutant occurs once, and that its test exists.
// The command checks that the test fails; that takes minutes.
func TestMutants(t *testing.T) {
	const root = "../../../.."
	for _, m := range mutants {
		t.Run(m.String(), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(text), m.old); got != 1 {
				t.Errorf("the text occurs %d times, want 1", got)
			}
			tests := readTests(t, filepath.Join(root, filepath.Dir(m.file)))
			for name := range strings.SplitSeq(m.run, "|") {
				name, _, _ = strings.Cut(name, "/")
				if !strings.Contains(tests, "func "+name+"(t *testing.T)") {
					t.Errorf("%s does not exist", name)
				}
			}
		})
	}
}

// readTests returns the text of a directory's test files.
func readTests(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}

func TestAnchor(t *testing.T) {
	for _, tt := range []struct{ name, run, want string }{
		{"test", "TestA", "^TestA$"},
		{"tests", "TestA|TestB", "^TestA$|^TestB$"},
		{"subtest", "TestA/the_row.*", "^TestA$/^the_row.*$"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := anchor(tt.run); got != tt.want {
				t.Errorf("anchor(%q) = %q, want %q", tt.run, got, tt.want)
			}
		})
	}
}
