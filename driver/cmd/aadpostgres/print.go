package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

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
	e := json.NewEncoder(os.Stdout)
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
