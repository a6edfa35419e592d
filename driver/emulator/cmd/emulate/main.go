// Emulate runs a local emulation of Azure for tests: Entra, the gateway of Azure Database
// for PostgreSQL, and a real PostgreSQL.
//
//	go install github.com/aadpostgres/aadpostgres/driver/emulator/cmd/emulate@latest
//
// There are three ways to use it:
//
//	emulate            serve until Ctrl-C, and print environment variables to paste
//	emulate -- CMD     run CMD, in any language, with those variables, then stop
//	emulate -demo      show eight concurrent sign-ins and some work, then stop
//
// CMD has the environment that it would have on Azure, on the host that -on selects. Its
// HTTPS_PROXY leads Entra's names, such as login.microsoftonline.com, to the emulator and
// refuses every other host, so that no token request leaves this machine. This
// example requests the token of App Service's identity and signs in with psql:
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
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const usage = `usage: emulate [-on HOST] [-user NAME] [-admin NAME] [-single] [-- command [argument ...]]
       emulate -demo

Emulates Azure for tests, on 127.0.0.1.

  emulate                    serve until Ctrl-C, and print environment variables to paste
  emulate -- go test ./...   run a command with those variables: DATABASE_URL, PGHOST and
                             others of libpq, and the identity variables of its host
  emulate -on workstation -user me@contoso.com -- ./report.sh
  emulate -demo              show a sign-in from end to end

`

func main() {
	c := config{host: emulator.AppService}
	flag.Func("on", "run the command as on `HOST`: app-service (the default), kubernetes, pipelines,\nworkstation, on-premises (an application with AZURE_CLIENT_SECRET), machine-learning\nor cloud-shell", func(s string) error {
		c.host = emulator.Host(s)
		return nil
	})
	flag.Func("user", "create a role for [KIND:]`NAME`; repeat the flag for more roles. KIND is\nmanaged-identity, service-principal, user or group. A name with an @ is a user's,\nand any other one a managed identity's or, on-premises, an application's.\nThe first one runs the command; the default is app", c.addIdentity(emulator.WithIdentity))
	flag.Func("admin", "create a role like -user, for an Entra administrator `NAME`, who can create roles", c.addIdentity(emulator.WithAdmin))
	flag.BoolVar(&c.single, "single", false, "emulate single server, whose user names end in @"+emulator.ServerName)
	showDemo := flag.Bool("demo", false, "show eight concurrent sign-ins and some work")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var status int
	var err error
	if *showDemo {
		err = demo(ctx, os.Stdout)
	} else {
		status, err = run(ctx, c, os.Stdout, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulate:", err)
		status = cmp.Or(status, 1)
	}
	os.Exit(status)
}

// A config is what the flags set.
type config struct {
	host       emulator.Host
	identities []identity
	first      string // name of the first identity, which runs the command
	single     bool
}

// An identity is what -user or -admin adds, and the option that adds it.
type identity struct {
	emulator.Identity
	option func(emulator.Identity) emulator.Option
}

// options returns the emulator's options.
func (c *config) options() (opts []emulator.Option) {
	all := c.identities
	if c.first == "" {
		all = []identity{{emulator.Identity{Name: "app"}, emulator.WithIdentity}}
	}
	for _, id := range all {
		if id.Kind == "" && c.host == emulator.OnPremises {
			id.Kind = emulator.ServicePrincipal // no machine outside Azure has a managed identity
		}
		opts = append(opts, id.option(id.Identity))
	}
	if c.single {
		opts = append(opts, emulator.WithSingleServer())
	}
	return opts
}

// addIdentity returns the function of a flag that adds an identity by an option.
func (c *config) addIdentity(option func(emulator.Identity) emulator.Option) func(string) error {
	return func(s string) error {
		id := emulator.Identity{Name: s}
		if kind, name, ok := strings.Cut(s, ":"); ok {
			id.Kind = kind
			id.Name = name
		} else if strings.Contains(s, "@") {
			id.Kind = emulator.User
		}
		switch id.Kind {
		case "", emulator.ManagedIdentity, emulator.ServicePrincipal, emulator.User, emulator.Group:
		default:
			return fmt.Errorf("unknown kind %q; use managed-identity, service-principal, user or group", id.Kind)
		}
		if id.Name == "" {
			return errors.New("no name; write NAME or KIND:NAME")
		}
		if c.first == "" {
			c.first = id.Name
		}
		c.identities = append(c.identities, identity{id, option})
		return nil
	}
}

// run runs the command of args, or prints the environment and waits for ctx if there is
// none. It returns the command's exit status, and any other error.
func run(ctx context.Context, c config, out io.Writer, args []string) (status int, err error) {
	az, err := emulator.New(ctx, c.options()...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	id := az.Identity(cmp.Or(c.first, "app"))
	if id.Kind == emulator.ServicePrincipal && slices.Contains(managedIdentityHosts, c.host) {
		return 0, fmt.Errorf("%s has managed identities only, and %s is an application; use -on %s, -on %s or -on %s", c.host, id.Name, emulator.Kubernetes, emulator.Pipelines, emulator.OnPremises)
	}
	if len(args) > 0 {
		cmdCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		cmd, err := az.Command(cmdCtx, c.host, id, args[0], args[1:]...)
		if err != nil {
			return 0, err
		}
		cmd.Stdin = os.Stdin
		cmd.Stdout = out
		cmd.Stderr = os.Stderr
		return runCommand(ctx, cmd, cancel)
	}
	exports, err := az.Exports(c.host, id)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%s on %s; paste this into the shell that runs your program:\n\n", id.Name, c.host)
	for _, kv := range exports {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(out, "  export %s=%s\n", name, quote(value))
	}
	fmt.Fprintln(out, "\nPress Ctrl-C to stop.")
	<-ctx.Done()
	return 0, nil
}

// managedIdentityHosts are the hosts that have managed identities and no others.
var managedIdentityHosts = []emulator.Host{emulator.AppService, emulator.MachineLearning, emulator.CloudShell}

// quote quotes a value for a shell.
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
