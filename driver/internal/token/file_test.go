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
	const m = time.Minute
	rows := []struct {
		name   string
		value  string
		age    time.Duration // of a JWT, if value is ""
		maxAge time.Duration
		want   string
		hint   string
	}{
		{name: "opaque", value: "opaque"},
		{name: "a JWT"},
		{name: "a JWT of half an hour", age: 30 * m},
		{name: "young enough", age: 9 * m, maxAge: 10 * m},
		{name: "in quotes", value: `"opaque"`, want: "the given access token holds quotes, spaces or braces", hint: "pass the token alone"},
		{name: "of two lines", value: "opaque\n", want: "the given access token holds quotes, spaces or braces", hint: "pass the token alone"},
		{name: "JSON", value: "{accessToken:opaque}", want: "the given access token holds quotes, spaces or braces", hint: "pass the token alone"},
		{name: "expired", age: 60 * m, want: "the given access token expired at 2000-01-01T01:00:00Z", hint: "fetch a new one"},
		{name: "too old", age: 11 * m, maxAge: 10 * m, want: "the given access token is 11m0s old", hint: "raise aad_token_max_age"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour) // for tokens that were issued before
				value := row.value
				if value == "" {
					value = issued(time.Now().Add(-row.age))
				}
				s := &Static{Value: value, MaxAge: row.maxAge}
				got, err := await(t.Context(), s)
				again, errAgain := s.Refresh(got, quiet).Token(t.Context())
				wantError(t, err, row.want)
				wantError(t, errAgain, row.want)
				if row.want != "" {
					wantHint(t, err, row.hint)
					return
				}
				if got == nil || got.Value != value {
					t.Errorf("Token() = %v, want the value", got)
				}
				if again == nil || again.Value != value {
					t.Errorf("Refresh() = %v, want the value: there is no other", again)
				}
			})
		})
	}
}

func TestNoTokenIsGiven(t *testing.T) {
	_, err := await(t.Context(), &Static{})
	wantError(t, err, "no access token is given")
	wantHint(t, err, "set aad_token_file")
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
