package main

import (
	"encoding/xml"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// volatile matches what differs from run to run, day to day, and between machines. White
// space is everywhere, because the length of a version moves the terminal's line breaks.
var volatile = regexp.MustCompile(`\d{4}-\d\d-\d\d(T[\d:]+Z)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d.]+\s*(ms|µs|s\b)|(:|port=)\d{4,5}|PostgreSQL\s+\d[\d.]*((devel|beta|rc)\d*)?(\s+\([^)]*\))?|\s+`)

// pictureText returns the text in a picture without white space.
func pictureText(t *testing.T, picture string) string {
	t.Helper()
	var v struct {
		Title string `xml:"title"`
		Text  []struct {
			Inner string `xml:",innerxml"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(picture), &v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, line := range v.Text {
		words := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(line.Inner, ""))
		if b.WriteString(words); len([]rune(words)) < columns || i == 0 {
			b.WriteByte('\n') // else the terminal wrapped the line
		}
	}
	return volatile.ReplaceAllString(b.String(), "")
}

// TestPictures checks that the pictures show the current output of the commands.
func TestPictures(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no pseudo terminals")
	}
	need.Program(t, "bash")
	err := record(t.Context(), func(r recording, screen string) error {
		picture, err := os.ReadFile(filepath.Join("..", "..", "pictures", r.name+".svg"))
		if err != nil {
			return err
		}
		got, want := pictureText(t, draw(r.prompt, screen)), pictureText(t, string(picture))
		if got != want {
			t.Errorf("%s.svg is out of date; run go run ./driver/integration/cmd/pictures\noutput:\n%s\npicture:\n%s", r.name, got, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The text of a picture does not depend on the version of PostgreSQL, whose length decides
// where the terminal breaks lines.
func TestPictureText(t *testing.T) {
	text := func(version string) string {
		screen := "sign-in  as \"app\" on 127.0.0.1:5432, PostgreSQL " + version + ", database \"postgres\", in 12 ms, with a certificate of the emulator's and a token\n" +
			strings.Repeat("x", columns-1) + "\nserver   PostgreSQL " + version + "\nrole     type=service"
		return pictureText(t, draw("aadpostgres ping", screen))
	}
	want := text("15.18 (Debian 15.18-0+deb12u1)")
	if !strings.Contains(want, `database"postgres",in,withacertificateoftheemulator'sandatoken`) {
		t.Errorf("text = %s, want the words of the screen", want)
	}
	for n := range 100 {
		for _, version := range []string{"18." + strings.Repeat("1", n), "17.0 (" + strings.Repeat("Debian ", n/7) + strings.Repeat("x", n%7) + ")"} {
			if got := text(version); got != want {
				t.Errorf("text with version %s =\n%s\nwant\n%s", version, got, want)
			}
		}
	}
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("é", columns)
	for _, tt := range []struct {
		name, text string
		lines      int
	}{
		{"empty", "", 1},
		{"newlines", "a\n\nb", 3},
		{"full line", long, 1},
		{"one more character", long + "x", 2},
		{"color codes", "\x1b[31m" + long + "\x1b[0m", 1},
		{"two full lines", long + long + "x", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := wrap(tt.text)
			if len(got) != tt.lines {
				t.Errorf("wrap(%q) = %d lines, want %d", tt.text, len(got), tt.lines)
			}
			if got, want := strings.Join(got, ""), strings.ReplaceAll(tt.text, "\n", ""); got != want {
				t.Errorf("wrap(%q) = %q without line breaks, want %q", tt.text, got, want)
			}
		})
	}
}
