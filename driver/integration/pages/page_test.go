package pages

import (
	"bytes"
	"fmt"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the path of the repository.
const root = "../../.."

// A block is code, a command or text in a page, a package comment or a command's help.
type block struct {
	page string
	line int    // of a page; 0 in a doc comment
	lang string // go, diff, sh, sql or text
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d: %.60q", b.page, b.line, b.text) }

// pages are the Markdown pages.
var pages = []string{"README.md", "CONTRIBUTING.md", "AGENTS.md", "driver/MOVING.md", "driver/TROUBLESHOOTING.md", ".github/SECURITY.md", "CHANGELOG.md"}

// blocks returns the blocks of all pages and package comments.
func blocks(t *testing.T) []block {
	t.Helper()
	var all []block
	for _, page := range pages {
		all = append(all, markdownBlocks(t, page)...)
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || file == "driver/integration/tools") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, b, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil || f.Doc == nil {
			return err
		}
		for _, c := range new(comment.Parser).Parse(f.Doc.Text()).Content {
			if code, ok := c.(*comment.Code); ok {
				all = append(all, block{page: file, lang: blockLanguage(code.Text), text: code.Text})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	fence  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```\n")
	inline = regexp.MustCompile("`([^`\n]+)`")
	// commands matches the beginning of a command, with variables before it.
	commands = regexp.MustCompile(`^(\w+=\S+ )*(go (run|test|install|get|generate|doc|tool) |cd \S+ && go |aadpostgres |emulate |aadpostgres-migrate |goose |\.ci/)`)
)

// markdownBlocks returns the blocks of a Markdown page, and the commands in its text.
func markdownBlocks(t *testing.T, page string) (all []block) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) int { return bytes.Count(b[:i], []byte("\n")) + 1 }
	for _, m := range fence.FindAllSubmatchIndex(b, -1) {
		all = append(all, block{page, at(m[0]), string(b[m[2]:m[3]]), string(b[m[4]:m[5]])})
	}
	for _, m := range inline.FindAllSubmatchIndex(b, -1) {
		if s := string(b[m[2]:m[3]]); commands.MatchString(s + " ") {
			if regexp.MustCompile(`^(aadpostgres( \w+)?|emulate|aadpostgres-migrate)$`).MatchString(s) {
				s += " -h" // the text names the command only
			}
			all = append(all, block{page, at(m[0]), "sh", s})
		}
	}
	prose := fence.ReplaceAllStringFunc(string(b), func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	for i, line := range strings.Split(prose, "\n") {
		if strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t") {
			t.Errorf("%s:%d: indented code has no language; use a fence", page, i+1)
		}
	}
	return all
}

// blockLanguage guesses the language of a block in a doc comment.
func blockLanguage(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	switch {
	case strings.Contains(first, "   "), strings.Contains(first, "["):
		return "text" // a synopsis
	case commands.MatchString(first + " "), strings.HasPrefix(first, "export "):
		return "sh"
	case strings.HasPrefix(first, "SELECT "):
		return "sql"
	case strings.HasPrefix(first, "import "), strings.Contains(text, " := "), strings.Contains(text, "(") && strings.HasSuffix(strings.TrimSpace(text), ")"):
		return "go"
	}
	return "text"
}

// untested maps the beginning of each block that is neither code nor commands to the reason
// why it is not tested here.
var untested = map[string]string{
	"aad_auth\n    a mode,":     "TestTables writes it",
	"default\n    azidentity's": "TestTables writes it",
	"public\n    host suffix":   "TestTables writes it",
	"aadpostgres: <step>:":      "TestFailures has many errors of this form",
	"host=app.postgres.":        "TestPrintedDSNs parses it",
	"x-migrations-table":        "TestOptions covers each option",
	"dsn.Parse ──>":             "it is a drawing",
	"aadpostgres ping   [":      "TestScripts covers each command",
	"emulate            s":      "TestHelp, TestCommand and TestDemo cover each flag",
	"GET  /todos":               "TestMoveToEntra requests each path",
}

// TestPagesAreTried checks that each block has a language that is tested, or a reason.
func TestPagesAreTried(t *testing.T) {
	seen := map[string]int{}
	for _, b := range blocks(t) {
		seen[b.page]++
		switch b.lang {
		case "go", "diff", "sh", "sql":
		case "text":
			known := false
			for begin := range untested {
				known = known || strings.HasPrefix(b.text, begin)
			}
			if !known {
				t.Errorf("%v: the block is not tested; give it a language, or add the reason to untested", b)
			}
		default:
			t.Errorf("%v: language = %q, want go, diff, sh, sql or text", b, b.lang)
		}
	}
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "doc.go", "driver/MOVING.md"} {
		if seen[page] < 2 {
			t.Errorf("%s: blocks = %d, want at least 2", page, seen[page])
		}
	}
}
