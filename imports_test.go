package aadpostgres

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module   = "github.com/aadpostgres/aadpostgres"
	internal = module + "/driver/internal/"
	azure    = "github.com/Azure/azure-sdk-for-go/sdk/"
	pgx      = "github.com/jackc/pgx/v5"
)

// Imports go one way: driver -> credential -> token -> dsn, and to hint and redact, which
// import nothing but the standard library. An import that is allowed stands for the
// packages below it too.
func TestImports(t *testing.T) {
	rows := []struct {
		dir       string
		allowed   []string // beside the standard library
		forbidden []string // of the standard library
	}{
		{dir: "dsn"},
		{dir: "driver/internal/redact"},
		{dir: "driver/internal/hint"},
		{dir: "driver/internal/socket"},
		{dir: "driver/internal/direct"},
		{
			dir:       "driver/internal/token",
			allowed:   []string{module + "/dsn", internal + "redact"},
			forbidden: []string{"net/http"},
		},
		{
			dir:     "driver/internal/credential",
			allowed: []string{module + "/dsn", internal + "token", internal + "redact", azure + "azcore", azure + "azidentity"},
		},
		{dir: "driver/internal/need"}, // for tests
		{
			dir:     "driver/internal/entratest", // for tests
			allowed: []string{module + "/dsn", azure + "azcore"},
		},
		{
			dir: "driver",
			allowed: []string{module + "/dsn", internal + "credential", internal + "token", internal + "hint", internal + "redact", internal + "socket", internal + "direct",
				azure + "azcore", azure + "azidentity", pgx},
		},
	}
	var dirs []string
	for _, row := range rows {
		dirs = append(dirs, row.dir)
		t.Run(row.dir, func(t *testing.T) {
			for _, got := range importsOf(t, row.dir) {
				if isStandard(got) && slices.Contains(row.forbidden, got) {
					t.Errorf("%s imports %q, want none of %q", row.dir, got, row.forbidden)
				}
				if !isStandard(got) && !isBelow(got, row.allowed) {
					t.Errorf("%s imports %q, want the standard library and %q alone", row.dir, got, row.allowed)
				}
			}
		})
	}
	got, err := filepath.Glob(filepath.FromSlash("driver/internal/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range got {
		if !slices.Contains(dirs, filepath.ToSlash(dir)) {
			t.Errorf("the table has no row for %s: got rows for %q, want one for each package", dir, dirs)
		}
	}
}

// importsOf returns what the files of a folder import, other than its tests. Build
// constraints do not matter: the arrows hold on all systems.
func importsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var imports []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports = append(imports, path)
		}
	}
	if len(imports) == 0 {
		t.Fatalf("%s imports nothing, want some packages: the folder has moved", dir)
	}
	return imports
}

// isStandard reports whether a package is the standard library's: the paths of others
// begin with a domain.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// isBelow reports whether path is one of roots, or below one.
func isBelow(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}
