package redact_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// signature ends each JWT of these tests, so that a leak can be found.
const signature = "s3cr3t"

const shortJWT = "eyJhbGciOiJub25lIn0.e30.sig"

func TestText(t *testing.T) {
	rows := []struct {
		name    string
		text    string
		secrets []string
		want    string
	}{
		{"no secret", "plain", nil, "plain"},
		{"a secret", "x opaque-secret y", []string{"opaque-secret"}, "x xxxxx y"},
		{"a secret twice", "abcdef abcdef", []string{"abcdef"}, "xxxxx xxxxx"},
		{"several secrets", "first-secret, second-secret", []string{"first-secret", "second-secret"}, "xxxxx, xxxxx"},
		{"a secret of six bytes", "abcdef", []string{"abcdef"}, "xxxxx"},
		{"too short for a secret", "plain abcde", []string{"", "ain", "abcde"}, "plain abcde"},
		{"a JWT that nobody named", "x " + shortJWT + " y", nil, "x xxxxx y"},
		{"the beginning of a JWT", "x eyJhbGciOiJ y", nil, "x xxxxx y"},
		{"too short for a JWT", "eyJ eyJhbGci", nil, "eyJ eyJhbGci"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.Text(row.text, row.secrets...)
			if got != row.want {
				t.Errorf("Text(%q, %q) = %q, want %q", row.text, row.secrets, got, row.want)
			}
		})
	}
}

// An error that holds a secret keeps its redacted text alone. Others stay as they are.
func TestError(t *testing.T) {
	plain := errors.New("plain")
	holding := errors.New("x opaque-secret " + shortJWT + " y")
	rows := []struct {
		name      string
		err       error
		secret    string
		want      string
		unchanged bool
	}{
		{"without a secret", plain, "opaque-secret", "plain", true},
		{"too short for a secret", plain, "ain", "plain", true},
		{"with a secret and a JWT", holding, "opaque-secret", "x xxxxx xxxxx y", false},
		{"wrapping one with a secret", fmt.Errorf("outside: %w", holding), "opaque-secret", "outside: x xxxxx xxxxx y", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.Error(row.err, row.secret)
			if got.Error() != row.want {
				t.Errorf("Error(%q) = %q, want %q", row.err, got, row.want)
			}
			if (got == row.err) != row.unchanged {
				t.Errorf("Error(%q) returns its argument: got %t, want %t", row.err, got == row.err, row.unchanged)
			}
			if !row.unchanged && errors.Unwrap(got) != nil {
				t.Errorf("Unwrap() = %q, want nil: the cause holds the secret", errors.Unwrap(got))
			}
		})
	}
}

// functions are those that print text from elsewhere.
var functions = []struct {
	name  string
	print func(string) string
}{
	{"Line", redact.Line},
	{"Printable", redact.Printable},
}

// What looks like a token is not printed, wherever the text is cut.
func TestJWTsAreMasked(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("abc", 1000) + "." + signature
	rows := []struct {
		name, text string
		cut        bool // the mask may be cut off
	}{
		{"alone", token, false},
		{"amid text", "a " + token + " b", false},
		{"where a line is cut", strings.Repeat("x", 1990) + " " + token, true},
		{"where a text is cut", strings.Repeat("x", 3990) + " " + token, true},
		{"after spaces", strings.Repeat(" ", 1990) + token, true},
		{"in JSON", `{"t":"` + token + `"}`, false},
		{"cut short", token[:30], false},
		{"amid control characters", "\x1b" + token + "\n", false},
	}
	for _, row := range rows {
		for _, f := range functions {
			t.Run(row.name+"/"+f.name, func(t *testing.T) {
				got := f.print(row.text)
				if strings.Contains(got, "eyJ") {
					t.Errorf("%s(%.50q) = %.200q, want no beginning of a JWT", f.name, row.text, got)
				}
				if strings.Contains(got, signature) {
					t.Errorf("%s(%.50q) = %.200q, want no end of a JWT", f.name, row.text, got)
				}
				if !row.cut && !strings.Contains(got, redact.Mask) {
					t.Errorf("%s(%.50q) = %.200q, want %q in it", f.name, row.text, got, redact.Mask)
				}
			})
		}
	}
}

func TestOtherTextIsNotMasked(t *testing.T) {
	for _, text := range []string{"eyJ", "keyJob eyJoe", "say eyJ. now"} {
		for _, f := range functions {
			t.Run(text+"/"+f.name, func(t *testing.T) {
				got := f.print(text)
				if got != text {
					t.Errorf("%s(%q) = %q, want it unchanged", f.name, text, got)
				}
			})
		}
	}
}

func TestLine(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"several lines", "a\r\n\tb  c\n", "a b c"},
		{"escape sequence", "a\x1b[31mb", "a [31mb"},
		{"mark that changes the direction", "a\u202eb", "a b"},
		{"not UTF-8", "a\xffb", "a?b"},
		{"just short enough", strings.Repeat("ä", 500), strings.Repeat("ä", 500)},
		{"too long", strings.Repeat("ä", 501), strings.Repeat("ä", 500) + "..."},
		{"far too long", strings.Repeat("x", 1<<20), strings.Repeat("x", 500) + "..."},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.Line(row.text)
			if got != row.want {
				t.Errorf("Line(%.50q) = %q, want %q", row.text, got, row.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"several lines", "a\r\nb", "a  b"},
		{"escape sequence", "a\x1b[31mb", "a [31mb"},
		{"mark that changes the direction", "a\u202eb", "a b"},
		{"not UTF-8", "a\xffb", "a?b"},
		{"just short enough", strings.Repeat("x", 4000), strings.Repeat("x", 4000)},
		{"too long", strings.Repeat("x", 4001), strings.Repeat("x", 4000) + "..."},
		{"cut within a character", strings.Repeat("x", 3999) + "ä", strings.Repeat("x", 3999) + "?..."},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.Printable(row.text)
			if got != row.want {
				t.Errorf("Printable(%.50q) = %q, want %q", row.text, got, row.want)
			}
		})
	}
}

func TestFirstLine(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"one line", "a failure", "a failure"},
		{"full stop at the end", "a failure.", "a failure"},
		{"several lines", " a failure \r\nsecond\nthird", "a failure"},
		{"the first line ends in a colon", "a failure:\n  its reason.\nmore", "a failure: its reason"},
		{"colon and no second line", "a failure:", "a failure"},
		{"link to azidentity's guide", "a failure. To troubleshoot, visit https://aka.ms/azsdk", "a failure"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := redact.FirstLine(row.text)
			if got != row.want {
				t.Errorf("FirstLine(%q) = %q, want %q", row.text, got, row.want)
			}
		})
	}
}
