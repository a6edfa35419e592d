package main

import (
	"context"
	"fmt"

	"github.com/aadpostgres/aadpostgres/driver"
)

var doctor = command{
	name: "doctor", args: "[-json] [DSN]",
	does: "Check every step of a sign-in, and say what to do where it breaks",
	about: `It connects once, with the identity's own rights, and stops at the first step that
fails: options, cloud, credential, token, claims, user, dns, tcp, tls, sign-in, role.

  aadpostgres doctor 'host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity'
  aadpostgres doctor -json "$DATABASE_URL"

`,
	run: func(ctx context.Context, c *call) error {
		dsn, err := c.dsn()
		if err != nil {
			return err
		}
		all := checks{OK: true, Checks: []driver.Check{}}
		for check := range driver.Diagnose(ctx, dsn, patience) {
			all.OK = all.OK && check.Status != driver.StatusFail
			if all.Checks = append(all.Checks, check); c.json {
				continue
			}
			fmt.Printf("%s  %-10s %s", mark(check.Status), check.Name, check.Found)
			if check.Took > 0 {
				fmt.Printf("  (%s)", ms(check.Took))
			}
			fmt.Println()
			if check.Hint != "" {
				fmt.Printf("      %-10s -> %s\n", "", check.Hint)
			}
		}
		if c.json {
			err = printJSON(all)
		}
		if err == nil && !all.OK {
			err = errFound
		}
		return err
	},
}

// checks is what doctor -json prints.
type checks struct {
	OK     bool           `json:"ok"`
	Checks []driver.Check `json:"checks"`
}
