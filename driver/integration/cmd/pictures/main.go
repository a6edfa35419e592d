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

const folder = "driver/integration/pictures"

func main() {
	log.SetFlags(0)
	log.SetPrefix("pictures: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("%w; run this from the repository's root", err)
	}
	return shoot(context.Background(), func(s scene, screen string) error {
		return os.WriteFile(filepath.Join(folder, s.name+".svg"), []byte(draw(s.prompt, screen)), 0o644)
	})
}

// shoot runs each scene and hands what it printed to take.
func shoot(ctx context.Context, take func(scene, string) error) (err error) {
	st, err := build(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	for _, s := range scenes {
		screen, err := st.play(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := take(s, screen); err != nil {
			return err
		}
	}
	return nil
}
