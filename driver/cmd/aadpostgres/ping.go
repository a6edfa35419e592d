package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

var ping = command{
	name: "ping", args: "[-json] [DSN]",
	does: "Sign in once, and say as whom, where and how long each step took",
	about: `  aadpostgres ping 'host=app.postgres.database.azure.com dbname=app aad_auth=azure-cli'
  aadpostgres ping aadpostgres://app.postgres.database.azure.com/app
  PGHOST=app.postgres.database.azure.com aadpostgres ping

`,
	run: func(ctx context.Context, c *call) error {
		dsn, err := c.dsn()
		if err != nil {
			return err
		}
		began := time.Now()
		found := map[string]string{}
		took := map[string]time.Duration{}
		var steps []string
		for check := range driver.Diagnose(ctx, dsn, patience) {
			if check.Err != nil && c.json {
				return errors.Join(printJSON(map[string]any{"failed": check.Name, "error": check.Err.Error()}), errFound)
			}
			if check.Err != nil {
				return check.Err
			}
			found[check.Name] = check.Found
			if check.Took > 0 {
				took[check.Name] = check.Took
				steps = append(steps, check.Name+" "+ms(check.Took))
			}
		}
		if c.json {
			return printJSON(map[string]any{"sign_in": found["sign-in"], "tls": found["tls"], "token": found["token"],
				"took_ns": took, "total_ns": time.Since(began)})
		}
		for _, name := range []string{"sign-in", "tls", "token"} {
			if found[name] != "" {
				fmt.Printf("%-8s %s\n", name, found[name])
			}
		}
		fmt.Printf("%-8s %s: %s\n", "took", ms(time.Since(began)), strings.Join(steps, ", "))
		return nil
	},
}
