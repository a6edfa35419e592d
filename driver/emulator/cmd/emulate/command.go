package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// gracePeriod is how long a command may take to end after it has been asked to, before it
// is killed.
var gracePeriod = 10 * time.Second

// runCommand runs a command to its end and returns its exit status as a shell would. It
// does not start the command if ctx has ended.
//
// A terminal sends Ctrl-C to the command as well as to this process, so the first one is
// left to the command. A second one, or SIGTERM, calls cancel, which sends the command
// SIGTERM and kills it after gracePeriod.
func runCommand(ctx context.Context, cmd *exec.Cmd, cancel func()) (status int, err error) {
	if runtime.GOOS != "windows" { // which has no SIGTERM: the command is killed
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	}
	cmd.WaitDelay = gracePeriod
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	defer close(done)
	go cancelOnSignal(signals, done, cancel)
	err = cmd.Wait()
	state := cmd.ProcessState
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal()), nil
	}
	if state.Exited() { // err only repeats the status
		return state.ExitCode(), nil
	}
	return 0, err
}

// cancelOnSignal calls cancel for SIGTERM and for every signal after the first, until done
// is closed.
func cancelOnSignal(signals <-chan os.Signal, done <-chan struct{}, cancel func()) {
	first := true
	for {
		select {
		case s := <-signals:
			if !first || s == syscall.SIGTERM {
				cancel()
			}
			first = false
		case <-done:
			return
		}
	}
}
