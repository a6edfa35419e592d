package token

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// issued returns a token that lives for an hour from then on. Entra would date it back by
// five minutes, and so does this.
func issued(at time.Time) string {
	return entratest.JWT(map[string]any{"iat": at.Add(-backdated).Unix(), "exp": at.Add(time.Hour).Unix()})
}

func TestStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // for tokens that were issued before
		now := time.Now()
		rows := []struct {
			name   string
			value  string
			maxAge time.Duration
			want   string
			hint   string
		}{
			{"opaque", "opaque", 0, "", ""},
			{"a JWT", issued(now), 0, "", ""},
			{"a JWT of half an hour", issued(now.Add(-30 * time.Minute)), 0, "", ""},
			{"young enough", issued(now.Add(-9 * time.Minute)), 10 * time.Minute, "", ""},
			{"empty", "", 0, "no access token is given", "set aad_token_file"},
			{"in quotes", `"opaque"`, 0, "holds quotes, spaces or braces", "pass the token alone"},
			{"of two lines", "opaque\n", 0, "holds quotes, spaces or braces", "pass the token alone"},
			{"JSON", `{accessToken:opaque}`, 0, "holds quotes, spaces or braces", "pass the token alone"},
			{"expired", issued(now.Add(-time.Hour)), 0, "the given access token expired at 2000-01-01T01:00:00Z", "fetch a new one"},
			{"too old", issued(now.Add(-11 * time.Minute)), 10 * time.Minute, "the given access token is 11m0s old", "raise aad_token_max_age"},
		}
		for _, row := range rows {
			s := &Static{Value: row.value, MaxAge: row.maxAge} // subtests have no place in a bubble
			got, err := await(t.Context(), s)
			again, errAgain := s.Refresh(got, quiet).Token(t.Context())
			if row.want == "" {
				if err != nil || got.Value != row.value {
					t.Errorf("%s: Token() = %v, %v, want the value", row.name, got, err)
				}
				if errAgain != nil || again.Value != row.value {
					t.Errorf("%s: Refresh() = %v, %v, want the value", row.name, again, errAgain)
				}
				continue
			}
			for _, err := range []error{err, errAgain} {
				t.Log(row.name)
				wantError(t, err, row.want)
				wantHint(t, err, row.hint)
			}
		}
	})
}

// An opaque token counts as one of an hour, from each look on: the server knows.
func TestOpaqueTokenIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Static{Value: "opaque"}
		for range 3 {
			got := mustAwait(t, s)
			want := time.Now().Add(time.Hour)
			if !got.ExpiresOn.Equal(want) {
				t.Errorf("ExpiresOn = %s, want %s", got.ExpiresOn, want)
			}
			time.Sleep(time.Hour)
		}
	})
}

// The file is read each time: others replace it.
func TestFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f := &File{Path: path}
	_, err := await(t.Context(), f)
	wantError(t, err, "aad_token_file: ")
	wantHint(t, err, "set aad_token_file to a regular file")
	var last *Token
	for _, value := range []string{"first", "second\r\n", " third "} {
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(value)
		if last != nil {
			got, err := f.Refresh(last, quiet).Token(t.Context())
			wantError(t, err, "")
			if got == nil || got.Value != want {
				t.Errorf("Refresh() = %v, want %q", got, want)
			}
		}
		last = mustAwait(t, f)
		if last.Value != want {
			t.Errorf("Token() has the value %q, want %q", last.Value, want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = f.Refresh(last, quiet).Token(t.Context())
	wantError(t, err, "aad_token_file: ")
}

// A file that does not exist has no mode that exposes it.
func TestNoFileIsNotExposed(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none")} {
		got := (&File{Path: path}).Exposed()
		if got != 0 {
			t.Errorf("Exposed() of %q = %s, want 0", path, got)
		}
	}
}

func TestReadFile(t *testing.T) {
	const refused = "is not a regular file of at most 1 MiB"
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rows := []struct {
		name, path string
		size       int
		check      string // want of CheckFile
		read       string // want of ReadFile
	}{
		{"small", write("small", 5), 5, "", ""},
		{"empty", write("empty", 0), 0, "", ""},
		{"just small enough", write("limit", 1<<20), 1 << 20, "", ""},
		{"too large", write("large", 1<<20+1), 0, refused, refused},
		{"folder", dir, 0, refused, refused},
		{"none", filepath.Join(dir, "none"), 0, "", "none"}, // left to its reader
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			wantError(t, CheckFile(row.path), row.check)
			got, err := ReadFile(row.path)
			wantError(t, err, row.read)
			if len(got) != row.size {
				t.Errorf("ReadFile() returns %d bytes, want %d", len(got), row.size)
			}
		})
	}
}
