package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A testID names a test of a suite.
type testID struct{ pkg, name string }

func (id testID) String() string { return id.pkg + "." + id.name }

// parent returns the test that id is a subtest of, if any.
func (id testID) parent() (testID, bool) {
	i := strings.LastIndex(id.name, "/")
	return testID{id.pkg, id.name[:max(i, 0)]}, i >= 0
}

// top returns the test that id is, or is a subtest of.
func (id testID) top() testID {
	name, _, _ := strings.Cut(id.name, "/")
	return testID{id.pkg, name}
}

// A result is what a run says of a test.
type result struct {
	action string // "pass", "fail" or "skip"; "" if the test did not end
	output string
}

// readEvents adds the results in the output of test2json to results.
func readEvents(results map[testID]result, pkg string, events []byte) error {
	d := json.NewDecoder(bytes.NewReader(events))
	for d.More() {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); err != nil {
			return err
		}
		if e.Test == "" {
			continue
		}
		id := testID{pkg, e.Test}
		r := results[id]
		switch e.Action {
		case "pass", "fail", "skip":
			r.action = e.Action
		case "output":
			r.output += e.Output
		}
		results[id] = r
	}
	return nil
}

// compare returns the tests whose results differ. A test that differs only because its
// subtests do is not among them, and neither are the subtests of one that did not run.
func compare(pgx, ours map[testID]result) []difference {
	differs := map[testID]bool{}
	for _, results := range []map[testID]result{pgx, ours} {
		for id := range results {
			differs[id] = pgx[id].action != ours[id].action
		}
	}
	byChild := map[testID]bool{}
	for id, different := range differs {
		if parent, ok := id.parent(); ok && different && pgx[id].action != "" && ours[id].action != "" {
			byChild[parent] = true
		}
	}
	var found []difference
	for id, different := range differs {
		parent, isChild := id.parent()
		missing := pgx[id].action == "" || ours[id].action == ""
		if !different || byChild[id] || (isChild && missing && differs[parent]) {
			continue
		}
		found = append(found, difference{test: id, pgx: pgx[id].action, ours: ours[id].action, output: ours[id].output})
	}
	slices.SortFunc(found, func(a, b difference) int { return cmp.Compare(a.test.String(), b.test.String()) })
	return found
}

// confirm divides the differences of a first run into those that are explained or whose
// test differed again, and those that did not occur again.
func confirm(first, again []difference) (confirmed, unstable []difference) {
	differs := map[testID]bool{}
	for _, d := range again {
		if d.reason == "" {
			differs[d.test.top()] = true
		}
	}
	for _, d := range first {
		if d.reason != "" || differs[d.test.top()] {
			confirmed = append(confirmed, d)
		} else {
			unstable = append(unstable, d)
		}
	}
	return confirmed, unstable
}

// count returns how many tests have run, and how many have passed.
func count(results map[testID]result) (ran, passed int) {
	for _, r := range results {
		if r.action == "pass" || r.action == "fail" {
			ran++
		}
		if r.action == "pass" {
			passed++
		}
	}
	return ran, passed
}

//go:embed exceptions.txt
var exceptionsText string

// An exception is a difference that is expected.
type exception struct {
	suite  string
	test   *regexp.Regexp // matches package.Test/subtest
	reason string
}

// parseExceptions reads lines of a suite, a regular expression and a reason.
func parseExceptions(text string) ([]exception, error) {
	var exceptions []exception
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		if len(fields) < 3 {
			return nil, fmt.Errorf("exceptions.txt: %q has no reason; write a suite, a regular expression and a reason", line)
		}
		re, err := regexp.Compile("^(?:" + fields[1] + ")$")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("exceptions.txt: %q", line), err)
		}
		exceptions = append(exceptions, exception{fields[0], re, strings.TrimSpace(fields[2])})
	}
	return exceptions, nil
}

// explain sets the reasons of the differences that are expected. A test that did not end
// is never expected.
func explain(suite string, differences []difference, exceptions []exception) {
	for i, d := range differences {
		if d.pgx == "" || d.ours == "" {
			continue
		}
		for _, e := range exceptions {
			if e.suite == suite && e.test.MatchString(d.test.String()) {
				differences[i].reason = e.reason
			}
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
