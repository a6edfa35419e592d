package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

var pingCommand = command{
	name:     "ping",
	synopsis: "[-json] [-timeout TIME] [DSN]",
	summary:  "Sign in once and print the role, the server, TLS and timings",
	about:    aboutDSN,
	flags:    func(f *flag.FlagSet) { timeoutFlag(f, 10*time.Second) },
	statuses: []string{
		"0  the sign-in succeeded",
		"1  the sign-in failed",
		"2  the command line is invalid",
	},
	examples: []string{
		"aadpostgres ping 'host=app.postgres.database.azure.com dbname=app aad_auth=azure-cli'",
		"aadpostgres ping aadpostgres://app.postgres.database.azure.com/app",
		"PGHOST=app.postgres.database.azure.com aadpostgres ping",
	},
	run: runPing,
}

func runPing(ctx context.Context, inv *invocation) error {
	dsn, err := inv.dsn()
	if err != nil {
		return err
	}
	timeout, err := inv.connectTimeout()
	if err != nil {
		return err
	}
	start := time.Now()
	found := map[string]string{}
	took := map[string]time.Duration{}
	var steps []string
	for check := range driver.Diagnose(ctx, dsn, timeout) {
		if check.Err != nil && inv.json {
			err = printJSON(map[string]any{"failed": check.Name, "error": check.Err.Error()})
			if err != nil {
				return err
			}
			return errReported
		}
		if check.Err != nil {
			return check.Err
		}
		found[check.Name] = check.Found
		if check.Took > 0 {
			took[check.Name] = check.Took
			steps = append(steps, fmt.Sprintf("%s %s", check.Name, round(check.Took)))
		}
	}
	total := time.Since(start)
	if inv.json {
		return printJSON(map[string]any{"sign_in": found["sign-in"], "tls": found["tls"], "token": found["token"], "direct_tls": found["direct-tls"],
			"took_ns": took, "total_ns": total})
	}
	for _, name := range []string{"sign-in", "tls", "direct-tls", "token"} {
		if found[name] != "" {
			fmt.Fprintf(stdout, "%-8s %s\n", strings.TrimSuffix(name, "-tls"), found[name])
		}
	}
	fmt.Fprintf(stdout, "%-8s %s: %s\n", "took", round(total), strings.Join(steps, ", "))
	return nil
}
