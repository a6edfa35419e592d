package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A command is a subcommand of aadpostgres.
type command struct {
	name     string
	synopsis string              // its arguments
	summary  string              // one sentence without a full stop, also a line of aadpostgres -h
	about    string              // paragraphs that follow the summary in -h; may be ""
	flags    func(*flag.FlagSet) // defines its flags besides -json; may be nil
	program  bool                // takes a program after --, and no -json
	statuses []string            // its exit statuses, a line each
	examples []string
	run      func(context.Context, *invocation) error
}

// An invocation is a parsed command line.
type invocation struct {
	flags   *flag.FlagSet
	args    []string // without flags
	program []string // what follows --; nil if there is no --
	json    bool
}

// A usageError describes an invalid command line. It never repeats an argument that
// may be a DSN, because a DSN may hold a password.
type usageError string

func (e usageError) Error() string { return string(e) }

// safeFlagError matches the errors of package flag that repeat nothing but the name of
// a flag.
var safeFlagError = regexp.MustCompile(`^(flag provided but not defined|flag needs an argument): -[a-z-]{1,20}$`)

// execute parses the command line and runs the command.
func (cmd command) execute(ctx context.Context, args []string) error {
	flags := cmd.newFlags()
	inv := &invocation{flags: flags}
	if !cmd.program {
		flags.BoolVar(&inv.json, "json", false, "print JSON")
	}
	err := inv.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		cmd.printHelp(stdout, flags)
		return nil
	}
	if err != nil {
		return usageError(fmt.Sprintf("aadpostgres %s: %v; see aadpostgres %s -h", cmd.name, err, cmd.name))
	}
	if inv.program != nil && !cmd.program {
		return usageError(fmt.Sprintf("aadpostgres %s: only exec takes a program after --; remove -- and what follows it", cmd.name))
	}
	err = cmd.run(ctx, inv)
	var usage usageError
	if errors.As(err, &usage) {
		return usageError(fmt.Sprintf("aadpostgres %s: %s", cmd.name, usage))
	}
	return err
}

func (cmd command) newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if cmd.flags != nil {
		cmd.flags(flags)
	}
	return flags
}

// parse reads flags before, between and after the arguments.
func (inv *invocation) parse(args []string) error {
	i := slices.Index(args, "--")
	if i >= 0 {
		inv.program = args[i+1:]
		args = args[:i]
	}
	for {
		err := inv.flags.Parse(args)
		if err != nil && !errors.Is(err, flag.ErrHelp) && !safeFlagError.MatchString(err.Error()) {
			return errors.New("a flag is not known, or its value is invalid")
		}
		if err != nil {
			return err
		}
		args = inv.flags.Args()
		if len(args) == 0 {
			return nil
		}
		inv.args = append(inv.args, args[0])
		args = args[1:]
	}
}

// dsn returns the DSN argument, or DATABASE_URL without one. If both are empty, the PG
// variables are all there is.
func (inv *invocation) dsn() (string, error) {
	if len(inv.args) > 1 {
		return "", usageError("more than one DSN is given; quote a DSN that contains spaces")
	}
	if len(inv.args) == 1 {
		return inv.args[0], nil
	}
	return os.Getenv("DATABASE_URL"), nil
}

// describe quotes arg, an invalid noun, if it is a short word. It does not quote what
// may be a DSN.
func describe(noun, arg string) string {
	if len(arg) > 20 || strings.Trim(arg, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "this " + noun
	}
	return fmt.Sprintf("%s %q", noun, arg)
}
