package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// testTimeout bounds one run of one package.
const testTimeout = 15 * time.Minute

// A binary is a package's test binary.
type binary struct{ pkg, dir, file string }

// runSuite runs a suite twice and compares. The tests that differ run once more, alone,
// because some depend on how fast the machine is.
func (l *lab) runSuite(ctx context.Context, s suite, exceptions []exception) (r report) {
	r.suite = s
	l.azure.Faults.TokenLife(cmp.Or(s.tokenLife, 2*time.Second))
	dir, err := l.prepare(ctx, s)
	if errors.Is(err, errDownload) {
		r.notRun = err.Error()
		return r
	}
	if err != nil {
		r.err = err
		return r
	}
	began := time.Now()
	binaries, err := l.build(ctx, s, dir)
	r.build = time.Since(began)
	if err != nil {
		r.err = err
		return r
	}
	var results [2]map[testID]result
	for i := range results {
		began := time.Now()
		signIns := l.azure.Counts().SignIns
		if results[i], err = l.runOnce(ctx, s, binaries, i, ""); err != nil {
			r.err = err
			return r
		}
		r.took[i] = time.Since(began)
		r.signIns = l.azure.Counts().SignIns - signIns
		ran, passed := count(results[i])
		r.passed[i] = passed
		if i == 0 {
			r.ran = ran
		}
	}
	if r.passed[0] == 0 {
		r.err = fmt.Errorf("no test passes through pgx; see %s, with -keep", l.log(s, "pgx"))
		return r
	}
	if r.signIns == 0 {
		r.err = errors.New("nobody has signed in with a token; correct the edits")
		return r
	}
	r.differences = compare(results[0], results[1])
	explain(s.name, r.differences, exceptions)
	r.err = l.retry(ctx, s, binaries, &r, exceptions)
	return r
}

// build builds the test binaries of a suite, which both runs use.
func (l *lab) build(ctx context.Context, s suite, dir string) ([]binary, error) {
	var binaries []binary
	for i, pkg := range s.packages {
		b := binary{pkg: pkg, dir: filepath.Join(dir, filepath.FromSlash(pkg)), file: filepath.Join(l.dir, s.name, fmt.Sprint(i, ".test"))}
		if _, err := l.goCommand(ctx, dir, "test", "-c", "-vet=off", "-o", b.file, "./"+pkg); err != nil {
			return nil, err
		}
		binaries = append(binaries, b)
	}
	return binaries, nil
}

var runNames = [2]string{"pgx", "ours"}

// runOnce runs the tests that match only, or all. run is an index of runNames.
func (l *lab) runOnce(ctx context.Context, s suite, binaries []binary, run int, only string) (map[testID]result, error) {
	results := map[testID]result{}
	dsns, err := l.dsns(s)
	if err != nil {
		return nil, err
	}
	env, err := l.environ(s, dsns, run)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(l.log(s, runNames[run]), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for _, b := range binaries {
		if err := l.newDatabase(ctx, s); err != nil {
			return nil, err
		}
		args := []string{"tool", "test2json", "-t", b.file, "-test.v=test2json", "-test.timeout=" + testTimeout.String()}
		for _, arg := range s.args {
			args = append(args, fill(arg, dsns, run))
		}
		if only != "" {
			args = append(args, "-test.run="+only)
		}
		ctx, cancel := context.WithTimeout(ctx, testTimeout+time.Minute)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = b.dir
		cmd.Env = env
		cmd.WaitDelay = 10 * time.Second // test2json does not end its test binary when it is killed
		var out bytes.Buffer
		cmd.Stdout = &out
		cmd.Stderr = log
		err := cmd.Run()
		cancel()
		if _, logErr := log.Write(out.Bytes()); logErr != nil {
			return nil, logErr
		}
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // a test that fails is a result
			return nil, err
		}
		if err := readEvents(results, b.pkg, out.Bytes()); err != nil {
			return nil, err
		}
	}
	return results, ctx.Err()
}

// retry runs the tests of unexplained differences again. It moves a difference to
// r.unstable if nothing differs then in its test.
func (l *lab) retry(ctx context.Context, s suite, binaries []binary, r *report, exceptions []exception) error {
	var names []string
	for _, d := range r.differences {
		if d.reason == "" {
			names = append(names, regexp.QuoteMeta(d.test.top().name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	only := "^(" + strings.Join(names, "|") + ")$" + s.subtests()
	var again [2]map[testID]result
	for i := range again {
		var err error
		if again[i], err = l.runOnce(ctx, s, binaries, i, only); err != nil {
			return err
		}
	}
	remaining := compare(again[0], again[1])
	explain(s.name, remaining, exceptions)
	r.differences, r.unstable = confirm(r.differences, remaining)
	return nil
}

// subtests returns what a suite's arguments select below the names of tests.
func (s suite) subtests() string {
	for _, arg := range s.args {
		if _, sub, ok := strings.Cut(arg, "/"); ok && strings.HasPrefix(arg, "-test.run=") {
			return "/" + sub
		}
	}
	return ""
}
