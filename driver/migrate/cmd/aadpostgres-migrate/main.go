// Aadpostgres-migrate applies the migrations in a folder to a database whose URL begins
// with aadpostgres://. It uses golang-migrate, and has the commands and the version
// table of that project's own command.
//
//	go install github.com/aadpostgres/aadpostgres/driver/migrate/cmd/aadpostgres-migrate@latest
//	export DATABASE_URL='aadpostgres://app.postgres.database.azure.com/app?aad_auth=azure-cli'
//	aadpostgres-migrate -path migrations up
//
// The exit status is 0 on success and if there was nothing to do, 1 on failure and 2 if
// the command line is invalid.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/source/file"

	_ "github.com/aadpostgres/aadpostgres/driver/migrate"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("aadpostgres-migrate: ")
	inv, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		err = printHelp(os.Stdout)
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	if err != nil {
		log.Printf("%v; see aadpostgres-migrate -h", err)
		os.Exit(2)
	}
	err = run(inv)
	if errors.Is(err, migrate.ErrNoChange) {
		log.Print(err)
		return
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(inv *invocation) (err error) {
	// If the URL has no scheme, golang-migrate's error quotes what stands before the
	// first colon, which may be a password.
	if !strings.HasPrefix(inv.database, "aadpostgres://") {
		return errors.New("the database URL is missing or does not begin with aadpostgres://; set -database or DATABASE_URL")
	}
	m, err := migrate.New("file://"+inv.path, inv.database)
	if err != nil {
		return err
	}
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	m.Log = logger{inv.verbose}
	stopOnInterrupt(m)
	return inv.action(m)
}

// stopOnInterrupt stops m after the running migration when the process is interrupted.
// A second interrupt ends the process. Under a caller that ignores interrupts they stay
// ignored.
func stopOnInterrupt(m *migrate.Migrate) {
	if signal.Ignored(os.Interrupt) {
		return
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	go func() {
		<-interrupt
		signal.Stop(interrupt)
		log.Print("interrupted; stopping after this migration")
		m.GracefulStop <- true
	}()
}

// printVersion prints the version of the database.
func printVersion(m *migrate.Migrate) error {
	version, dirty, err := m.Version()
	if err != nil {
		return err
	}
	text := fmt.Sprint(version)
	if dirty {
		text += " (dirty)"
	}
	_, err = fmt.Println(text)
	return err
}

// A logger writes the messages of golang-migrate to package log.
type logger struct{ verbose bool }

func (l logger) Printf(format string, v ...any) { log.Printf(format, v...) }
func (l logger) Verbose() bool                  { return l.verbose }
