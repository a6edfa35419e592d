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

// everything is what the benchmarks print, with v for each figure.
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
		t.Errorf("%s, %v", picture, err)
	}
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	delete(m, "Storm")
	if _, err := table(m); err == nil || !strings.Contains(err.Error(), "no requests-ours of BenchmarkStorm") {
		t.Errorf("a benchmark that did not run is missed so: %v", err)
	}
	if _, err := draw(measurements{}); err == nil {
		t.Error("nothing is drawn")
	}
	if _, err := parseBenchmarks(strings.NewReader("BenchmarkQuery-2 5 x ms-ours")); err == nil {
		t.Error("x is a figure")
	}
}

// The README's table and the picture are this command's: all but their figures.
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
	for file, want := range map[string]string{readme: begin + rows + end, svg: picture} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(mask(string(b)), mask(want)) {
			t.Errorf("%s does not show what is measured; write it with go run ./driver/integration/cmd/figures", file)
		}
	}
}
