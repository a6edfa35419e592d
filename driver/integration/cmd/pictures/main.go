// Command pictures draws the README's pictures: it runs the project's commands in a
// terminal, with an emulator, and draws their output.
//
//	go run ./driver/integration/cmd/pictures
//
// Run it from the repository's root, on Linux or macOS.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

const outputDir = "driver/integration/pictures"

func main() {
	log.SetFlags(0)
	log.SetPrefix("pictures: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	if _, err := os.Stat(outputDir); err != nil {
		return fmt.Errorf("%w; run this from the repository's root", err)
	}
	return record(context.Background(), func(r recording, screen string) error {
		return os.WriteFile(filepath.Join(outputDir, r.name+".svg"), []byte(draw(r.prompt, screen)), 0o644)
	})
}

// record runs each recording and calls use with the terminal's content.
func record(ctx context.Context, use func(r recording, screen string) error) (err error) {
	t, err := newTerminal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, r := range recordings {
		screen, err := t.run(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := use(r, screen); err != nil {
			return err
		}
	}
	return nil
}
