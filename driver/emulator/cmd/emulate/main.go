// Emulate runs an Azure to test against: an Entra, a gateway that signs in as
// Azure Database for PostgreSQL does, and a real PostgreSQL.
//
//	go install github.com/aadpostgres/aadpostgres/driver/emulator/cmd/emulate@latest
//
// It is used in three ways:
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
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

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
	flag.Func("on", "run the command as on `HOST`: app-service (the default), kubernetes, pipelines,\nworkstation, machine-learning or cloud-shell", func(s string) error {
		p.on = emulator.Host(s)
		return nil
	})
	flag.Func("user", "make a role for [KIND:]`NAME`; repeat it for more. KIND is managed-identity,\nservice-principal, user or group; a name with an @ is a user's. The first one is who runs\nthe command; without any, managed identity app is", p.add(false))
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
	var status int
	var err error
	if *show {
		err = demo(ctx, os.Stdout)
	} else {
		status, err = run(ctx, p, os.Stdout, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulate:", err)
		status = cmp.Or(status, 1)
	}
	os.Exit(status)
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
			return fmt.Errorf("%q is none of managed-identity, service-principal, user and group", id.Kind)
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

// run returns the command's exit status, and what went wrong beside it.
func run(ctx context.Context, p place, out io.Writer, args []string) (status int, err error) {
	opts := p.people
	if p.single {
		opts = append(opts, emulator.WithSingleServer())
	}
	az, err := emulator.New(ctx, opts...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	if p.first == "" {
		p.first = "app"
	}
	who := az.Identity(p.first)
	if who.Kind == emulator.ServicePrincipal && slices.Contains(managed, p.on) {
		return 0, fmt.Errorf("%s has managed identities only, and %s is an application; try -on %s or -on %s", p.on, who.Name, emulator.Kubernetes, emulator.Pipelines)
	}
	if len(args) > 0 {
		running, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		cmd, err := az.Command(running, p.on, who, args[0], args[1:]...)
		if err != nil {
			return 0, err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, os.Stderr
		return attend(ctx, cmd, end)
	}
	exports, err := az.Exports(p.on, who)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%s on %s; paste this where programs are to find it:\n\n", who.Name, p.on)
	for _, kv := range exports {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(out, "  export %s=%s\n", name, quote(value))
	}
	fmt.Fprintln(out, "\nCtrl-C stops it.")
	<-ctx.Done()
	return 0, nil
}

// managed are the hosts that have managed identities and nothing else.
var managed = []emulator.Host{emulator.AppService, emulator.MachineLearning, emulator.CloudShell}

// attend runs the command to its end, unless ctx has ended before, and returns its exit status as a shell would. A
// terminal's Ctrl-C goes to the command as well as to this process, and what comes of it
// is the command's business. A second one, or SIGTERM, calls end, which asks it to end,
// and kills it if it does not within patience.
func attend(ctx context.Context, cmd *exec.Cmd, end func()) (status int, err error) {
	if runtime.GOOS != "windows" { // which can but kill
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	}
	cmd.WaitDelay = patience
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer close(done)
	go func() {
		for again := false; ; again = true {
			select {
			case s := <-signals:
				if again || s == syscall.SIGTERM {
					end()
				}
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	state := cmd.ProcessState
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal()), nil
	}
	if state.Exited() { // and how says the status
		return state.ExitCode(), nil
	}
	return 0, err
}

// patience is how long a command that is told to end may take to do so.
var patience = 10 * time.Second

// quote makes one word of a value, for a shell.
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
