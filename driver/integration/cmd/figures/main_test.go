package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestFigures(t *testing.T) {
	rows, err := read(strings.NewReader("goos: linux\nBenchmarkColdConnect/20ms-2  6  209.9 ms-hook  148.2 ms-ours  0.7061 ours/hook\nPASS\n"))
	if err != nil || len(rows) != 1 || rows[0] != (row{"20ms", 148.2, 209.9}) {
		t.Fatalf("%v, %v", rows, err)
	}
	var b strings.Builder
	if err := draw(&b, rows); err != nil || !strings.Contains(b.String(), "148 ms") {
		t.Errorf("%s, %v", &b, err)
	}
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "BenchmarkColdConnect/0s-2 5 x ms-ours", "BenchmarkColdConnect/0s-2 5 1 ns/op"} {
		if _, err := read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
