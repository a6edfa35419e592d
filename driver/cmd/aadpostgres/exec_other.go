//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
)

// execProgram runs the program, waits for it and exits with its status. It returns only
// if the program cannot be started, or ends without a status.
func execProgram(path string, argv, env []string) error {
	signal.Ignore(os.Interrupt) // the console sends Ctrl-C to the program too
	cmd := exec.Command(path, argv[1:]...)
	cmd.Env = env
	cmd.Stdin = os.Stdin
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	return err
}

func isNoFormat(error) bool { return false }

func isTooLong(error) bool { return false }
