package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

var tokenCommand = command{
	name:     "token",
	synopsis: "[-json] [DSN]",
	summary:  "Print the token that a sign-in presents as its password",
	about: `A token usually expires after about an hour. Until then anyone who has it can sign in
with it. Keep it out of files and logs, and send it over verified TLS only. To give a
token to one program, use aadpostgres exec.

` + aboutDSN,
	statuses: []string{
		"0  the token was printed",
		"1  there is no token",
		"2  the command line is invalid",
	},
	examples: []string{
		"aadpostgres token 'host=app.postgres.database.azure.com aad_auth=azure-cli'",
		`aadpostgres token -json "$DATABASE_URL"`,
	},
	run: runToken,
}

func runToken(ctx context.Context, inv *invocation) error {
	cred, err := inv.credentials(ctx)
	if err != nil {
		return err
	}
	if cred.Expires.IsZero() {
		return &driver.Error{Step: driver.StepDSN, Err: errors.New("aad_auth=password has no token; set aad_auth to another mode")}
	}
	if inv.json {
		return printJSON(map[string]any{"user": cred.User, "token": cred.Password.Value(), "expires": cred.Expires.UTC().Format(time.RFC3339)})
	}
	_, err = fmt.Fprintln(stdout, cred.Password.Value())
	return err
}

// credentials requests what a sign-in with the DSN would present.
func (inv *invocation) credentials(ctx context.Context) (driver.Credentials, error) {
	dsn, err := inv.dsn()
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
