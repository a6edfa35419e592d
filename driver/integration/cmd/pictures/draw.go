package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

// colors maps the commands' terminal color codes to those of the picture.
var colors = map[string]string{"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341"}

var colorCode = regexp.MustCompile(`\x1b\[(\d+)m`)

// draw returns an SVG picture of a terminal window with the command and its output.
func draw(prompt, screen string) string {
	const char, line, margin, bar = 7.25, 18, 16, 34
	lines := wrap("\x1b[32m$\x1b[0m " + prompt + "\n" + strings.TrimRight(screen, "\n"))
	width, height := int(columns*char)+2*margin, bar+len(lines)*line+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="12" fill="#e6edf3">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(prompt))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#161b22"/>`+"\n", width, height)
	for i, fill := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="16" r="5" fill="%s"/>`+"\n", margin+4+i*18, fill)
	}
	color := "" // continues on the next line, as in a terminal
	for i, text := range lines {
		// textLength sets the width whatever font the viewer has.
		fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve" textLength="%.0f">`, margin, bar+14+i*line, float64(len([]rune(colorCode.ReplaceAllString(text, ""))))*char)
		for text != "" {
			span, rest := text, ""
			next := color
			if at := colorCode.FindStringSubmatchIndex(text); at != nil {
				span, rest = text[:at[0]], text[at[1]:]
				next = colors[text[at[2]:at[3]]]
			}
			span = html.EscapeString(span)
			if color != "" && span != "" {
				span = fmt.Sprintf(`<tspan fill="%s">%s</tspan>`, color, span)
			}
			b.WriteString(span)
			color, text = next, rest
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// wrap breaks lines after as many characters as the terminal has columns.
func wrap(s string) (lines []string) {
	for text := range strings.SplitSeq(s, "\n") {
		n, from := 0, 0
		for i := 0; i < len(text); {
			if at := colorCode.FindStringIndex(text[i:]); at != nil && at[0] == 0 {
				i += at[1]
				continue
			}
			if n == columns {
				lines = append(lines, text[from:i])
				n = 0
				from = i
			}
			n++
			i += len(string([]rune(text[i:])[0]))
		}
		lines = append(lines, text[from:])
	}
	return lines
}
