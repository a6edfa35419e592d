package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// interfaces are methods that others call: fmt, slog, encoding/json, errors, database/sql.
const interfaces = " String Format GoString LogValue MarshalText GobEncode Error Unwrap Close Driver Connect Open OpenConnector "

// Whatever is exported is shown in use: by an example, by the code of a page, by a
// command, by a program or a tool's test. The emulator is for tests, so they count there.
func TestExportedIsShown(t *testing.T) {
	used := map[string]bool{} // pkg.Name, and .Name of what is no package's
	tests := map[string]bool{}
	note := func(n ast.Node, in map[string]bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					in[x.Name+"."+n.Sel.Name] = true
				}
				in["."+n.Sel.Name] = true
			case *ast.KeyValueExpr:
				if x, ok := n.Key.(*ast.Ident); ok {
					in["."+x.Name] = true
				}
			}
			return true
		})
	}
	type name struct{ pkg, name, full string }
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
		test := strings.HasSuffix(base, "_test.go")
		switch shown := strings.Contains(dir, "/cmd/") || strings.HasPrefix(dir, "driver/integration/examples/") || strings.HasPrefix(dir, "driver/integration/tools/"); {
		case shown && !test, strings.HasPrefix(base, "example"), strings.HasPrefix(dir, "driver/integration/tools/"), strings.HasPrefix(dir, "driver/integration/examples/"):
			note(f, used)
		case test:
			note(f, tests)
		case dir == "dsn/" || dir == "driver/" || dir == "driver/emulator/" || dir == "driver/migrate/":
			for _, d := range f.Decls {
				for _, n := range public(d) {
					exported = append(exported, name{f.Name.Name, n[strings.LastIndex(n, ".")+1:], f.Name.Name + "." + n})
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t) {
		for _, text := range map[string][]string{"go": {b.text}, "diff": {side(b.text, '-')}}[b.lang] {
			if code, err := test(0, text); err == nil {
				f, err := parser.ParseFile(token.NewFileSet(), "", code, 0)
				if err != nil {
					t.Fatal(err)
				}
				note(f, used)
			}
		}
	}
	for _, e := range exported {
		key := "." + e.name
		if e.full == e.pkg+key {
			key = e.full // of the package
		} else if strings.Contains(interfaces, " "+e.name+" ") {
			continue
		}
		if !used[key] && !(e.pkg == "emulator" && tests[key]) {
			t.Errorf("%s is exported, and no example, page, command or tool shows its use", e.full)
		}
	}
	if len(exported) < 150 {
		t.Errorf("%d names: the pattern is off", len(exported))
	}
}

// public are the exported names of a declaration: functions, values, and the fields and
// methods of types. A type itself need not be named to be used.
func public(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		of := ""
		if d.Recv != nil {
			x := d.Recv.List[0].Type
			if star, ok := x.(*ast.StarExpr); ok {
				x = star.X
			}
			if of = x.(*ast.Ident).Name + "."; !ast.IsExported(of) {
				return nil
			}
		}
		if d.Name.IsExported() {
			names = append(names, of+d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						names = append(names, n.Name)
					}
				}
			case *ast.TypeSpec:
				if x, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
					for _, f := range x.Fields.List {
						for _, n := range f.Names {
							if n.IsExported() {
								names = append(names, s.Name.Name+"."+n.Name)
							}
						}
					}
				}
			}
		}
	}
	return names
}
