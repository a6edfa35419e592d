package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// implicitImports are the packages that code of pages may use without an import.
var implicitImports = map[string]string{
	"context":    "context",
	"errors":     "errors",
	"fmt":        "fmt",
	"sql":        "database/sql",
	"slog":       "log/slog",
	"time":       "time",
	"gorm":       "gorm.io/gorm",
	"postgres":   "gorm.io/driver/postgres",
	"azidentity": "github.com/Azure/azure-sdk-for-go/sdk/azidentity",
	"policy":     "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy",
	"pgx":        "github.com/jackc/pgx/v5",
	"pgconn":     "github.com/jackc/pgx/v5/pgconn",
	"pgtype":     "github.com/jackc/pgx/v5/pgtype",
	"pgxpool":    "github.com/jackc/pgx/v5/pgxpool",
	"stdlib":     "github.com/jackc/pgx/v5/stdlib",
	"dsn":        "github.com/aadpostgres/aadpostgres/dsn",
	"driver":     "github.com/aadpostgres/aadpostgres/driver",
	"emulator":   "github.com/aadpostgres/aadpostgres/driver/emulator",
	"migrate":    "github.com/golang-migrate/migrate/v4",
}

// preamble declares what code of pages may use without a declaration.
const preamble = `package pages

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var (
	ctx  = context.Background()
	cred azcore.TokenCredential
	c    *driver.Connector
	az   *emulator.Azure
)

func run(t *testing.T, block func(*testing.T) error) {
	var err error
	if cred, err = azidentity.NewDefaultAzureCredential(nil); err != nil {
		t.Fatal(err)
	}
	if c, err = driver.NewConnector(DSN); err != nil {
		t.Fatal(err)
	}
	if err := block(t); err != nil {
		t.Error(err)
	}
}
`

// useOpened has the code that uses and closes what a block has opened, by its variable.
var useOpened = map[string]string{
	"db":     "if err := db.Ping(); err != nil { return err }; db.Close()",
	"sqlDB":  "if err := sqlDB.Ping(); err != nil { return err }; sqlDB.Close()",
	"gormDB": "if opened, err := gormDB.DB(); err != nil { return err } else { opened.Close() }",
	"pool":   "if err := pool.Ping(ctx); err != nil { return err }; pool.Close()",
	"conn":   "if err := conn.Ping(ctx); err != nil { return err }; conn.Close(ctx)",
}

// TestCode compiles and runs each block of Go, and both sides of each diff: the code before
// a migration must work too.
func TestCode(t *testing.T) {
	e := newPageEnv(t)
	dir := t.TempDir()
	overlay := map[string]string{}
	add := func(name, text string) {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		overlay[path] = file
	}
	var programs []string
	tests := map[string]block{}
	n := 0
	for _, b := range blocks(t) {
		var texts []string
		switch b.lang {
		case "go":
			texts = []string{b.text}
		case "diff":
			texts = []string{diffSide(b.text, '+'), diffSide(b.text, '-')}
		default:
			continue
		}
		for _, text := range texts {
			n++
			text = e.rewrite(text)
			if strings.HasPrefix(text, "package main") {
				programs = append(programs, fmt.Sprintf("./blocks/main%d", n))
				add(fmt.Sprintf("blocks/main%d/main.go", n), text)
				continue
			}
			code, err := goTest(n, text)
			if err != nil {
				t.Errorf("%v: %v: %s", b, err, text)
				continue
			}
			add(fmt.Sprintf("blocks/block%d_test.go", n), code)
			tests[fmt.Sprintf("TestBlock%d", n)] = b
		}
	}
	add("blocks/preamble_test.go", strings.Replace(preamble, "DSN", fmt.Sprintf("%q", e.az.DSN()), 1))
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "pages.test")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, "-overlay", file, "./blocks").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.NumCPU())
	for name, b := range tests { // each in a process of its own, for azidentity caches tokens per process
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			cmd := exec.Command(binary, "-test.v", "-test.timeout=1m", "-test.run=^"+name+"$")
			cmd.Dir = e.dir
			if !strings.Contains(b.text, "az.") { // else the block starts an emulator of its own
				cmd.Env = e.env
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
				t.Errorf("%v: %v: %s", b, err, out)
			}
		})
	}
	wg.Wait()
	if len(tests) < 30 {
		t.Errorf("blocks = %d, want at least 30", len(tests))
	}
	if len(programs) == 0 {
		t.Error("programs = 0, want some")
	}
	for _, p := range programs {
		cmd := exec.Command("go", "run", "-overlay", file, p)
		cmd.Env = e.env
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.HasSuffix(out, []byte(" signed in as app\n")) {
			t.Errorf("%s: %v: %s, want that app is signed in", p, err, out)
		}
	}
}

// diffSide returns one side of a diff: the lines that do not begin with that byte.
func diffSide(diff string, without byte) string {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		if line[0] != without {
			b.WriteString(line[1:])
		}
	}
	return b.String()
}

var imports = regexp.MustCompile(`(?ms)^import (\(.*?^\)|[^\n]+)\n`)

// goTest returns the source of a file with text as the body of test n.
func goTest(n int, text string) (string, error) {
	declared := strings.Join(imports.FindAllString(text, -1), "")
	body := imports.ReplaceAllString(text, "")
	const head = "package pages\n"
	f, err := parser.ParseFile(token.NewFileSet(), "", head+declared+"func _() error {\n"+body+"\nreturn nil\n}\n", 0)
	if err != nil {
		return "", err
	}
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && implicitImports[x.Name] != "" && !strings.Contains(declared, `"`+implicitImports[x.Name]+`"`) {
				used[x.Name] = true
			}
		}
		return true
	})
	if strings.Contains(text, "az.") && !strings.Contains(text, "az := ") {
		used["emulator"] = true
	}
	for _, p := range slices.Sorted(maps.Keys(used)) {
		declared += fmt.Sprintf("import %q\n", implicitImports[p])
	}
	var checked, after string
	for _, s := range f.Decls[len(f.Decls)-1].(*ast.FuncDecl).Body.List {
		a, ok := s.(*ast.AssignStmt)
		if !ok || a.Tok != token.DEFINE {
			continue
		}
		for _, x := range a.Lhs {
			switch name := x.(*ast.Ident).Name; {
			case name == "err":
				checked = "if err != nil { return err }\n"
			case useOpened[name] != "":
				after += useOpened[name] + "\n"
			default:
				after += "_ = " + name + "\n"
			}
		}
	}
	if strings.Contains(text, `"azuresql"`) { // compiled but not run: there is no SQL Server
		body = "return nil\n" + body
	}
	start := ""
	if strings.Contains(text, "az.") && !strings.Contains(text, "az := ") {
		start = "az = emulator.Start(t)\n"
	}
	code := head + declared + fmt.Sprintf("import \"testing\"\nfunc TestBlock%d(t *testing.T) { %s run(t, func(t *testing.T) error {\n_ = t\n{", n, start) +
		body + checked + after + "}\nreturn nil\n}) }\n" // in braces, so that text may declare t
	b, err := format.Source([]byte(code))
	return string(b), err
}
