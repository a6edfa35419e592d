package main

import (
	"fmt"
	"io"
	"time"
)

// A report is what the two runs of a suite have found.
type report struct {
	suite       suite
	notRun      string // why the suite could not be downloaded; "" if it was
	err         error  // why it could not be patched, built or run
	ran         int    // tests that the run through pgx has run, without those skipped
	passed      [2]int // of pgx and ours
	took        [2]time.Duration
	signIns     int64 // with a token, in the run through this project's driver
	build       time.Duration
	differences []difference
	unstable    []difference // that did not occur again when their tests ran again
}

// A difference is a test whose results differ.
type difference struct {
	test      testID
	pgx, ours string // "pass", "fail", "skip", or "" if the test did not run
	output    string // of the run through this project's driver
	reason    string // of the exception that explains it; "" if none does
}

func (r report) explained() int {
	n := 0
	for _, d := range r.differences {
		if d.reason != "" {
			n++
		}
	}
	return n
}

func (r report) failed() bool {
	return r.err != nil || r.explained() < len(r.differences)
}

func (r report) state() string {
	if r.err != nil {
		return "FAILED: " + firstLine(r.err.Error())
	}
	return "not run: " + r.notRun
}

// print prints everything but the numbers, which the table has.
func (r report) print(out io.Writer) {
	switch {
	case r.err != nil:
		fmt.Fprintln(out, "FAILED:", r.err)
		return
	case r.notRun != "":
		fmt.Fprintln(out, r.state())
		return
	}
	for _, d := range r.unstable {
		fmt.Fprintf(out, "unstable: %s: pgx %s, ours %s; equal when run again\n%s", d.test, d.pgx, d.ours, d.output)
	}
	for _, d := range r.differences {
		if d.reason != "" {
			fmt.Fprintf(out, "explained: %s: pgx %s, ours %s: %s\n", d.test, d.pgx, d.ours, d.reason)
			continue
		}
		fmt.Fprintf(out, "DIFFERENCE: %s: pgx %s, ours %s\n%s", d.test, d.pgx, d.ours, d.output)
	}
}
