package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

var token = command{
	name: "token", args: "[-json] [DSN]",
	does: "Print the token that a sign-in would present",
	about: `The token is a password for as long as it lives, an hour or so: keep it out of files
and logs, and send it over verified TLS only. For a single program, use exec.

  export PGPASSWORD="$(aadpostgres token "$DATABASE_URL")"
  aadpostgres token -json 'host=app.postgres.database.azure.com aad_auth=azure-cli'

`,
	run: func(ctx context.Context, c *call) error {
		login, err := c.login(ctx)
		if err != nil {
			return err
		}
		if login.Expires.IsZero() {
			return &driver.Error{Step: driver.StepDSN, Err: errors.New("aad_auth=password has no token; name a mode that has")}
		}
		if c.json {
			return printJSON(map[string]any{"user": login.User, "token": login.Password, "expires": login.Expires.UTC().Format(time.RFC3339)})
		}
		_, err = fmt.Println(login.Password)
		return err
	},
}

// login asks for what the DSN's sign-in presents.
func (c *call) login(ctx context.Context) (driver.Credentials, error) {
	dsn, err := c.dsn()
	if err != nil {
		return driver.Credentials{}, err
	}
	connector, err := driver.NewConnector(dsn)
	if err != nil {
		return driver.Credentials{}, err
	}
	defer connector.Close()
	return connector.Credentials(ctx)
}
