package tools

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

var update = flag.Bool("update", false, "write the README's matrix")

// A tool is one row of the README's matrix. Its test is Test<Func>, in the file of that
// name in lower case. The test contains Line verbatim. If Line has an effect on the whole
// process, init or an import contains it instead. If Line is more than opening by the
// driver's name, Test<Func>Without omits it and gets an error that contains Without.
type tool struct {
	Name, Module, Func string
	Line, Without      string
}

var matrix = []tool{
	{"gorm", "gorm.io/gorm", "Gorm", `postgres.New(postgres.Config{Conn: sqlDB})`, "28P01"},
	{"sqlx", "github.com/jmoiron/sqlx", "Sqlx", `sqlx.BindDriver("aadpostgres", sqlx.DOLLAR)`, "42601"},
	{"ent", "entgo.io/ent", "Ent", `entsql.OpenDB(dialect.Postgres, db)`, "unsupported driver"},
	{"bun", "github.com/uptrace/bun", "Bun", `bun.NewDB(db, pgdialect.New())`, ""},
	{"xorm", "xorm.io/xorm", "Xorm", `dialects.RegisterDriver("aadpostgres", dialects.QueryDriver("pgx"))`, "unsupported driver name"},
	{"beego", "github.com/beego/beego/v2", "Beego", `orm.RegisterDriver("aadpostgres", orm.DRPostgres)`, "have not registered"},
	{"dbr", "github.com/gocraft/dbr/v2", "Dbr", `dbr.Connection{DB: db, Dialect: dialect.PostgreSQL, EventReceiver: &dbr.NullEventReceiver{}}`, "not supported"},
	{"gorp", "github.com/go-gorp/gorp/v3", "Gorp", `gorp.DbMap{Db: db, Dialect: gorp.PostgresDialect{}}`, ""},
	{"sqlc", "github.com/sqlc-dev/sqlc", "Sqlc", `New(db)`, ""},
	{"go-jet", "github.com/go-jet/jet/v2", "Jet", `statement.QueryContext(ctx, db, &shelf)`, ""},
	{"goose", "github.com/pressly/goose/v3", "Goose", `goose.NewProvider(goose.DialectPostgres, db, fsys)`, `unknown dialect`},
	{"golang-migrate", "github.com/golang-migrate/migrate/v4", "Migrate", `_ "github.com/aadpostgres/aadpostgres/driver/migrate"`, `unknown driver aadpostgres`},
	{"sql-migrate", "github.com/rubenv/sql-migrate", "SQLMigrate", `migrate.MigrationDialects["aadpostgres"] = gorp.PostgresDialect{}`, `Unknown dialect: aadpostgres`},
	{"atlas", "ariga.io/atlas", "Atlas", `sqlclient.Register("aadpostgres", sqlclient.DriverOpener(postgres.Open))`, `unknown driver "aadpostgres"`},
	{"tern", "github.com/jackc/tern/v2", "Tern", `migrate.NewMigrator(ctx, raw.(*stdlib.Conn).Conn(), "schema_version")`, ""},
	{"river", "github.com/riverqueue/river", "River", `river.NewClient(riverdatabasesql.New(db), config)`, ""},
	{"otelsql", "github.com/XSAM/otelsql", "Otelsql", `otelsql.Open("aadpostgres", dsn, options...)`, ""},
	{"sqlmw", "github.com/ngrok/sqlmw", "Sqlmw", `sqlmw.Driver(&driver.Driver{}, interceptor)`, ""},
	{"go-sqlmock", "github.com/DATA-DOG/go-sqlmock", "Sqlmock", `driver.Register("aadpostgres-mock", driver.WithOpenFunc(open))`, "unknown driver"},
	{"pgxpool", "github.com/jackc/pgx/v5", "Pgxpool", `config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect`, "no token was set for this connection"},
}

