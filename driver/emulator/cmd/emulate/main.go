// Emulate runs an Azure to test against: an Entra, a gateway that signs in as
// Azure Database for PostgreSQL does, and a real PostgreSQL.
//
//	emulate            stay up and print exports to paste
//	emulate -- CMD     run CMD, in any language, with them set, then stop
//	emulate -demo      sign in eight connections at once, work, tell, stop
//
// CMD finds what it would find on Azure, where -on says. So does this, which gets
// the token of App Service's identity and signs psql in with it:
//
//	emulate -- sh -c 'PGPASSWORD=$(curl -s -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" \
//	  "$IDENTITY_ENDPOINT?api-version=2019-08-01&resource=https://ossrdbms-aad.database.windows.net" |
//	  sed "s/.*\"access_token\":\"//; s/\".*//") psql -c "select session_user"'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const usage = `usage: emulate [-on HOST] [-user NAME] [-admin NAME] [-single] [-- command [argument ...]]
       emulate -demo

An Azure to test against, on 127.0.0.1.

  emulate                    stay up until Ctrl-C; print exports to paste
  emulate -- go test ./...   run a command with them set: DATABASE_URL, PGHOST and its
                             kin, and what its host gives it to get a token with
  emulate -on workstation -user me@contoso.com -- ./report.sh
  emulate -demo              show a sign-in from end to end

`

func main() {
	p := place{on: emulator.AppService}
	flag.Func("on", "the `HOST` that the command runs on: app-service (the default), kubernetes, pipelines,\nworkstation, machine-learning or cloud-shell", func(s string) error {
		p.on = emulator.Host(s)
		return nil
	})
	flag.Func("user", "make a role for [KIND:]`NAME`; repeat it for more. KIND is managed-identity,\nservice, user or group; a name with an @ is a user's. The first one is who runs\nthe command; without any, managed identity app is", p.add(false))
	flag.Func("admin", "the same, for an Entra administrator `NAME`, who may make roles", p.add(true))
	flag.BoolVar(&p.single, "single", false, "be a single server: user names end in @"+emulator.ServerName)
	show := flag.Bool("demo", false, "sign in eight connections at once, do some work, tell what happened")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *show {
		err = demo(ctx, os.Stdout)
	} else {
		err = run(ctx, p, os.Stdout, flag.Args())
	}
	var end ended
	switch {
	case errors.As(err, &end):
		os.Exit(int(end))
	case err != nil:
		fmt.Fprintln(os.Stderr, "emulate:", err)
		os.Exit(1)
	}
}

// A place is what the flags ask for.
type place struct {
	on     emulator.Host
	people []emulator.Option
	first  string // of them
	single bool
}

func (p *place) add(admin bool) func(string) error {
	return func(s string) error {
		id := emulator.Identity{Name: s}
		if kind, name, ok := strings.Cut(s, ":"); ok {
			id.Kind, id.Name = kind, name
		} else if strings.Contains(s, "@") {
			id.Kind = emulator.User
		}
		switch id.Kind {
		case "", emulator.ManagedIdentity, emulator.ServicePrincipal, emulator.User, emulator.Group:
		default:
			return fmt.Errorf("%q is none of managed-identity, service, user and group", id.Kind)
		}
		if id.Name == "" {
			return errors.New("there is no name")
		}
		if p.first == "" {
			p.first = id.Name
		}
		with := emulator.WithIdentity
		if admin {
			with = emulator.WithAdmin
		}
		p.people = append(p.people, with(id))
		return nil
	}
}

func run(ctx context.Context, p place, out io.Writer, args []string) (err error) {
	opts := p.people
	if p.single {
		opts = append(opts, emulator.WithSingleServer())
	}
	az, err := emulator.New(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	if p.first == "" {
		p.first = "app"
	}
	who := az.Identity(p.first)
	if len(args) > 0 {
		// It may outlive ctx: when it ends is its own affair.
		cmd, err := az.Command(context.WithoutCancel(ctx), p.on, who, args[0], args[1:]...)
		if err != nil {
			return err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, os.Stderr
		return follow(cmd)
	}
	exports, err := az.Exports(p.on, who)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s on %s; paste this where programs are to find it:\n\n", who.Name, p.on)
	for _, kv := range exports {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(out, "  export %s=%s\n", name, quote(value))
	}
	fmt.Fprintln(out, "\nCtrl-C stops it.")
	<-ctx.Done()
	return nil
}

// quote makes one word of a value, for a shell.
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
