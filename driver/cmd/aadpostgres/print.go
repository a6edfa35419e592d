package main

import (
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

// colours of the marks, for a terminal that wants them.
var colours = map[driver.Status]string{driver.StatusOK: "\x1b[32m", driver.StatusWarn: "\x1b[33m", driver.StatusFail: "\x1b[31m"}

// mark is a status as people see it: a word, so that it can be searched for and
// read aloud.
func mark(status driver.Status) string {
	word := string(status) + strings.Repeat(" ", len(driver.StatusFail)-len(status))
	if !coloured(os.Stdout) {
		return word
	}
	return colours[status] + word + "\x1b[0m"
}

func coloured(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// ms is a duration as people compare it.
func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
