package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

var role = command{
	name: "role", args: "[flag ...] user|group|managed-identity|service-principal NAME",
	does: "Print the SQL that makes a role for a principal of Entra, or run it",
	about: `NAME is what clients write as user: a person's UPN, a group's or an identity's display
name. With -object-id it may be any name. The SQL is for an Entra administrator of the
server, in database postgres. A new role may connect and no more: grant it the rest.

  aadpostgres role user me@contoso.com
  aadpostgres role managed-identity billing -object-id 00000000-0000-0000-0000-000000000000
  aadpostgres role group 'Prod DB Readonly' -server-type single
  aadpostgres role group Admins -admin -apply 'host=app.postgres.database.azure.com user=admin@contoso.com aad_auth=azure-cli'

`,
	flags: func(f *flag.FlagSet) {
		f.Bool("admin", false, "an Entra administrator of the server")
		f.String("server-type", "flexible", "`kind` of server: flexible or single")
		f.String("object-id", "", "the principal's object `id`, an application's being its service principal's; flexible server")
		f.String("client-id", "", "an application's client `id`; single server")
		f.String("apply", "", "sign in by this `DSN` as administrator, run the SQL and show what came of it")
	},
	run: makeRole,
}

func makeRole(ctx context.Context, c *call) error {
	if len(c.args) != 2 {
		return misuse("give a kind and a name, in quotes if it has spaces")
	}
	empty := ""
	c.flags.Visit(func(f *flag.Flag) {
		if f.Value.String() == "" { // of a variable that is not set, most likely
			empty = f.Name
		}
	})
	if empty != "" {
		return misuse("-" + empty + " is given an empty value; leave it out, or set it")
	}
	if !slices.Contains(driver.RoleKinds(), c.args[0]) {
		return misuse(word("kind", c.args[0]) + " is not known; use user, group, managed-identity or service-principal")
	}
	value := func(name string) string { return c.flags.Lookup(name).Value.String() }
	r := driver.Role{Kind: c.args[0], Name: c.args[1], ServerType: value("server-type"), Admin: value("admin") == "true",
		ObjectID: value("object-id"), ClientID: value("client-id")}
	statements, err := r.SQL()
	if err != nil {
		return misuse(err.Error())
	}
	made := ""
	if value("apply") != "" {
		if made, err = apply(ctx, r, value("apply")); err != nil {
			return err
		}
	}
	if c.json {
		return printJSON(map[string]any{"sql": statements, "made": made})
	}
	fmt.Println(strings.Join(statements, "\n"))
	if made != "" {
		fmt.Println("-- " + made)
	}
	return nil
}

// apply makes the role by the administrator's DSN, in database postgres whatever
// that says.
func apply(ctx context.Context, r driver.Role, target string) (string, error) {
	config, err := dsn.Parse(target)
	if err != nil {
		return "", &driver.Error{Step: driver.StepDSN, Err: err}
	}
	config.Params["dbname"] = "postgres"
	connector, err := driver.NewConnector(config.DSN(), patience)
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
	return r.Apply(ctx, conn)
}
