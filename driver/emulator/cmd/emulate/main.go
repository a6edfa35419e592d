// Emulate runs an Azure to test against: an Entra, a gateway that signs in as
// Azure Database for PostgreSQL does, and a real PostgreSQL.
//
//	emulate            stay up and print a DSN and exports to paste
//	emulate -- CMD     run CMD with the environment set, then stop
//	emulate -demo      sign in eight connections at once, work, tell, stop
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

func main() {
	show := flag.Bool("demo", false, "sign in eight connections at once, do some work, tell what happened")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `usage: emulate [-demo] [-- command [argument ...]]

An Azure to test against, on 127.0.0.1.

  emulate                    stay up until Ctrl-C; print a DSN and exports to paste
  emulate -- go test ./...   run a command with DATABASE_URL and the identity set
  emulate -demo              show a sign-in from end to end

`)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *show, flag.Args())
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "emulate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, show bool, args []string) (err error) {
	if show {
		return demo(ctx, os.Stdout)
	}
	az, err := emulator.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	dsn := az.DSN("aad_auth=managed-identity")
	if len(args) > 0 {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(append(os.Environ(), az.Environ()...), "DATABASE_URL="+dsn)
		return cmd.Run()
	}
	fmt.Printf("DSN for the driver aadpostgres:\n\n  %s\n\nEnvironment:\n\n", dsn)
	for _, kv := range az.Environ() {
		fmt.Println("  export", kv)
	}
	fmt.Println("\nCtrl-C stops it.")
	<-ctx.Done()
	return nil
}
