package main

import (
	"io/fs"
	"slices"
	"strings"
)

// A visible file system has no files and folders whose names begin with a dot, such as the
// repository's history.
type visible struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (v visible) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(v.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }), err
}
