package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4"
)

// An invocation is a parsed command line.
type invocation struct {
	database string // URL
	path     string // folder with the migrations
	verbose  bool
	action   action
}

// An action is what a command does.
type action func(*migrate.Migrate) error

// newFlags returns the flags, which set the fields of inv.
func newFlags(inv *invocation) *flag.FlagSet {
	flags := flag.NewFlagSet("aadpostgres-migrate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&inv.database, "database", "", "`URL` of the database (default $DATABASE_URL)")
	flags.StringVar(&inv.path, "path", "migrations", "`FOLDER` with the migrations")
	flags.BoolVar(&inv.verbose, "verbose", false, "also log when each migration is read and how long it takes")
	return flags
}

// safeFlagError matches the errors of package flag that repeat nothing but the name of
// a flag. Others repeat a value, which may be a URL with a password.
var safeFlagError = regexp.MustCompile(`^(flag provided but not defined|flag needs an argument): -[a-z-]{1,20}$`)

// parse reads the command line. Its error is [flag.ErrHelp] if help is asked for.
func parse(args []string) (*invocation, error) {
	inv := &invocation{}
	flags := newFlags(inv)
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) && !safeFlagError.MatchString(err.Error()) {
		return nil, errors.New("a flag is not known, or its value is invalid")
	}
	if err != nil {
		return nil, err
	}
	if inv.database == "" {
		inv.database = os.Getenv("DATABASE_URL") // not the flag's default, which -h prints
	}
	inv.action, err = parseCommand(flags.Args())
	return inv, err
}

// parseCommand returns the action of a command and its arguments.
func parseCommand(args []string) (action, error) {
	if len(args) == 0 {
		return nil, errors.New("no command is given")
	}
	command := args[0]
	args = args[1:]
	n, isNumber := parseNumber(args)
	switch command {
	case "up":
		if len(args) == 0 {
			return (*migrate.Migrate).Up, nil
		}
		if !isNumber || n < 0 {
			return nil, errors.New("up accepts one argument, the number of migrations")
		}
		return func(m *migrate.Migrate) error { return m.Steps(n) }, nil
	case "down":
		if slices.Equal(args, []string{"-all"}) {
			return (*migrate.Migrate).Down, nil
		}
		if !isNumber || n < 0 {
			return nil, errors.New("down needs one argument, the number of migrations or -all")
		}
		return func(m *migrate.Migrate) error { return m.Steps(-n) }, nil
	case "goto":
		if !isNumber || n < 0 {
			return nil, errors.New("goto needs one argument, a version")
		}
		return func(m *migrate.Migrate) error { return m.Migrate(uint(n)) }, nil
	case "force":
		if !isNumber { // golang-migrate takes -1 for no version
			return nil, errors.New("force needs one argument, a version")
		}
		return func(m *migrate.Migrate) error { return m.Force(n) }, nil
	case "version":
		if len(args) > 0 {
			return nil, errors.New("version has no arguments")
		}
		return printVersion, nil
	}
	return nil, errors.New("this command is not known") // and may be a URL with a password
}

// parseNumber reads args if it is one integer.
func parseNumber(args []string) (n int, ok bool) {
	if len(args) != 1 {
		return 0, false
	}
	n, err := strconv.Atoi(args[0])
	return n, err == nil
}

// printHelp prints -h.
func printHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`usage: aadpostgres-migrate [-database URL] [-path FOLDER] [-verbose] COMMAND

Apply the migrations in a folder to Azure Database for PostgreSQL.

While another process migrates the database, this one waits. To bound every wait for
a lock, put lock_timeout=15s, a setting of PostgreSQL, in the URL.

Commands:

  up [N]     apply all migrations, or the next N
  down N     revert the last N migrations
  down -all  revert all migrations
  goto V     apply or revert migrations until the version is V
  force V    set the version to V, not dirty, without running a migration
  version    print the version

Flags:

`)
	flags := newFlags(&invocation{})
	flags.SetOutput(&b)
	flags.PrintDefaults()
	b.WriteString(`
Exit status:

  0  success, or there was nothing to do
  1  failure; for version, also that no migration has been applied
  2  the command line is invalid

Examples:

  aadpostgres-migrate -database 'aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli' up
`)
	_, err := io.WriteString(w, b.String())
	return err
}
