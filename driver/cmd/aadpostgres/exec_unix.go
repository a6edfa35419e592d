//go:build unix

package main

import (
	"errors"
	"syscall"
)

// execProgram replaces this process with the program. Signals reach the program
// directly, and its exit status is the one that the caller sees. execProgram returns
// only if the program cannot be started.
func execProgram(path string, argv, env []string) error {
	return syscall.Exec(path, argv, env)
}

// isNoFormat reports that a file is neither a program nor a script with an interpreter.
func isNoFormat(err error) bool { return errors.Is(err, syscall.ENOEXEC) }

// isTooLong reports that arguments and environment are longer than the system permits.
func isTooLong(err error) bool { return errors.Is(err, syscall.E2BIG) }
