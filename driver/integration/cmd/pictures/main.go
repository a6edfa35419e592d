// Command pictures runs the project's commands in a terminal, against an emulator,
// and draws what they print: the pictures that the README shows.
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
	return record(context.Background(), func(s recording, screen string) error {
		return os.WriteFile(filepath.Join(outputDir, s.name+".svg"), []byte(draw(s.prompt, screen)), 0o644)
	})
}

// shoot runs each scene and hands what it printed to take.
func record(ctx context.Context, take func(recording, string) error) (err error) {
	st, err := newTerminal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	for _, s := range recordings {
		screen, err := st.run(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := take(s, screen); err != nil {
			return err
		}
	}
	return nil
}
