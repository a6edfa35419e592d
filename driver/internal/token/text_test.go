package token

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"
)

// utf16Text encodes a text as Windows programs save it.
func utf16Text(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// A token's file may have been written by a Windows program, or by echo: byte order marks,
// UTF-16 and white space around the token do not matter. What else is beside it is named as
// the given token's fault, not as that of a response.
func TestFileEncodings(t *testing.T) {
	const (
		given = "the given access token holds"
		alone = "pass the token alone"
	)
	rows := []struct{ name, contents, want, hint string }{
		{name: "UTF-8 with a byte order mark", contents: "\ufeffopaque"},
		{name: "UTF-8 with a byte order mark and line breaks", contents: "\ufeffopaque\r\n\r\n"},
		{name: "two byte order marks", contents: "\ufeff\ufeffopaque"},
		{name: "a byte order mark after white space", contents: " \n\ufeffopaque\ufeff\n"},
		{name: "UTF-16, little-endian", contents: utf16Text(binary.LittleEndian, "\ufeffopaque\r\n")},
		{name: "UTF-16, big-endian", contents: utf16Text(binary.BigEndian, "\ufeffopaque\r\n")},
		{name: "UTF-16, little-endian, cut within a unit", contents: utf16Text(binary.LittleEndian, "\ufeffopaque") + "x"},
		{name: "line break of another system", contents: "opaque\u2028\u0085\v\f"},
		{name: "UTF-16 without a byte order mark", contents: utf16Text(binary.LittleEndian, "opaque"), want: given + " characters", hint: alone},
		{name: "line break inside", contents: "opa\nque", want: given + " quotes, spaces", hint: alone},
		{name: "byte order mark inside", contents: "opa\ufeffque", want: given + " characters", hint: alone},
		{name: "zero bytes at its end", contents: "opaque\x00", want: given + " characters", hint: alone},
		{name: "empty", contents: "", want: "is empty: no access token is given", hint: "write the token into that file"},
		{name: "a byte order mark alone", contents: "\ufeff\r\n", want: "is empty: no access token is given", hint: "write the token into that file"},
		{name: "UTF-16, a byte order mark alone", contents: "\xff\xfe", want: "is empty", hint: "write the token into that file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(row.contents), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := await(t.Context(), &File{Path: path})
			wantError(t, err, row.want)
			if row.want != "" {
				wantHint(t, err, row.hint)
				return
			}
			if got == nil || got.Value != "opaque" {
				t.Errorf("Token() = %v, want the value %q", got, "opaque")
			}
		})
	}
}

// What cannot be a federated token is named before it is sent, and what may be one
// afterwards.
func TestCheckAssertion(t *testing.T) {
	const (
		encoding = "is not in UTF-8 without a byte order mark"
		beside   = "holds white space, quotes or braces beside the token"
	)
	dir := t.TempDir()
	rows := []struct{ name, contents, want, strict string }{
		{"token", "a.b.c", "", ""},
		{"line break at its end", "a.b.c\n", "", beside},
		{"quotes", `"a.b.c"`, "", beside},
		{"JSON", `{"value":"a.b.c"}`, "", beside},
		{"empty", "", "is empty", "is empty"},
		{"white space", " \r\n", "is empty", "is empty"},
		{"byte order mark", "\ufeffa.b.c", encoding, encoding},
		{"byte order mark alone", "\ufeff", "is empty", "is empty"},
		{"UTF-16", utf16Text(binary.LittleEndian, "\ufeffa.b.c"), encoding, encoding},
		{"UTF-16, big-endian", utf16Text(binary.BigEndian, "\ufeffa.b.c"), encoding, encoding},
		{"UTF-16 without a byte order mark", utf16Text(binary.LittleEndian, "a.b.c"), encoding, encoding},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(dir, "token")
			if err := os.WriteFile(path, []byte(row.contents), 0o600); err != nil {
				t.Fatal(err)
			}
			wantError(t, CheckAssertion(path, false), row.want)
			wantError(t, CheckAssertion(path, true), row.strict)
		})
	}
	t.Run("none", func(t *testing.T) { wantError(t, CheckAssertion(filepath.Join(dir, "none"), false), "does not exist") })
	t.Run("folder", func(t *testing.T) { wantError(t, CheckAssertion(dir, false), "cannot be read") })
}
