//go:build unix

package token

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A path that would block its reader, or never end, is refused at once, in one line.
func TestFilesThatDoNotEnd(t *testing.T) {
	const refused = "is not a regular file of at most 1 MiB"
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(dir, "sparse")
	unreadable := filepath.Join(dir, "unreadable")
	for _, path := range []string{sparse, unreadable} {
		if err := os.WriteFile(path, []byte("eyJ"+entratest.Marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		unreadable = filepath.Join(unreadable, "below") // root can read the other
	}
	rows := []struct{ name, path, want string }{
		{"folder", dir, refused},
		{"pipe", fifo, refused},
		{"gigabyte", sparse, refused},
		{"device", "/dev/zero", refused},
		{"unreadable", unreadable, "open " + unreadable},
		{"none", filepath.Join(dir, "none"), "open " + filepath.Join(dir, "none")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := await(t.Context(), &File{Path: row.path})
			wantError(t, err, "aad_token_file: ")
			wantError(t, err, row.want)
			wantHint(t, err, "set aad_token_file to a regular file that this process can read")
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("got error %q, want one line", err)
			}
			if err != nil && strings.Contains(err.Error(), entratest.Marker) {
				t.Errorf("got error %q, want nothing of the file in it", err)
			}
		})
	}
}

// The warning does not depend on which method reads the file first.
func TestRefreshWarns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("opaque"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	var log recorder
	f := &File{Path: path}
	f.Refresh(nil, &log)
	if want := "exposed " + path; !strings.Contains(log.String(), want) {
		t.Errorf("observed %q, want %q in it", log.String(), want)
	}
}

// A token file that others may read, or replace, is warned of once. It is used all the
// same: Kubernetes mounts secrets with such modes.
func TestExposedFile(t *testing.T) {
	rows := []struct {
		name    string
		mode    fs.FileMode
		exposed bool
	}{
		{"0600", 0o600, false},
		{"0400", 0o400, false},
		{"0440", 0o440, false},
		{"0640", 0o640, false},
		{"0750", 0o750, false},
		{"0644", 0o644, true},
		{"0604", 0o604, true},
		{"0602", 0o602, true},
		{"0601", 0o601, true},
		{"0620", 0o620, true},
		{"0660", 0o660, true},
		{"0666", 0o666, true},
		{"0777", 0o777, true},
	}
	for _, row := range rows {
		for _, link := range []string{"file", "link"} {
			t.Run(row.name+" "+link, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "token")
				if err := os.WriteFile(path, []byte(entratest.JWT(map[string]any{"oid": "o"})), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, row.mode); err != nil {
					t.Fatal(err)
				}
				if os.Geteuid() != 0 && row.mode&0o400 == 0 {
					t.Skip("the owner cannot read the file")
				}
				if link == "link" { // as Kubernetes does
					if err := os.Symlink(path, path+".link"); err != nil {
						t.Fatal(err)
					}
					path += ".link"
				}
				var log recorder
				f := &File{Path: path}
				for range 3 {
					got, call := f.Token(&log)
					if call != nil {
						t.Fatalf("Token() = %v, want a token", call.Err())
					}
					_, err := f.Refresh(got, &log).Token(t.Context())
					wantError(t, err, "")
				}
				wantLines := 0
				wantMode := fs.FileMode(0)
				if row.exposed {
					wantLines = 1
					wantMode = row.mode
				}
				line := "exposed " + path + " mode=-"
				if n := strings.Count(log.String(), line); n != wantLines {
					t.Errorf("observed %q, want %d times %q", log.String(), wantLines, line)
				}
				if strings.Contains(log.String(), entratest.Marker) {
					t.Errorf("observed %q, want no token in it", log.String())
				}
				if got := f.Exposed(); got != wantMode {
					t.Errorf("Exposed() = %s, want %s", got, wantMode)
				}
			})
		}
	}
}
