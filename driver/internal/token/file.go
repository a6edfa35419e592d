package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// A Static presents one token that somebody else requested.
type Static struct {
	Value  string
	Scope  string
	MaxAge time.Duration // 0: until the token expires

	renewals Renewals
}

// Renewals implements [Source].
func (s *Static) Renewals() *Renewals { return &s.renewals }

// Token implements [Source].
func (s *Static) Token(Observer) (*Token, *Call) {
	t, err := s.read()
	if err != nil {
		return nil, completed(nil, &Error{Err: err})
	}
	return t, nil
}

// Refresh implements [Source]. There is no other token.
func (s *Static) Refresh(*Token, Observer) *Call { return refreshed(s.read()) }

func (s *Static) read() (*Token, error) { return present(s.Value, s.Scope, s.MaxAge) }

// A File presents the token in a file, which it reads each time because others replace
// it.
type File struct {
	Path   string
	Scope  string
	MaxAge time.Duration // 0: until the token expires

	renewals Renewals
	warned   atomic.Bool
}

// Renewals implements [Source].
func (f *File) Renewals() *Renewals { return &f.renewals }

// Token implements [Source].
func (f *File) Token(o Observer) (*Token, *Call) {
	f.warn(o)
	t, err := f.read()
	if err != nil {
		return nil, completed(nil, &Error{Err: err})
	}
	return t, nil
}

// Refresh implements [Source]: somebody may have replaced the file.
func (f *File) Refresh(_ *Token, o Observer) *Call {
	f.warn(o)
	return refreshed(f.read())
}

func refreshed(t *Token, err error) *Call {
	if err != nil {
		return completed(nil, &Error{Err: err})
	}
	return completed(t, nil)
}

func (f *File) read() (*Token, error) {
	b, err := ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("aad_token_file: %w", err)
	}
	value := Trim(decode(b))
	if len(value) == 0 {
		return nil, fmt.Errorf("aad_token_file: %s is empty: %w", f.Path, errNoToken)
	}
	return present(value, f.Scope, f.MaxAge)
}

// warn tells o once if others may read or replace the file.
func (f *File) warn(o Observer) {
	mode := f.Exposed()
	if mode != 0 && !f.warned.Swap(true) {
		o.TokenFileExposed(f.Path, mode)
	}
}

// Exposed returns the file's mode if others than its owner and group can read it, or
// others than its owner can replace its contents, and 0 if not. Such a mode is not an
// error: Kubernetes mounts secrets with it. Windows has no such modes.
func (f *File) Exposed() fs.FileMode {
	if runtime.GOOS == "windows" {
		return 0
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Mode()&0o027 == 0 {
		return 0
	}
	return info.Mode()
}

var errNoToken = errors.New("no access token is given")

// present makes a token of a value that somebody else requested.
func present(value, scope string, maxAge time.Duration) (*Token, error) {
	if value == "" {
		return nil, errNoToken
	}
	if strings.ContainsAny(value, " \t\r\n\"'{}") {
		return nil, errors.New("the given access token holds quotes, spaces or braces")
	}
	if err := checkFormat("the given access token", value); err != nil {
		return nil, err
	}
	now := wallClock()
	expiresOn := ParseClaims(value).ExpiresTime()
	if expiresOn.IsZero() {
		expiresOn = now.Add(time.Hour) // it is opaque: the server knows
	}
	t := New(Response{Value: value, ExpiresOn: expiresOn}, now, maxAge)
	if err := t.check(scope); err != nil {
		return nil, err
	}
	if !now.Before(expiresOn) {
		return nil, fmt.Errorf("the given access token expired at %s", expiresOn.UTC().Format(time.RFC3339))
	}
	if !t.Valid(now) {
		return nil, fmt.Errorf("the given access token is %s old", now.Sub(t.IssuedAt).Round(time.Second))
	}
	return t, nil
}

const maxFileBytes = 1 << 20

// CheckFile refuses a file that would block its reader, or never end. A file that does
// not exist is left to its reader.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFileBytes) {
		return fmt.Errorf("%s is not a regular file of at most 1 MiB", path)
	}
	return nil
}

// ReadFile reads a regular file of at most 1 MiB.
func ReadFile(path string) ([]byte, error) {
	if err := CheckFile(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes))
}
