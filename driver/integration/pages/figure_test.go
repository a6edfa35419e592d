package pages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources tell of each figure in the README's text what measures it: a test or a
// benchmark, or who documents it.
var figureSources = map[string]string{
	"24 hours":          "https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/managed-identity-best-practice-recommendations",
	"2,047 characters":  "TestTokenLength",
	"fifth of a second": "BenchmarkStart",
}

// Every figure that the README quotes is measured by what is named here, or stands in
// a table that a command writes.
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
			t.Errorf("README.md quotes %q; say in sources what measures it", f)
		}
	}
	for f, source := range figureSources {
		if !quoted[f] {
			t.Errorf("README.md does not quote %q", f)
		}
		if strings.HasPrefix(source, "https://") {
			continue
		}
		cmd := exec.Command("grep", "-rqE", "--include=*_test.go", "^func "+source+`\(`, "driver")
		cmd.Dir = root
		if err := cmd.Run(); err != nil {
			t.Errorf("%q is measured by %s, which is not there", f, source)
		}
	}
}
