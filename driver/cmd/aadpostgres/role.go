package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

var roleCommand = command{
	name:     "role",
	synopsis: "[flag ...] user|group|managed-identity|service-principal NAME",
	summary:  "Print or run the SQL that creates a role for an Entra principal",
	about: `NAME is the role, which clients give as user. It must be a person's user principal
name, or the display name of a group, managed identity or service principal. With
-object-id it may be any name.

An Entra administrator of the server must run the SQL in database postgres. The new
role may connect. Grant it any other privilege that it needs.
`,
	flags: func(f *flag.FlagSet) {
		f.Bool("admin", false, "make the role an Entra administrator of the server")
		f.String("server-type", "flexible", "server `TYPE`: flexible or single")
		f.String("object-id", "", "object `ID` of the principal, or of an application's service principal\n(flexible server only)")
		f.String("client-id", "", "client `ID` of the application or managed identity (single server only)")
		f.String("apply", "", "sign in with `DSN` as an Entra administrator, run the SQL and print the new role")
		timeoutFlag(f, time.Minute)
	},
	statuses: []string{
		"0  the SQL was printed and, with -apply, run",
		"1  the SQL could not be run or printed",
		"2  the command line is invalid",
	},
	examples: []string{
		"aadpostgres role user me@contoso.com",
		"aadpostgres role managed-identity billing -object-id 00000000-0000-0000-0000-000000000000",
		"aadpostgres role group 'Prod DB Readonly' -server-type single",
		"aadpostgres role group Admins -admin -apply 'host=app.postgres.database.azure.com user=admin@contoso.com aad_auth=azure-cli'",
	},
	run: runRole,
}

func runRole(ctx context.Context, inv *invocation) error {
	role, err := newRole(inv)
	if err != nil {
		return err
	}
	statements, err := role.SQL()
	if err != nil {
		return usageError(err.Error())
	}
	applied := ""
	if inv.value("apply") != "" {
		applied, err = inv.apply(ctx, role)
		if err != nil {
			return err
		}
	}
	if inv.json {
		err = printJSON(map[string]any{"sql": statements, "made": applied})
	} else {
		err = printRole(statements, applied)
	}
	if err != nil && applied != "" {
		return fmt.Errorf("%w (the role has been created)", err)
	}
	return err
}

func printRole(statements []string, applied string) error {
	text := strings.Join(statements, "\n") + "\n"
	if applied != "" {
		text += "-- " + applied + "\n"
	}
	_, err := fmt.Fprint(stdout, text)
	return err
}

// newRole returns the role that the command line describes.
func newRole(inv *invocation) (driver.Role, error) {
	if len(inv.args) != 2 {
		return driver.Role{}, usageError("a kind and a name are needed; give both, and quote a name that contains spaces")
	}
	empty := inv.emptyFlag()
	if empty != "" {
		return driver.Role{}, usageError(fmt.Sprintf("-%s has an empty value; set it, or remove the flag", empty))
	}
	kind := inv.args[0]
	kinds := driver.RoleKinds()
	if !slices.Contains(kinds, kind) {
		return driver.Role{}, usageError(fmt.Sprintf("%s is not known; use one of %s", describe("kind", kind), strings.Join(kinds, ", ")))
	}
	return driver.Role{
		Kind:       kind,
		Name:       inv.args[1],
		ServerType: inv.value("server-type"),
		Admin:      inv.value("admin") == "true",
		ObjectID:   inv.value("object-id"),
		ClientID:   inv.value("client-id"),
	}, nil
}

// value returns the value of a flag that exists.
func (inv *invocation) value(name string) string {
	return inv.flags.Lookup(name).Value.String()
}

// emptyFlag returns the name of a flag whose value is empty, or "". The value most
// likely comes from a variable that is not set.
func (inv *invocation) emptyFlag() string {
	name := ""
	inv.flags.Visit(func(f *flag.Flag) {
		if f.Value.String() == "" {
			name = f.Name
		}
	})
	return name
}

// apply creates the role with the administrator's DSN, always in database postgres, and
// describes the new role in one line.
func (inv *invocation) apply(ctx context.Context, role driver.Role) (string, error) {
	timeout, _, err := inv.timeout()
	if err != nil {
		return "", err
	}
	option, err := inv.connectTimeout()
	if err != nil {
		return "", err
	}
	config, err := dsn.Parse(inv.value("apply"))
	if err != nil {
		return "", &driver.Error{Step: driver.StepDSN, Err: err}
	}
	config.Params["dbname"] = "postgres"
	connector, err := driver.NewConnector(config.DSN(), option)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return role.Apply(ctx, conn)
}
