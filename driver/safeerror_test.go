package driver

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A usage is what a function took.
type usage struct {
	allocated uint64 // bytes, in the whole process
	took      time.Duration
}

func measure(f func()) usage {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	f()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return usage{after.TotalAlloc - before.TotalAlloc, took}
}

// check checks that the function took no more than that.
func (u usage) check(t *testing.T, allocated uint64, took time.Duration) {
	t.Helper()
	if u.allocated > allocated {
		t.Errorf("allocated %d KiB, want at most %d KiB", u.allocated>>10, allocated>>10)
	}
	if u.took > took {
		t.Errorf("took %s, want at most %s", u.took, took)
	}
}

// checkSafeError checks that err is an *Error with want in it, and that it is safe to
// print: one printable line without a secret, also of each error that it wraps.
func checkSafeError(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("error = %v, want an *Error", err)
		return
	}
	line := err.Error()
	if !strings.Contains(line, want) {
		t.Errorf("error = %v, want %q in it", err, want)
		return
	}
	for _, form := range printedForms(err) {
		checkNoSecret(t, form.name, form.text)
	}
	for _, wrapped := range unwrapAll(err) {
		checkNoSecret(t, fmt.Sprintf("wrapped %T", wrapped), wrapped.Error())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		checkNoSecret(t, "pgx's error", fmt.Sprintf("%#v", *pg))
	}
	checkPrintable(t, "error", line, 2000)
	if strings.Contains(line, "%!") {
		t.Errorf("error = %q, want no mistake of formatting in it", line)
	}
}

// checkNoSecret checks that text holds no secret of the tests.
func checkNoSecret(t *testing.T, name, text string) {
	t.Helper()
	if strings.Contains(text, entratest.Marker) {
		t.Errorf("%s = %.500q, want no secret in it", name, text)
	}
}

// checkPrintable checks that text is one line of at most maxBytes, all of it printable.
func checkPrintable(t *testing.T, name, text string, maxBytes int) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s = %.300q, want it printable, which it is not at %d", name, text, i)
	}
	if len(text) > maxBytes {
		t.Errorf("%s has %d bytes, want at most %d", name, len(text), maxBytes)
	}
}

// unwrapAll lists err and all that it wraps, as error reporters do.
func unwrapAll(err error) []error {
	all := []error{err}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if err := w.Unwrap(); err != nil {
			all = append(all, unwrapAll(err)...)
		}
	case interface{ Unwrap() []error }:
		for _, err := range w.Unwrap() {
			all = append(all, unwrapAll(err)...)
		}
	}
	return all
}
