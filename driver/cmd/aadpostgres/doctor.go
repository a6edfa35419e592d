package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

var doctorCommand = command{
	name:     "doctor",
	synopsis: "[-json] [-timeout TIME] [DSN]",
	summary:  "Check every step of a sign-in and print how to fix the first failure",
	about: `doctor opens one connection, with the identity's own rights. The steps are options,
cloud, credential, token, claims, user, dns, tcp, tls, direct-tls, sign-in and role. doctor
stops at the first one that fails.

` + aboutDSN,
	flags: func(f *flag.FlagSet) { timeoutFlag(f, 10*time.Second) },
	statuses: []string{
		"0  no check failed; there may be warnings",
		"1  a check failed",
		"2  the command line is invalid",
	},
	examples: []string{
		"aadpostgres doctor 'host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity'",
		`aadpostgres doctor -json "$DATABASE_URL"`,
	},
	run: runDoctor,
}

// A doctorReport is the output of doctor -json.
type doctorReport struct {
	OK     bool           `json:"ok"`
	Checks []driver.Check `json:"checks"`
}

func runDoctor(ctx context.Context, inv *invocation) error {
	dsn, err := inv.dsn()
	if err != nil {
		return err
	}
	timeout, err := inv.connectTimeout()
	if err != nil {
		return err
	}
	report := doctorReport{OK: true, Checks: []driver.Check{}}
	for check := range driver.Diagnose(ctx, dsn, timeout) {
		report.Checks = append(report.Checks, check)
		if check.Status == driver.StatusFail {
			report.OK = false
		}
		if !inv.json {
			printCheck(check)
		}
	}
	if inv.json {
		err = printJSON(report)
		if err != nil {
			return err
		}
	}
	if !report.OK {
		return errReported
	}
	return nil
}

func printCheck(check driver.Check) {
	fmt.Fprintf(stdout, "%s  %-10s %s", label(check.Status), check.Name, check.Found)
	if check.Took > 0 {
		fmt.Fprintf(stdout, "  (%s)", round(check.Took))
	}
	fmt.Fprintln(stdout)
	if check.Hint != "" {
		fmt.Fprintf(stdout, "      %-10s -> %s\n", "", check.Hint)
	}
}
