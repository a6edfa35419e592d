// Command figures draws what the benchmarks of cold connects measured as an SVG:
//
//	go test -run '^$' -bench ColdConnect ./driver/integration | go run ./driver/integration/cmd/figures > driver/integration/figures.svg
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
)

// A row is one distance: milliseconds of a cold connect by each.
type row struct {
	rtt        string
	ours, hook float64
}

func main() {
	log.SetFlags(0)
	rows, err := read(os.Stdin)
	if err == nil {
		err = draw(os.Stdout, rows)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// read finds the lines of BenchmarkColdConnect.
func read(r io.Reader) (rows []row, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) == 0 || !strings.HasPrefix(f[0], "BenchmarkColdConnect/") {
			continue
		}
		rtt, _, _ := strings.Cut(strings.TrimPrefix(f[0], "BenchmarkColdConnect/"), "-")
		one := row{rtt: rtt}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", s.Text(), err)
			}
			switch f[i+1] {
			case "ms-ours":
				one.ours = v
			case "ms-hook":
				one.hook = v
			}
		}
		if one.ours == 0 || one.hook == 0 {
			return nil, fmt.Errorf("%q has no ms-ours and ms-hook", s.Text())
		}
		rows = append(rows, one)
	}
	if len(rows) == 0 && s.Err() == nil {
		return nil, errors.New("no line of BenchmarkColdConnect; pipe go test -bench ColdConnect in")
	}
	return rows, s.Err()
}

// draw makes two bars for each row, in scale.
func draw(w io.Writer, rows []row) error {
	most := 0.0
	for _, r := range rows {
		most = max(most, r.ours, r.hook)
	}
	const width, left, line = 640, 110, 18
	height := 50 + len(rows)*(2*line+12)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="20">First connect, token of 100 ms, by the server's round trip: <tspan fill="#0a66c2">aadpostgres</tspan> and <tspan fill="#888">a hand-written hook</tspan></text>`+"\n")
	bar := func(y int, ms float64, color string) {
		n := int(ms / most * (width - left - 80))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%.0f ms</text>`+"\n", left, y, n, line-3, color, left+n+6, y+12, ms)
	}
	for i, r := range rows {
		y := 38 + i*(2*line+12)
		fmt.Fprintf(&b, `<text x="8" y="%d">%s away</text>`+"\n", y+line+2, r.rtt)
		bar(y, r.ours, "#0a66c2")
		bar(y+line, r.hook, "#bbb")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
