// Command figures measures the driver's costs: it runs the benchmarks and writes the
// README's table and figures.svg.
//
//	go run ./driver/integration/cmd/figures
//
// Run it from the repository's root, on a machine without other load. It takes a few
// minutes.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
)

const (
	readme = "README.md"
	svg    = "driver/integration/figures.svg"
	begin  = "<!-- figures: by the command in driver/integration/cmd/figures -->\n"
	end    = "<!-- end -->\n"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("figures: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return fmt.Errorf("%w; run this from the repository's root", err)
	}
	var out bytes.Buffer
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-count", "9", "./driver", "./driver/emulator", "./driver/integration")
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, os.Stdout), os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	m, err := parseBenchmarks(&out)
	if err != nil {
		return err
	}
	rows, err := table(m)
	if err != nil {
		return err
	}
	picture, err := draw(m)
	if err != nil {
		return err
	}
	head, rest, hasBegin := strings.Cut(string(text), begin)
	_, tail, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return fmt.Errorf("%s lacks the table's comments %q and %q", readme, begin, end)
	}
	if err := os.WriteFile(readme, []byte(head+begin+rows+end+tail), 0o644); err != nil {
		return err
	}
	return os.WriteFile(svg, []byte(picture), 0o644)
}