// TestMatrix checks that the README's matrix matches the tests. Each line is in a test
// verbatim. The versions are those of go.mod. sqlc is not in go.mod, because programs do
// not need it after it has generated; its version is in the generated code.
func TestMatrix(t *testing.T) {
	b, err := os.ReadFile("../go.mod")
	check(t, err)
	mod, err := modfile.ParseLax("go.mod", b, nil)
	check(t, err)
	versions := map[string]string{}
	for _, r := range mod.Require {
		versions[r.Mod.Path] = r.Mod.Version
	}
	generated, err := os.ReadFile("sqlcdb/db.go")
	check(t, err)
	_, v, _ := strings.Cut(string(generated), "//   sqlc ")
	versions["github.com/sqlc-dev/sqlc"], _, _ = strings.Cut(v, "\n")
	generates, err := filepath.Glob("*/generate.go")
	check(t, err)
	for _, file := range generates {
		b, err := os.ReadFile(file)
		check(t, err)
		run := regexp.MustCompile(`go run (\S+)/cmd/\w+@(\S+)`).FindStringSubmatch(string(b))
		if run == nil || versions[run[1]] != run[2] {
			t.Errorf("%s runs %q, want the version of the generated code: %v", file, run, versions)
		}
	}
	files, err := filepath.Glob("*_test.go")
	check(t, err)
	table := "| tool | version | line | without it |\n|---|---|---|---|\n"
	for _, tool := range matrix {
		file := strings.ToLower(tool.Func) + "_test.go"
		files = slices.DeleteFunc(files, func(f string) bool { return f == file })
		code, texts := parseFile(t, file)
		test := "Test" + tool.Func
		if !strings.Contains(code[test], tool.Line) && !strings.Contains(code["init"], tool.Line) && !strings.Contains(code["import"], tool.Line) {
			t.Errorf("%s lacks %s in %s, init and imports", file, tool.Line, test)
		}
		if tool.Without != "" && !strings.Contains(texts[test+"Without"], tool.Without) {
			t.Errorf("%s lacks %q in %sWithout", file, tool.Without, test)
		}
		if code[test] == "" {
			t.Errorf("%s lacks %s", file, test)
		}
		if strings.Contains(code[test]+code[test+"Without"], ".Skip") {
			t.Errorf("%s skips %s or %sWithout", file, test, test)
		}
		if versions[tool.Module] == "" {
			t.Errorf("go.mod lacks %s", tool.Module)
		}
		without := ""
		if tool.Without != "" {
			without = " `" + tool.Without + "`"
		}
		version := versions[tool.Module]
		day, err := module.PseudoVersionTime(version)
		if err == nil {
			version = day.Format("2006-01-02")
		}
		table += fmt.Sprintf("| [%s](driver/integration/tools/%s) | %s | `%s` |%s |\n", tool.Name, file, version, tool.Line, without)
	}
	for _, file := range files {
		if !slices.Contains([]string{"matrix_test.go", "main_test.go", "raw_test.go", "sql_test.go"}, file) {
			t.Errorf("%s has no row", file)
		}
	}
	const file, begin, end = "../../../README.md", "<!-- tools: from the tests in driver/integration/tools -->\n", "<!-- end -->\n"
	b, err = os.ReadFile(file)
	check(t, err)
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Errorf("README.md lacks %q and %q", begin, end)
	case old == table:
	case *update:
		check(t, os.WriteFile(file, []byte(head+begin+table+end+tail), 0o644))
	default:
		t.Errorf("README.md does not show the matrix; write it with go test -run TestMatrix ./driver/integration/tools -update")
	}
}

// parseFile returns the code of a file's functions without comments, and the texts of the
// string literals in each, by the functions' names. The name "import" is that of imports.
func parseFile(t *testing.T, file string) (code, texts map[string]string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution) // drops comments
	check(t, err)
	code, texts = map[string]string{}, map[string]string{}
	for _, d := range f.Decls {
		name := "import"
		switch d := d.(type) {
		case *ast.FuncDecl:
			name = d.Name.Name
		case *ast.GenDecl:
			if d.Tok != token.IMPORT {
				continue
			}
		}
		var b strings.Builder
		check(t, printer.Fprint(&b, set, d))
		code[name] += b.String()
		ast.Inspect(d, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value) // the parser accepted it
				texts[name] += text + "\n"
			}
			return true
		})
	}
	return code, texts
}
