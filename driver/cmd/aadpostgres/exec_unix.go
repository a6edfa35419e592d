//go:build unix

package main

import "syscall"

// execProgram replaces this process with the program. Signals reach the program
// directly, and its exit status is the one that the caller sees. execProgram returns
// only if the program cannot be started.
func execProgram(path string, argv, env []string) error {
	return syscall.Exec(path, argv, env)
}
