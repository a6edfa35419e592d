package integration

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var update = flag.Bool("update", false, "write testdata/failures")

// A failure is one row: how it is caused, and how its hint is followed.
type failure struct {
	name   string
	dsn    string                          // params for fixture.dsn
	cause  string                          // the first line of the golden file
	single bool                            // on single server
	token  func(fx *fixture) string        // in place of the password; nil: none
	setup  func(t *testing.T, fx *fixture) // causes the failure; nil: the DSN does
	root   func(t *testing.T) []byte       // contents of sslrootcert; nil: the emulator's root certificate
	file   func(t *testing.T) []byte       // contents of {file} in the DSN
	// Exactly one of these is set. fix follows the hint and returns a DSN that works.
	// restore removes a fault that no client can fix.
	fix     fixFunc
	restore func(t *testing.T, fx *fixture)
}

type fixFunc func(t *testing.T, fx *fixture, dsn string, e *driver.Error) string

// TestFailures compares what the error and the doctor say about each failure with
// testdata/failures. Then it follows the hint: the connection must succeed.
func TestFailures(t *testing.T) {
	flexible := newFixture(t)
	single := newFixture(t, emulator.WithSingleServer())
	files := map[string]bool{}
	failedChecks := map[string]bool{}
	ran := 0
	for _, f := range failures {
		if files[f.goldenFile()] {
			t.Fatalf("row %q exists twice", f.name)
		}
		if (f.fix == nil) == (f.restore == nil) {
			t.Fatalf("row %q needs either fix or restore", f.name)
		}
		files[f.goldenFile()] = true
		fx := flexible
		if f.single {
			fx = single
		}
		t.Run(f.name, func(t *testing.T) {
			ran++
			failedChecks[f.run(t, fx)] = true
		})
	}
	for _, check := range []string{"options", "cloud", "credential", "token", "claims", "user", "dns", "tcp", "tls", "sign-in"} {
		if ran == len(failures) && !failedChecks[check] { // -run may have selected some rows
			t.Errorf("no row fails the check %s", check)
		}
	}
	golden, err := filepath.Glob("testdata/failures/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range golden {
		if !files[file] {
			t.Errorf("%s belongs to no row", file)
		}
	}
}

var nonAlphanumeric = regexp.MustCompile(`[^a-z0-9]+`)

// goldenFile returns the path of the row's golden file. Its name is valid on every system.
func (f failure) goldenFile() string {
	name := strings.ReplaceAll(strings.ToLower(f.name), "'", "")
	return filepath.Join("testdata", "failures", nonAlphanumeric.ReplaceAllString(name, "-")+".txt")
}

// run tests one row and returns the check at which the doctor ended.
func (f failure) run(t *testing.T, fx *fixture) string {
	fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
	fx.noIMDS = false
	fx.opts = []driver.Option{fx.newTransport(), resolveToEmulator}
	if f.token != nil {
		t.Setenv("PGPASSWORD", f.token(fx))
	}
	if f.setup != nil {
		f.setup(t, fx)
	}
	dsn := fx.dsn(f.dsn)
	if f.root != nil {
		dsn = strings.ReplaceAll(dsn, fx.az.CertFile(), fx.file(t, "root.pem", f.root(t)))
	}
	if f.file != nil {
		dsn = strings.ReplaceAll(dsn, "{file}", fx.file(t, "file", f.file(t)))
	}
	_, err := connect(t, dsn, fx.opts...)
	e := asError(t, err)
	doctor, last := runDoctor(t, dsn, fx.opts...)
	if last.Status != driver.StatusFail {
		t.Errorf("the doctor's last check = %s %s, want %s:\n%s", last.Status, last.Name, driver.StatusFail, doctor)
	}
	text := fx.normalize(fmt.Sprintf("%s\n\n%s\n\n%s\n\n%s", f.cause, dsn, err, doctor))
	for _, secret := range []string{"eyJ", fx.app.Secret} {
		if strings.Contains(err.Error()+doctor, secret) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	compareGolden(t, f.goldenFile(), text)
	fx.opts[0] = fx.newTransport() // the failed token request is cached for a second
	if f.fix != nil {
		dsn = f.fix(t, fx, dsn, e)
	} else {
		f.restore(t, fx)
	}
	if _, err := connect(t, dsn, fx.opts...); err != nil {
		t.Errorf("connect() = %v after following the hint %q, want success", err, e.Hint)
	}
	return last.Name
}

// runDoctor returns what the doctor prints, and its last check.
func runDoctor(t *testing.T, dsn string, opts ...driver.Option) (text string, last driver.Check) {
	t.Helper()
	var b strings.Builder
	for c := range driver.Diagnose(t.Context(), dsn, opts...) {
		fmt.Fprintf(&b, "%-4s  %-10s %s\n", c.Status, c.Name, c.Found)
		if c.Hint != "" {
			fmt.Fprintf(&b, "      %-10s -> %s\n", "", c.Hint)
		}
		last = c
	}
	return b.String(), last
}

// compareGolden compares got with a golden file, or writes it with -update.
func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err == nil && string(want) == got {
		return
	}
	if !*update {
		t.Errorf("%s (%v) differs; if this is right, run with -update\ngot:\n%s\nwant:\n%s", file, err, got, want)
		return
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func asError(t *testing.T, err error) *driver.Error {
	t.Helper()
	e, ok := err.(*driver.Error)
	if !ok {
		t.Fatalf("error = %T %v, want a *driver.Error", err, err)
	}
	return e
}
