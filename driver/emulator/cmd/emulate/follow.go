package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// ended is the status with which a command has ended, if that was not 0.
type ended int

func (e ended) Error() string { return fmt.Sprintf("it ended with status %d", int(e)) }

// follow runs a command to its end, and hands signals on to it. A terminal's Ctrl-C it
// has had from the terminal. The third signal kills it.
func follow(cmd *exec.Cmd) error {
	heard := make(chan os.Signal, 8)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(heard)
	if err := cmd.Start(); err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	for n := 1; ; n++ {
		select {
		case err := <-over:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return err
			}
			return ended(status(exit))
		case s := <-heard:
			switch {
			case n > 2:
				cmd.Process.Kill()
			case n > 1 || s != os.Interrupt || !onTerminal():
				cmd.Process.Signal(s)
			}
		}
	}
}

// status is a shell's for a command that ended so.
func status(exit *exec.ExitError) int {
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return exit.ExitCode()
}

// onTerminal tells whether there is a terminal that says Ctrl-C to the command too.
func onTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err == nil {
		f.Close()
	}
	return err == nil
}
