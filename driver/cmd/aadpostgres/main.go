// Aadpostgres tests and diagnoses sign-ins to Azure Database for PostgreSQL with
// Microsoft Entra tokens, creates roles, and runs other programs with a token.
//
//	go install github.com/aadpostgres/aadpostgres/driver/cmd/aadpostgres@latest
//
// It has five commands:
//
//	aadpostgres ping   [-json] [-timeout TIME] [DSN]
//	aadpostgres doctor [-json] [-timeout TIME] [DSN]
//	aadpostgres role   [-json] [-admin] [-apply DSN] ... KIND NAME
//	aadpostgres token  [-json] [DSN]
//	aadpostgres exec   [DSN] -- COMMAND [ARGUMENT ...]
//
// DSN is a connection string of the driver. If it is omitted, DATABASE_URL is used.
// Settings that the connection string leaves out come from the PG variables, such as
// PGHOST. Only token prints a secret.
//
// The exit status is 0 on success, 1 on failure and 2 if the command line is invalid.
// The status of exec is that of the program. It is 126 or 127 if the program cannot
// be run.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

var commands = []command{pingCommand, doctorCommand, roleCommand, tokenCommand, execCommand}

// errReported is returned by a command that has already printed what failed.
var errReported = errors.New("the failure has been printed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	err := dispatch(ctx, os.Args[1:])
	stop()
	failed := stdout.close()
	if failed != nil && (err == nil || errors.Is(err, errReported)) {
		err = failed
	}
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, strings.ToValidUTF8(err.Error(), "?"))
	}
	os.Exit(exitStatus(err))
}

// stopSignals returns the signals that end a command. SIGINT is not among them if it is
// ignored at the start: Notify would undo that, also for the program that exec runs. Go
// cannot tell whether SIGTERM was ignored.
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) {
		signals = append(signals, os.Interrupt)
	}
	return signals
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	var start startError
	if errors.As(err, &start) {
		return start.exitStatus()
	}
	return 1
}

// dispatch runs the command that args name.
func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		printUsage(os.Stderr)
		return usageError("aadpostgres: no command is given; name one of those above")
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		printUsage(stdout)
		return nil
	}
	for _, cmd := range commands {
		if cmd.name == args[0] {
			return cmd.execute(ctx, args[1:])
		}
	}
	return usageError("aadpostgres: " + describe("command", args[0]) + " is not known; see aadpostgres -h")
}
