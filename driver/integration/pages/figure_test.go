package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// figureSources has a source for each figure in the README's text: the test or benchmark
// that measures it, or the URL of its documentation.
var figureSources = map[string]string{
	"2,047 characters":  "TestTokenLength",
	"fifth of a second": "BenchmarkStart",
}

// TestFiguresHaveSource checks that each figure in the README has a source, except those in
// tables that a command writes.
func TestFiguresHaveSource(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)<!-- .*?<!-- end -->|```.*?```").ReplaceAllString(string(b), "")
	figure := regexp.MustCompile(`\b[\d.,]+ ?(?:ns|µs|ms|s|%|[KM]iB|seconds?|minutes?|hours?|characters|requests?|(?:of|from) [\d,]+)\b|\b(?:half|third|fifth|tenth) of an? \w+`)
	quoted := map[string]bool{}
	for _, f := range figure.FindAllString(text, -1) {
		quoted[f] = true
		if figureSources[f] == "" {
			t.Errorf("README.md has the figure %q without a source; add it to figureSources", f)
		}
	}
	for f, source := range figureSources {
		if !quoted[f] {
			t.Errorf("README.md lacks the figure %q; remove it from figureSources", f)
		}
		if strings.HasPrefix(source, "https://") {
			continue
		}
		if !testExists(t, source) {
			t.Errorf("the source of %q, %s, does not exist", f, source)
		}
	}
}
