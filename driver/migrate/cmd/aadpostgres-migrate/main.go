// Aadpostgres-migrate is golang-migrate's command for databases whose URLs begin with
// aadpostgres://, with migrations in a folder:
//
//	go install github.com/aadpostgres/aadpostgres/driver/migrate/cmd/aadpostgres-migrate@latest
//	export DATABASE_URL='aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli'
//	aadpostgres-migrate -path migrations up
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/source/file"

	_ "github.com/aadpostgres/aadpostgres/driver/migrate"
)

const usage = `usage: aadpostgres-migrate [-database URL] [-path FOLDER] COMMAND

  up [N]            apply all, or the next N, migrations
  down N, down -all undo the last N, or all
  goto V            go up or down to version V
  force V           say that version V is there, and undamaged
  version           print the version

  aadpostgres-migrate -database 'aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli' up

While another process migrates, this one waits; lock_timeout=15s in the URL, a
setting of PostgreSQL's, ends any wait for a lock.

`

type options struct {
	database, path string
	verbose        bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("aadpostgres-migrate: ")
	var o options
	flag.StringVar(&o.database, "database", "", "aadpostgres://host/name?aad_auth=... (default $DATABASE_URL)")
	flag.StringVar(&o.path, "path", "migrations", "folder with the migrations")
	flag.BoolVar(&o.verbose, "verbose", false, "tell more")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	o.database = cmp.Or(o.database, os.Getenv("DATABASE_URL")) // as a default, -h would print it
	err := run(o, flag.Arg(0), flag.Args()[min(1, flag.NArg()):])
	switch {
	case errors.Is(err, errUsage):
		flag.Usage()
		os.Exit(2)
	case errors.Is(err, migrate.ErrNoChange):
		log.Print(err)
	case err != nil:
		log.Fatal(err)
	}
}

var errUsage = errors.New("usage")

func run(o options, command string, args []string) (err error) {
	work, err := parse(command, args)
	if err != nil {
		return err
	}
	// golang-migrate quotes all before the first colon as the scheme.
	if !strings.HasPrefix(o.database, "aadpostgres://") {
		return errors.New("-database, or else DATABASE_URL, must be a URL that begins with aadpostgres://")
	}
	m, err := migrate.New("file://"+o.path, o.database)
	if err != nil {
		return err
	}
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	m.Log = logger(o.verbose)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		signal.Stop(interrupted) // the next one kills
		log.Print("stopping after this migration")
		m.GracefulStop <- true
	}()
	return work(m)
}

// parse reads a command before anything is opened.
func parse(command string, args []string) (func(*migrate.Migrate) error, error) {
	if command == "down" && slices.Equal(args, []string{"-all"}) {
		return (*migrate.Migrate).Down, nil
	}
	n := 0
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil || n < 0 && command != "force" {
			return nil, errUsage
		}
	}
	switch command + strings.Repeat(" N", len(args)) {
	case "up":
		return (*migrate.Migrate).Up, nil
	case "up N":
		return func(m *migrate.Migrate) error { return m.Steps(n) }, nil
	case "down N":
		return func(m *migrate.Migrate) error { return m.Steps(-n) }, nil
	case "goto N":
		return func(m *migrate.Migrate) error { return m.Migrate(uint(n)) }, nil
	case "force N":
		return func(m *migrate.Migrate) error { return m.Force(n) }, nil
	case "version":
		return version, nil
	}
	return nil, errUsage
}

func version(m *migrate.Migrate) error {
	v, dirty, err := m.Version()
	switch {
	case err != nil:
		return err
	case dirty:
		fmt.Println(v, "(dirty)")
	default:
		fmt.Println(v)
	}
	return nil
}

// A logger tells more if it is true.
type logger bool

func (l logger) Printf(format string, v ...any) { log.Printf(format, v...) }
func (l logger) Verbose() bool                  { return bool(l) }
