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

// interfaceMethods are methods that fmt, slog, encoding/json, errors and database/sql call.
const interfaceMethods = " String Format GoString LogValue MarshalText GobEncode Error Unwrap Close Driver Connect Open OpenConnector "

// TestExportedIsShown checks that each exported name is used in an example, in the code of
// a page, in a command, in a program, or in a tool's test. For package dsn a use in package
// driver suffices, and for the emulator one in a test.
func TestExportedIsShown(t *testing.T) {
	used, byDriver, tests := map[string]bool{}, map[string]bool{}, map[string]bool{}
	collect := func(f *ast.File, in map[string]bool) {
		names := map[string]string{} // of imports with a name
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
				in["."+n.Sel.Name] = true // a method or a field of a value
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
		full []string // one name, or those of a group of constants
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
		isCommand := strings.Contains(dir, "/cmd/") && !isTest
		isExample := strings.HasPrefix(base, "example") || strings.HasPrefix(dir, "driver/integration/examples/") || strings.HasPrefix(dir, "driver/integration/tools/")
		switch {
		case isCommand, isExample:
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
		var text string
		switch b.lang {
		case "go":
			text = b.text
		case "diff":
			text = diffSide(b.text, '-')
		default:
			continue
		}
		code, err := goTest(0, text)
		if err != nil {
			continue // a whole program, which TestCode runs
		}
		f, err := parser.ParseFile(token.NewFileSet(), "", code, 0)
		if err != nil {
			t.Fatal(err)
		}
		collect(f, used)
	}
	for _, e := range exported {
		isShown := func(n string) bool {
			key := e.pkg + "." + n
			if _, method, ok := strings.Cut(n, "."); ok {
				if strings.Contains(interfaceMethods, " "+method+" ") {
					return true
				}
				key = "." + method
			}
			return used[key] || (e.pkg == "dsn" && byDriver[key]) || (e.pkg == "emulator" && tests[key])
		}
		if !slices.ContainsFunc(e.full, isShown) {
			t.Errorf("%s: %s is exported, and no example, page, command or tool uses it", e.pkg, strings.Join(e.full, ", "))
		}
	}
	if len(exported) < 100 {
		t.Errorf("exported names = %d, want at least 100", len(exported))
	}
}

// exportedNames returns the exported names of a declaration: functions, values, and the
// fields and methods of types, in groups of which one must be used. Constants of one
// declaration are a group, and so are the fields of a struct. Types are not included, for
// they can be used without their name.
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
