package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
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
}

func (f *fixed) get(*slog.Logger) (*token, *flight) {
	t, err := f.read()
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
	if err := t.meantFor(f.scope); err != nil {
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

// readFile reads a file of sane size, not a pipe that would block.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	const most = 1 << 20
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is not a regular file of at most 1 MiB", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
