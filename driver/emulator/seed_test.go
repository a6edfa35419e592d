package emulator

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// setCache makes dir, with that mode, the cache directory.
func setCache(t testing.TB, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AADPOSTGRES_EMULATOR_CACHE", dir)
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
}

// findSeedFile returns the only file in a cache directory, which must be a seed.
func findSeedFile(t testing.TB, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || !strings.HasSuffix(files[0].Name(), ".tar") {
		t.Fatalf("files in the cache = %v, want one seed", files)
	}
	return filepath.Join(dir, files[0].Name())
}

// Emulators that start concurrently may all create the seed.
func TestConcurrentFirstStarts(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { checkStart(t) })
	}
	wg.Wait()
	info, err := os.Stat(findSeedFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), fs.FileMode(0o600); got != want {
		t.Errorf("mode of the seed = %v, want %v", got, want)
	}
	if got, limit := info.Size(), int64(64<<20); got > limit {
		t.Errorf("size of the seed = %d, want at most %d", got, limit)
	}
}

// A corrupt seed, and one that others may have written, is replaced.
func TestUnusableSeed(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	checkStart(t)
	name := findSeedFile(t, dir)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	modTime := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, tt := range []struct {
		name         string
		content      []byte
		mode         fs.FileMode
		wantReplaced bool
	}{
		{"valid", content, 0o600, false},
		{"truncated", content[:len(content)/3], 0o600, true},
		{"one bit flipped", flipped, 0o600, true},
		{"writable by others", content, 0o666, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mode != 0o600 && filepath.Separator != '/' {
				t.Skip("file modes of this system do not tell what others may do")
			}
			if err := errors.Join(os.WriteFile(name, tt.content, 0o600), os.Chmod(name, tt.mode), os.Chtimes(name, modTime, modTime)); err != nil {
				t.Fatal(err)
			}
			checkStart(t)
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := !info.ModTime().Equal(modTime); got != tt.wantReplaced {
				t.Errorf("the seed was replaced: %v, want %v", got, tt.wantReplaced)
			}
		})
	}
}

// A seed cannot contain links, through which files would be written elsewhere.
func TestSeedWithLink(t *testing.T) {
	setCache(t, t.TempDir(), 0o700)
	root, err := openCache()
	if err != nil {
		t.Fatal(err)
	}
	s := &seed{root, "seed"}
	defer s.close()
	data := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(data, "base")); err != nil {
		t.Fatal(err)
	}
	if err := s.pack(data); err != nil {
		t.Fatal(err)
	}
	err = s.unpack(t.TempDir())
	if want := "base is not a regular file"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("unpack() = %v, want %q in it", err, want)
	}
}

// A cache directory that others can write to is not used.
func TestUnsafeCache(t *testing.T) {
	if filepath.Separator != '/' {
		t.Skip("file modes of this system do not tell what others may do")
	}
	dir := t.TempDir()
	setCache(t, dir, 0o777)
	checkStart(t)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		t.Errorf("files in the cache = %v, want none", files)
	}
	_, err = openCache()
	if want := "other users may write to the cache"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("openCache() = %v, want %q in it", err, want)
	}
}

// Seeds that have not been used for long are removed, and other files are not.
func TestOldSeeds(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	now := time.Now()
	old := now.AddDate(0, -2, 0)
	tests := []struct {
		file     string
		modTime  time.Time
		wantKept bool
	}{
		{"seed-1.tar", old, false},
		{"seed-2.tar", now, true},
		{"server", old, true},
	}
	for _, tt := range tests {
		name := filepath.Join(dir, tt.file)
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, tt.modTime, tt.modTime)); err != nil {
			t.Fatal(err)
		}
	}
	checkStart(t)
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			_, err := os.Stat(filepath.Join(dir, tt.file))
			if got := err == nil; got != tt.wantKept {
				t.Errorf("Stat() = %v, want that it was kept: %v", err, tt.wantKept)
			}
		})
	}
}
