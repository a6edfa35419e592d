package main

import (
	"fmt"
	"strings"
)

// roundTrips are the round trip times of BenchmarkColdConnect.
var roundTrips = []string{"0s", "5ms", "20ms", "40ms"}

// draw returns a bar chart with two bars for each round trip time, to scale.
func draw(m measurements) (string, error) {
	most := 0.0
	for _, d := range roundTrips {
		of := m["ColdConnect/"+d]
		if of["ms-ours"] == 0 || of["ms-hook"] == 0 {
			return "", fmt.Errorf("BenchmarkColdConnect/%s lacks ms-ours or ms-hook", d)
		}
		most = max(most, of["ms-ours"], of["ms-hook"])
	}
	const width, left, line = 640, 110, 18
	height := 50 + len(roundTrips)*(2*line+12)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	b.WriteString("<title>First connect in milliseconds, by round trip time: aadpostgres and a hand-written hook</title>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="20">First connect with a token request of 100 ms, by round trip time: <tspan fill="#0a66c2">aadpostgres</tspan> and <tspan fill="#888">a hand-written hook</tspan></text>`+"\n")
	bar := func(y int, ms float64, color string) {
		n := int(ms / most * (width - left - 80))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%.0f ms</text>`+"\n", left, y, n, line-3, color, left+n+6, y+12, ms)
	}
	for i, d := range roundTrips {
		y := 38 + i*(2*line+12)
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", y+line+2, d)
		bar(y, m["ColdConnect/"+d]["ms-ours"], "#0a66c2")
		bar(y+line, m["ColdConnect/"+d]["ms-hook"], "#bbb")
	}
	b.WriteString("</svg>\n")
	return b.String(), nil
}
