//go:build unix

package main

import "syscall"

// replace becomes the program: signals and the exit status are its own.
func replace(path string, argv, env []string) error {
	return syscall.Exec(path, argv, env)
}
