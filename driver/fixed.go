package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// fixed presents a token that somebody else fetched: the one of a file, read for
// every connection because others replace it, or the one in the password's place.
type fixed struct {
	file   string
	value  string
	maxAge time.Duration
	scope  string
	warned atomic.Bool
}

func (f *fixed) get(log *slog.Logger) (*token, *flight) {
	t, err := f.read()
	if mode := f.exposed(); mode != 0 && !f.warned.Swap(true) {
		log.Warn("others may read or replace the token's file", slog.String("file", f.file), slog.String("mode", mode.String()))
	}
	if err != nil {
		return nil, landed(nil, err)
	}
	return t, nil
}

func (f *fixed) newer(_ *token, log *slog.Logger) (*token, *flight) { return f.get(log) }

func (f *fixed) read() (*token, error) {
	value := f.value
	if f.file != "" {
		b, err := readFile(f.file)
		if err != nil {
			return nil, &Error{Step: StepToken, Err: err, Hint: "check aad_token_file"}
		}
		value = string(bytes.TrimSpace(b))
	}
	if value == "" {
		return nil, &Error{Step: StepToken, Err: errors.New("no access token is given"), Hint: "set aad_token_file, or put the token in the password's place (PGPASSWORD)"}
	}
	if strings.ContainsAny(value, " \t\r\n\"'{}") {
		return nil, &Error{Step: StepToken, Err: errors.New("what is given as access token holds quotes, spaces or braces"),
			Hint: "give the token alone, as in az account get-access-token --query accessToken --output tsv"}
	}
	now := time.Now().Round(0)
	end := decode(value).expires()
	if end.IsZero() {
		end = now.Add(time.Hour) // opaque: the server knows
	}
	t := newToken(azcore.AccessToken{Token: value, ExpiresOn: end}, now, f.maxAge)
	if err := t.fits(f.scope); err != nil {
		return nil, err
	}
	switch {
	case !now.Before(end):
		return nil, &Error{Step: StepToken, Err: fmt.Errorf("the access token expired at %s", end.UTC().Format(time.RFC3339)), Hint: "fetch a new one"}
	case !t.live(now):
		return nil, &Error{Step: StepToken, Err: fmt.Errorf("the access token is %s old", now.Sub(t.issued).Round(time.Second)), Hint: "fetch a new one, or raise aad_token_max_age"}
	}
	return t, nil
}

// exposed returns the file's mode if others than its owner and group can read it, or
// others than its owner replace its contents, and 0 if not. It is no error:
// Kubernetes mounts secrets so. Windows has no such modes.
func (f *fixed) exposed() fs.FileMode {
	info, err := os.Stat(f.file)
	if f.file == "" || err != nil || runtime.GOOS == "windows" || info.Mode()&0o027 == 0 {
		return 0
	}
	return info.Mode()
}

const mostFile = 1 << 20

// saneFile refuses a file that would block, or never end, whoever reads it. One that
// is not there is left to whoever wants it.
func saneFile(path string) error {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > mostFile) {
		return fmt.Errorf("%s is not a regular file of at most 1 MiB", path)
	}
	return nil
}

// readFile reads a file of sane size, not a pipe that would block.
func readFile(path string) ([]byte, error) {
	if err := saneFile(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, mostFile))
}
