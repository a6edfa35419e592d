package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

// An output is standard output. It keeps the first error.
type output struct {
	wrote bool
	err   error
}

// stdout receives all that the commands print, except errors.
var stdout = &output{}

func (o *output) Write(p []byte) (int, error) {
	o.wrote = true
	n, err := os.Stdout.Write(p)
	o.keep(err)
	return n, o.err
}

// close returns why not everything was written. Some file systems say it only when the
// file is closed.
func (o *output) close() error {
	if o.wrote {
		o.keep(os.Stdout.Close())
	}
	return o.err
}

func (o *output) keep(err error) {
	if err == nil || o.err != nil {
		return
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	o.err = fmt.Errorf("aadpostgres: standard output cannot be written: %w; free space on its device, or write elsewhere", err)
}

// label returns status as a word of fixed width, in color on a terminal. The word is
// always there: it can be searched for and read aloud, and some people see no color.
func label(status driver.Status) string {
	word := fmt.Sprintf("%-*s", len(driver.StatusFail), status)
	if !colored(os.Stdout) {
		return word
	}
	return color(status) + word + "\x1b[0m"
}

// color returns the escape sequence that begins a status: green, yellow or red.
func color(status driver.Status) string {
	switch status {
	case driver.StatusOK:
		return "\x1b[32m"
	case driver.StatusWarn:
		return "\x1b[33m"
	default:
		return "\x1b[31m"
	}
}

// colored reports whether f is a terminal that shows colors. https://no-color.org
func colored(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printJSON(v any) error {
	e := json.NewEncoder(stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// round drops the digits of d that differ from run to run.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
