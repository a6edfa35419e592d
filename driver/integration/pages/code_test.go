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

// packages are what the code of pages may name without an import.
var implicitImports = map[string]string{
	"context":    "context",
	"errors":     "errors",
	"fmt":        "fmt",
	"sql":        "database/sql",
	"slog":       "log/slog",
	"azidentity": "github.com/Azure/azure-sdk-for-go/sdk/azidentity",
	"policy":     "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy",
	"pgx":        "github.com/jackc/pgx/v5",
	"pgconn":     "github.com/jackc/pgx/v5/pgconn",
	"pgxpool":    "github.com/jackc/pgx/v5/pgxpool",
	"stdlib":     "github.com/jackc/pgx/v5/stdlib",
	"dsn":        "github.com/aadpostgres/aadpostgres/dsn",
	"driver":     "github.com/aadpostgres/aadpostgres/driver",
	"emulator":   "github.com/aadpostgres/aadpostgres/driver/emulator",
	"migrate":    "github.com/golang-migrate/migrate/v4",
}

// surrounding is what the code of pages may use without saying where it has it from.
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

// opened is what is done with what a block has opened: it is used once.
var useOpened = map[string]string{
	"db":   "if err := db.Ping(); err != nil { return err }; db.Close()",
	"pool": "if err := pool.Ping(ctx); err != nil { return err }; pool.Close()",
	"conn": "if err := conn.Ping(ctx); err != nil { return err }; conn.Close(ctx)",
}

// Every block of Go compiles and runs, and so do both sides of every diff: what is
// moved away from works too, or the move would not be one.
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
		texts := map[string]string{"": b.text}
		switch b.lang {
		case "go":
		case "diff":
			texts = map[string]string{" before": diffSide(b.text, '+'), " after": diffSide(b.text, '-')}
		default:
			continue
		}
		for _, which := range slices.Sorted(maps.Keys(texts)) {
			n++
			text := e.rewrite(texts[which])
			if strings.HasPrefix(text, "package main") {
				programs = append(programs, fmt.Sprintf("./blocks/main%d", n))
				add(fmt.Sprintf("blocks/main%d/main.go", n), text)
				continue
			}
			code, err := goTest(n, text)
			if err != nil {
				t.Errorf("%v%s: %v", b, which, err)
				continue
			}
			add(fmt.Sprintf("blocks/block%d_test.go", n), code)
			tests[fmt.Sprintf("TestBlock%d", n)] = b
		}
	}
	add("blocks/given_test.go", strings.Replace(preamble, "DSN", fmt.Sprintf("%q", e.az.DSN()), 1))
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
	for name, where := range tests { // each in a process of its own: azidentity shares tokens within one
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			cmd := exec.Command(binary, "-test.v", "-test.timeout=1m", "-test.run=^"+name+"$")
			if cmd.Dir = e.dir; !strings.Contains(where.text, "az.") { // else it has an Azure of its own
				cmd.Env = e.env
			}
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+name)) {
				t.Errorf("%v: %v: %s", where, err, out)
			}
		})
	}
	wg.Wait()
	if len(tests) < 30 || len(programs) == 0 {
		t.Errorf("%d blocks and %d programs: the pattern is off", len(tests), len(programs))
	}
	for _, p := range programs {
		cmd := exec.Command("go", "run", "-overlay", file, p)
		cmd.Env = e.env
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasSuffix(out, []byte(" signed in as app\n")) {
			t.Errorf("%s: %v: %s", p, err, out)
		}
	}
}

// side is what a diff has before or after it: without the lines that begin so.
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

// test makes a file of a piece of code: the test of that number.
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
	if strings.Contains(text, `"azuresql"`) { // SQL Server's driver, and a server of its kind, are not here
		body = "return nil\n" + body
	}
	start := ""
	if strings.Contains(text, "az.") && !strings.Contains(text, "az := ") {
		start = "az = emulator.Start(t)\n"
	}
	code := head + declared + fmt.Sprintf("import \"testing\"\nfunc TestBlock%d(t *testing.T) { %s run(t, func(t *testing.T) error {\n_ = t\n{", n, start) +
		body + checked + after + "}\nreturn nil\n}) }\n" // braces, so that it may have a t of its own
	b, err := format.Source([]byte(code))
	return string(b), err
}
