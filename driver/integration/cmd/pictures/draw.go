package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

// inks are the colours that the commands ask a terminal for.
var colors = map[string]string{"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341"}

var colorCode = regexp.MustCompile(`\x1b\[(\d+)m`)

// draw makes a terminal's window with the command and what it printed.
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
	ink := "" // goes on from line to line, as a terminal's does
	for i, text := range lines {
		// Each is as long as its characters, whatever the font's are.
		fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve" textLength="%.0f">`, margin, bar+14+i*line, float64(len([]rune(colorCode.ReplaceAllString(text, ""))))*char)
		for text != "" {
			piece, next, rest := text, ink, ""
			if at := colorCode.FindStringSubmatchIndex(text); at != nil {
				piece, next, rest = text[:at[0]], colors[text[at[2]:at[3]]], text[at[1]:]
			}
			if piece = html.EscapeString(piece); ink != "" && piece != "" {
				piece = fmt.Sprintf(`<tspan fill="%s">%s</tspan>`, ink, piece)
			}
			b.WriteString(piece)
			ink, text = next, rest
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// wrap breaks lines where a terminal does.
func wrap(s string) (lines []string) {
	for text := range strings.SplitSeq(s, "\n") {
		n, from := 0, 0
		for i := 0; i < len(text); {
			if at := colorCode.FindStringIndex(text[i:]); at != nil && at[0] == 0 {
				i += at[1]
				continue
			}
			if n == columns {
				lines, n, from = append(lines, text[from:i]), 0, i
			}
			n++
			i += len(string([]rune(text[i:])[0]))
		}
		lines = append(lines, text[from:])
	}
	return lines
}
