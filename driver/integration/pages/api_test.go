package pages

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// interfaces are methods that others call: fmt, slog, encoding/json, errors, database/sql.
const interfaceMethods = " String Format GoString LogValue MarshalText GobEncode Error Unwrap Close Driver Connect Open OpenConnector "

// Whatever is exported is shown in use: by an example, by the code of a page, by a
// command, by a program or a tool's test. Package dsn is there for package driver too,
// the emulator for tests.
func TestExportedIsShown(t *testing.T) {
	used, byDriver, tests := map[string]bool{}, map[string]bool{}, map[string]bool{}
	collect := func(f *ast.File, in map[string]bool) {
		names := map[string]string{} // of imports, where the file has its own
		for _, i := range f.Imports {
			if i.Name != nil {
				names[i.Name.Name] = path.Base(strings.Trim(i.Path.Value, `"`))
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					in[cmp.Or(names[x.Name], x.Name)+"."+n.Sel.Name] = true
				}
				in["."+n.Sel.Name] = true // of a value
			case *ast.KeyValueExpr:
				if x, ok := n.Key.(*ast.Ident); ok {
					in["."+x.Name] = true
				}
			}
			return true
		})
	}
	type name struct {
		pkg  string
		full []string // one, or those of a group of constants
	}
	var exported []name
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(file)), nil, 0)
		if err != nil {
			return err
		}
		dir, base := path.Split(file)
		isTest := strings.HasSuffix(base, "_test.go")
		switch isExample := strings.Contains(dir, "/cmd/") || strings.HasPrefix(dir, "driver/integration/examples/") || strings.HasPrefix(dir, "driver/integration/tools/"); {
		case isExample && !isTest, strings.HasPrefix(base, "example"), strings.HasPrefix(dir, "driver/integration/tools/"), strings.HasPrefix(dir, "driver/integration/examples/"):
			collect(f, used)
		case isTest:
			collect(f, tests)
		case dir == "dsn/", dir == "driver/", dir == "driver/emulator/", dir == "driver/migrate/":
			for _, d := range f.Decls {
				for _, n := range exportedNames(d) {
					exported = append(exported, name{f.Name.Name, n})
				}
			}
			if dir == "driver/" {
				collect(f, byDriver)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t) {
		for _, text := range map[string][]string{"go": {b.text}, "diff": {diffSide(b.text, '-')}}[b.lang] {
			if code, err := goTest(0, text); err == nil {
				f, err := parser.ParseFile(token.NewFileSet(), "", code, 0)
				if err != nil {
					t.Fatal(err)
				}
				collect(f, used)
			}
		}
	}
	for _, e := range exported {
		if !slices.ContainsFunc(e.full, func(n string) bool {
			of, method, ok := strings.Cut(n, ".")
			key := e.pkg + "." + of
			if ok {
				key = "." + method
			}
			return ok && strings.Contains(interfaceMethods, " "+method+" ") || used[key] || e.pkg == "dsn" && byDriver[key] || e.pkg == "emulator" && tests[key]
		}) {
			t.Errorf("%s: %s is exported, and no example, page, command or tool shows its use", e.pkg, strings.Join(e.full, ", "))
		}
	}
	if len(exported) < 100 {
		t.Errorf("%d names: the pattern is off", len(exported))
	}
}

// public are the exported names of a declaration: functions, values, and the fields and
// methods of types. A type itself need not be named to be used, nor each of a group of
// constants or of a struct's fields.
func exportedNames(d ast.Decl) (names [][]string) {
	add := func(of string, idents ...*ast.Ident) {
		for _, n := range idents {
			if n.IsExported() {
				names = append(names, []string{of + n.Name})
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			add("", d.Name)
			break
		}
		x := d.Recv.List[0].Type
		if star, ok := x.(*ast.StarExpr); ok {
			x = star.X
		}
		if of := x.(*ast.Ident); of.IsExported() {
			add(of.Name+".", d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				add("", s.Names...)
			case *ast.TypeSpec:
				if x, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
					for _, f := range x.Fields.List {
						add(s.Name.Name+".", f.Names...)
					}
				}
			}
		}
		if d.Tok != token.VAR && len(names) > 0 {
			names = [][]string{slices.Concat(names...)}
		}
	}
	return names
}
