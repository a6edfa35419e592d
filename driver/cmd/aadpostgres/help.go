package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

const aboutDSN = `DSN is a connection string of the driver. If it is omitted, DATABASE_URL is used.
Settings that the connection string leaves out come from the PG variables, such as
PGHOST.
`

// printUsage prints aadpostgres -h.
func printUsage(w io.Writer) {
	fmt.Fprint(w, `usage: aadpostgres COMMAND [FLAG ...] [ARGUMENT ...]

Test and diagnose sign-ins to Azure Database for PostgreSQL with Microsoft Entra
tokens, create roles, and run other programs with a token.

Commands:

`)
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %-7s %s\n", cmd.name, cmd.summary)
	}
	fmt.Fprint(w, "\n"+aboutDSN+`
Exit status:

  0  success
  1  failure
  2  the command line is invalid

Examples:

`)
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %s\n", cmd.examples[0])
	}
	fmt.Fprint(w, "\nFor the flags of a command, run aadpostgres COMMAND -h.\n")
}

// printHelp prints the command's -h.
func (cmd command) printHelp(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintf(w, "usage: aadpostgres %s %s\n\n%s.\n", cmd.name, cmd.synopsis, cmd.summary)
	if cmd.about != "" {
		fmt.Fprint(w, "\n"+cmd.about)
	}
	if !cmd.program {
		fmt.Fprint(w, "\nFlags:\n\n")
		flags.SetOutput(w)
		flags.PrintDefaults()
	}
	fmt.Fprintf(w, "\nExit status:\n\n  %s\n", strings.Join(cmd.statuses, "\n  "))
	fmt.Fprintf(w, "\nExamples:\n\n  %s\n", strings.Join(cmd.examples, "\n  "))
}
