package token

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf16"
)

// byteOrderMark may begin a text that a Windows program has saved.
const byteOrderMark = "\ufeff"

// decode returns a text that may begin with a byte order mark, which it removes. PowerShell
// redirects output in UTF-16.
func decode(b []byte) string {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case len(b) >= 2 && b[0] == 0xff && b[1] == 0xfe:
	case len(b) >= 2 && b[0] == 0xfe && b[1] == 0xff:
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(string(b), byteOrderMark)
	}
	var units []uint16
	for b = b[2:]; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// WithoutByteOrderMark returns a text that may begin with a byte order mark, in UTF-8 and
// without it. Other bytes are returned as they are.
func WithoutByteOrderMark(b []byte) []byte { return []byte(decode(b)) }

// Trim returns s without white space and byte order marks around it.
func Trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}

// CheckAssertion says why the file cannot hold a federated token, which is sent as it is.
// With strict, white space and quotes are a reason too: an authority may accept the former.
func CheckAssertion(path string, strict bool) error {
	b, err := ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the federated token's file %s does not exist", path)
	}
	if err != nil {
		return fmt.Errorf("the federated token's file cannot be read: %w", err)
	}
	text := decode(b)
	switch {
	case Trim(text) == "":
		return fmt.Errorf("the federated token's file %s is empty", path)
	case text != string(b) || strings.ContainsRune(text, 0):
		return fmt.Errorf("the federated token's file %s is not in UTF-8 without a byte order mark", path)
	case strict && strings.ContainsAny(text, " \t\r\n\"'{}"):
		return fmt.Errorf("the federated token's file %s holds white space, quotes or braces beside the token", path)
	}
	return nil
}
