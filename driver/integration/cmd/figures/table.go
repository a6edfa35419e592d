package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A figure is one row of the README's table. A placeholder in braces has a benchmark, one
// of its units, and a format.
type figure struct{ name, ours, comparison string }

var figures = []figure{
	{"a query", "{Query ours/pgx %.2f} of pgx's time, {Query more-allocs %.0f} more allocations", ""},
	{"a cached token", "{WarmToken/in_turn ns-ours %.0f} ns, {WarmToken/in_turn ns-clock %.0f} of them for reading the clock; {WarmToken/in_turn allocs-ours %.0f} allocations; {WarmToken/100_goroutines ns/op %.0f} ns with 100 goroutines",
		"azidentity: {WarmToken/in_turn ns-azidentity %.0f} ns, {WarmToken/in_turn allocs-azidentity %.0f} allocations"},
	{"a connect with a cached token", "{Connect ours/pgx %.2f} of pgx's time; {Connect ours/pgx-least %.2f} to {Connect ours/pgx-most %.2f} in nine runs", ""},
	{"a first connect, token request 100 ms, round trip time 20 ms", "{ColdConnect/20ms ms-ours %.0f} ms", "hook: {ColdConnect/20ms ms-hook %.0f} ms"},
	{"256 first connects at once", "{Storm requests-ours %.0f} token request", "hook: {Storm requests-hook %.0f}"},
	{"a pool that never connects", "{IdlePool KiB %.0f} KiB, including database/sql", ""},
	{"start of the emulator", "{Start ms-start %.0f} ms", "with initdb: {Start ms-initdb %.0f} ms"},
}

// measurements are the figures of each benchmark, by its name and their units.
type measurements map[string]map[string]float64

// parseBenchmarks reads the output of go test -bench. Of several runs it keeps the median,
// and with the suffixes -least and -most the extremes.
func parseBenchmarks(r io.Reader) (measurements, error) {
	runs := map[string]map[string][]float64{}
	cores := regexp.MustCompile(`-\d+$`)
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := cores.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")
		if runs[name] == nil {
			runs[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", s.Text(), err)
			}
			runs[name][f[i+1]] = append(runs[name][f[i+1]], v)
		}
	}
	m := measurements{}
	for name, units := range runs {
		m[name] = map[string]float64{}
		for unit, values := range units {
			slices.Sort(values)
			m[name][unit] = values[len(values)/2]
			m[name][unit+"-least"] = values[0]
			m[name][unit+"-most"] = values[len(values)-1]
		}
	}
	return m, s.Err()
}

var placeholder = regexp.MustCompile(`\{(\S+) (\S+) (\S+)\}`)

// table returns the rows of the README's table.
func table(m measurements) (string, error) {
	var err error
	fill := func(text string) string {
		return placeholder.ReplaceAllStringFunc(text, func(s string) string {
			p := placeholder.FindStringSubmatch(s)
			v, ok := m[p[1]][p[2]]
			if !ok {
				err = errors.Join(err, fmt.Errorf("no %s of Benchmark%s", p[2], p[1]))
			}
			return fmt.Sprintf(p[3], v)
		})
	}
	var b strings.Builder
	b.WriteString("| | aadpostgres | others |\n|---|---|---|\n")
	for _, f := range figures {
		beside := ""
		if f.comparison != "" {
			beside = " " + fill(f.comparison)
		}
		fmt.Fprintf(&b, "| %s | %s |%s |\n", f.name, fill(f.ours), beside)
	}
	return b.String(), err
}
