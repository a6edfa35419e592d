package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// benchmarkOutput returns the output of all benchmarks, with v for each figure.
func benchmarkOutput(v string) string {
	units := map[string]string{}
	for _, f := range figures {
		for _, p := range placeholder.FindAllStringSubmatch(f.ours+f.comparison, -1) {
			units[p[1]] += "\t" + v + " " + p[2]
		}
	}
	for _, d := range roundTrips {
		units["ColdConnect/"+d] = "\t" + v + " ms-ours\t" + v + " ms-hook"
	}
	var b strings.Builder
	b.WriteString("goos: linux\n")
	for name, u := range units {
		fmt.Fprintf(&b, "Benchmark%s-2 \t 6%s\n", name, u)
	}
	return b.String() + "PASS\n"
}

func TestFigures(t *testing.T) {
	m, err := parseBenchmarks(strings.NewReader(benchmarkOutput("9") + benchmarkOutput("148.2") + benchmarkOutput("1000")))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := draw(m)
	if err != nil || !strings.Contains(picture, "148 ms") {
		t.Errorf("draw() = %s, %v, want the median 148 ms", picture, err)
	}
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	delete(m, "Storm")
	if _, err := table(m); err == nil || !strings.Contains(err.Error(), "no requests-ours of BenchmarkStorm") {
		t.Errorf("table() = %v without BenchmarkStorm, want an error that names it", err)
	}
	if _, err := draw(measurements{}); err == nil {
		t.Error("draw() = nil without figures, want an error")
	}
	if _, err := parseBenchmarks(strings.NewReader("BenchmarkQuery-2 5 x ms-ours")); err == nil {
		t.Error("parseBenchmarks() = nil for the figure x, want an error")
	}
}

// TestPrinted checks that the README's table and the picture are up to date, except for
// their figures.
func TestPrinted(t *testing.T) {
	t.Chdir("../../../..")
	m, err := parseBenchmarks(strings.NewReader(benchmarkOutput("1")))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := table(m)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := draw(m)
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`\d+(\.\d+)?`)
	mask := func(s string) string { return number.ReplaceAllString(s, "N") }
	for _, tt := range []struct{ file, want string }{{readme, begin + rows + end}, {svg, picture}} {
		b, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(mask(string(b)), mask(tt.want)) {
			t.Errorf("%s is out of date; run go run ./driver/integration/cmd/figures", tt.file)
		}
	}
}
