// Aadpostgres helps to sign in to Azure Database for PostgreSQL with Microsoft
// Entra: it tries a sign-in, finds what is wrong with one, writes the SQL that a
// role needs, and lends its token to other programs.
//
//	go install github.com/aadpostgres/aadpostgres/driver/cmd/aadpostgres@latest
//
// It has five commands:
//
//	aadpostgres ping   [-json] [DSN]
//	aadpostgres doctor [-json] [DSN]
//	aadpostgres role   [-json] [-admin] [-apply DSN] ... KIND NAME
//	aadpostgres token  [-json] [DSN]
//	aadpostgres exec   [DSN] -- COMMAND [ARGUMENT ...]
//
// A DSN is what the driver takes. Without one DATABASE_URL is it, or else the PG
// variables say where to connect. No secret is printed but by token.
//
// The exit status is 0 when all is well, 1 when something was found wrong, 2 when
// the command line makes no sense; exec's is the command's, 127 or 126 when that
// cannot be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver"
)

// A command is one of the program's verbs.
type command struct {
	name, args, does string
	about            string              // examples and what else -h says
	flags            func(*flag.FlagSet) // its own, beside -json; may be nil
	run              func(ctx context.Context, c *call) error
}

var commands = []command{ping, doctor, role, token, execute}

// A call is a command with its command line.
type call struct {
	flags *flag.FlagSet
	args  []string // what is no flag
	rest  []string // what follows --
	json  bool
}

// misuse is an error of the command line.
type misuse string

func (m misuse) Error() string { return string(m) }

// errFound says that what is wrong has been printed already.
var errFound = errors.New("something is wrong")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	var wrong misuse
	var missing noProgram
	switch {
	case err == nil:
	case errors.As(err, &missing):
		fmt.Fprintln(os.Stderr, "aadpostgres exec:", missing)
		os.Exit(missing.status())
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, wrong)
		os.Exit(2)
	case errors.Is(err, errFound):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, strings.TrimPrefix(strings.ToValidUTF8(err.Error(), "?"), "\n"))
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		usage(os.Stderr)
		return misuse("aadpostgres: name a command")
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(os.Stdout)
		return nil
	}
	for _, cmd := range commands {
		if cmd.name == args[0] {
			return cmd.call(ctx, args[1:])
		}
	}
	return misuse("aadpostgres: " + word("command", args[0]) + " is not known; see aadpostgres -h")
}

// word quotes what stands where a word should, unless it could be a DSN.
func word(what, said string) string {
	if len(said) > 20 || strings.Trim(said, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "that " + what
	}
	return fmt.Sprintf("%s %q", what, said)
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: aadpostgres command [flag ...] [argument ...]\n\nSign-in to Azure Database for PostgreSQL with Microsoft Entra.\n\n")
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %-7s %s\n", cmd.name, cmd.does)
	}
	fmt.Fprint(w, `
aadpostgres command -h tells more. A DSN is what the Go driver takes; without one,
DATABASE_URL is it, or else the PG variables (PGHOST, PGUSER, ...) say where to connect.
`)
}

var known = regexp.MustCompile(`^(flag provided but not defined|flag needs an argument): -[a-z-]{1,20}$`)

// call parses the command line, flags before, between and after arguments, and
// runs the command.
func (cmd command) call(ctx context.Context, args []string) error {
	c := &call{flags: flag.NewFlagSet(cmd.name, flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard)
	if cmd.name != execute.name {
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
	}
	if cmd.flags != nil {
		cmd.flags(c.flags)
	}
	for i, arg := range args {
		if arg == "--" {
			args, c.rest = args[:i], args[i+1:]
			break
		}
	}
	for {
		if err := c.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Printf("usage: aadpostgres %s %s\n\n%s.\n\n%s", cmd.name, cmd.args, cmd.does, cmd.about)
			c.flags.SetOutput(os.Stdout)
			c.flags.PrintDefaults()
			return nil
		} else if err != nil {
			said := err.Error()
			if !known.MatchString(said) {
				said = "a flag has a value that it cannot have" // and that may be a secret
			}
			return misuse(fmt.Sprintf("aadpostgres %s: %s; see aadpostgres %s -h", cmd.name, said, cmd.name))
		}
		if args = c.flags.Args(); len(args) == 0 {
			break
		}
		c.args, args = append(c.args, args[0]), args[1:]
	}
	var err error
	if c.rest != nil && cmd.name != execute.name {
		err = misuse("there is nothing to run; drop what follows --")
	} else {
		err = cmd.run(ctx, c)
	}
	var wrong misuse
	if errors.As(err, &wrong) {
		return misuse(fmt.Sprintf("aadpostgres %s: %s; see aadpostgres %s -h", cmd.name, wrong, cmd.name))
	}
	return err
}

// dsn is the one argument, or what stands in for it. The empty DSN leaves all to
// the PG variables.
func (c *call) dsn() (string, error) {
	switch {
	case len(c.args) > 1:
		return "", misuse("give one DSN, in quotes if it has spaces")
	case len(c.args) == 1:
		return c.args[0], nil
	}
	return os.Getenv("DATABASE_URL"), nil
}

// patience bounds dial and TLS where the DSN does not: a firewall that drops packets
// is what people call doctor for. Nothing else is bounded by it, such as a person
// who signs in.
var patience = driver.WithConnConfig(func(c *pgx.ConnConfig) {
	const most = 10 * time.Second
	if c.ConnectTimeout != 0 {
		return
	}
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: most}).DialContext(ctx, network, addr)
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(most))
		}
		return conn, err
	}
	c.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		return conn, conn.SetDeadline(time.Time{})
	}
})
