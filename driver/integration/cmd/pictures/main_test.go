package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// varies is what differs from one run, day or machine to the next.
var volatile = regexp.MustCompile(`\d{4}-\d\d-\d\d(T[\d:]+Z)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d.]+ *(ms|µs|s\b)|(:|port=)\d{4,5}|PostgreSQL \d[\w.]*( \([^)]*\))?|\s+`)

// text is what is to be read in a picture: the words alone.
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
		words := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(line.Inner, "")
		if b.WriteString(words); len([]rune(words)) < columns || i == 0 {
			b.WriteByte('\n') // else the terminal wrapped it
		}
	}
	return volatile.ReplaceAllString(b.String(), " ")
}

// The pictures show what the commands print today.
func TestPictures(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no pseudo terminals")
	}
	err := record(t.Context(), func(s recording, screen string) error {
		shown, err := os.ReadFile(filepath.Join("..", "..", "pictures", s.name+".svg"))
		if err != nil {
			return err
		}
		if now, then := pictureText(t, draw(s.prompt, screen)), pictureText(t, string(shown)); now != then {
			t.Errorf("%s.svg shows\n%s\nand the command prints\n%s\nso run go run ./driver/integration/cmd/pictures", s.name, then, now)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("é", columns)
	for s, want := range map[string]int{"": 1, "a\n\nb": 3, long: 1, long + "x": 2, "\x1b[31m" + long + "\x1b[0m": 1, long + long + "x": 3} {
		if got := wrap(s); len(got) != want || strings.Join(got, "") != strings.ReplaceAll(s, "\n", "") {
			t.Errorf("%q is wrapped to %q", s, got)
		}
	}
}
