package aadpostgres

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/dsn"
)

var update = flag.Bool("update", false, "rewrite the tables of README.md and doc.go")

// The tables of keys, modes and clouds that people read are those that the code
// reads. In README.md they are Markdown, in doc.go preformatted text.
func TestTables(t *testing.T) {
	tables := map[string][][]string{
		"keys":   {{"key", "meaning", "default"}},
		"modes":  {{"`aad_auth`", "identity", "keys", "aliases"}},
		"clouds": {{"`aad_cloud`", "host suffix", "authority", "scope", "source"}},
	}
	for _, k := range dsn.Keys() {
		tables["keys"] = append(tables["keys"], []string{code(k.Name), k.Doc, k.Default})
	}
	for _, m := range dsn.Modes() {
		var keys []string
		mark := ""
		for _, k := range m.Keys {
			if k == "aad_authority_host" || k == "aad_disable_instance_discovery" {
				mark = "+"
				continue
			}
			keys = append(keys, code(k))
		}
		if mark != "" {
			keys = append(keys, mark)
		}
		tables["modes"] = append(tables["modes"], []string{code(string(m.Name)), m.Doc, strings.Join(keys, " "), strings.Join(m.Aliases, ", ")})
	}
	for _, c := range dsn.Clouds() {
		tables["clouds"] = append(tables["clouds"], []string{code(c.Name), code(c.HostSuffix), code(c.Authority), code(c.Scope()), c.Source})
	}
	for file, render := range map[string]func([][]string) string{"README.md": markdown, "doc.go": preformatted} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for name, rows := range tables {
			if file == "README.md" && name == "clouds" {
				continue // which says where they are
			}
			begin, end := "<!-- "+name+": from the table in package dsn -->\n", "<!-- end -->\n"
			if file == "doc.go" {
				begin, end = "// # "+strings.ToUpper(name[:1])+name[1:]+"\n//\n", "//\n// "
			}
			head, rest, ok := strings.Cut(text, begin)
			_, tail, ok2 := strings.Cut(rest, end)
			if !ok || !ok2 {
				t.Fatalf("%s has no place for the table of %s", file, name)
			}
			text = head + begin + render(rows) + end + tail
		}
		if text == string(b) {
			continue
		}
		if !*update {
			t.Errorf("%s does not show the tables of package dsn; write them with go test -run TestTables . -update", file)
		} else if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func code(s string) string { return "`" + s + "`" }

func markdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "|  |", "| |"), "|  |", "| |")
}

// preformatted writes each row as its name and, below it, the rest.
func preformatted(rows [][]string) string {
	var b strings.Builder
	for _, row := range rows[1:] {
		fmt.Fprintf(&b, "//\t%s\n", strings.Trim(row[0], "`"))
		for i, cell := range row[1:] {
			if cell == "" {
				continue
			}
			label := strings.Trim(rows[0][i+1], "`") + ": "
			if i == 0 && len(row) < 5 {
				label = ""
			}
			fmt.Fprintf(&b, "//\t    %s%s\n", label, strings.ReplaceAll(cell, "`", ""))
		}
	}
	return b.String()
}

// Every DSN that is printed anywhere parses.
func TestPrintedDSNs(t *testing.T) {
	quoted := regexp.MustCompile("[\"`]((?:host=|service=|aadpostgres://|postgres://|aad_)[^\"`\n]*)[\"`]")
	other := regexp.MustCompile(`sql\.Open\("(pgx|postgres)"|pgx\.ParseConfig|postgres\.Open\(`)
	// Half a DSN, a pattern, or one that is meant to fail: not printed for use.
	for file, least := range map[string]int{"README.md": 8, "doc.go": 3, "driver/*.go": 2, "dsn/*.go": 0, "driver/emulator/*.go": 1, "CHANGELOG.md": 0, "driver/MOVING.md": 5} {
		files, err := fs.Glob(os.DirFS("."), file)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", file, err)
		}
		n := 0
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(filepath.FromSlash(name))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(string(b), "\n") {
				if strings.HasSuffix(name, ".go") && !strings.HasPrefix(strings.TrimSpace(line), "//") {
					continue // code, not print
				}
				if other.MatchString(line) {
					continue // another driver's
				}
				for _, m := range quoted.FindAllStringSubmatch(line, -1) {
					if !strings.Contains(m[1], "=") && !strings.Contains(m[1], "://") {
						continue // the name of a key
					}
					n++
					if _, err := dsn.Parse(m[1]); err != nil {
						t.Errorf("%s prints %q: %v", name, m[1], err)
					}
				}
			}
		}
		if n < least {
			t.Errorf("%s: found %d DSNs only: the pattern is off", file, n)
		}
	}
}

// Every test, and every path in the repository, that is named where people read is there.
func TestNamesInPrint(t *testing.T) {
	tests := map[string]bool{}
	defined := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w+)\(`)
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(filepath.FromSlash(path))
		for _, m := range defined.FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name, link := regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz|Example)[A-Z]\w+`), regexp.MustCompile("\\]\\(([^):#]+)\\)|`((?:driver|dsn)/[\\w./-]+)`")
	for _, file := range []string{"README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md", ".github/SECURITY.md", "driver/TROUBLESHOOTING.md", "driver/MOVING.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(b), -1) {
			if !tests[n] {
				t.Errorf("%s names %s, which is not there", file, n)
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			path := filepath.Join(filepath.Dir(file), m[1])
			if m[2] != "" {
				path = m[2]
			}
			if _, err := os.Stat(filepath.FromSlash(path)); err != nil && !strings.HasSuffix(path, "vX.Y.Z") {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// The README shows a few rows of TROUBLESHOOTING.md, as they are there, and is short
// enough to be read.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n > 250 {
		t.Errorf("README.md has %d lines, want 250 at most: the long parts belong in doc.go", n)
	}
	all, err := os.ReadFile("driver/TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{} // causes with what to do
	for row := range strings.Lines(string(all)) {
		if cells := cellsOf(row); len(cells) == 4 {
			known[cells[0]+" | "+cells[2]] = true // between them stands a condition
		}
	}
	_, rest, ok := strings.Cut(string(b), "<!-- hints: rows of TROUBLESHOOTING.md -->\n| the cause has | what to do |\n|---|---|\n")
	rows, _, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("README.md has no place for hints")
	}
	for row := range strings.Lines(rows) {
		if !known[strings.Join(cellsOf(row), " | ")] {
			t.Errorf("driver/TROUBLESHOOTING.md has no row %s", row)
		}
	}
}

// cellsOf returns the cells of a Markdown table's row.
func cellsOf(row string) []string {
	cells := strings.Split(strings.TrimSpace(row), "|")
	if len(cells) < 3 {
		return nil
	}
	cells = cells[1 : len(cells)-1] // a row begins and ends with a bar
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}
