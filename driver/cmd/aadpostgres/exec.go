package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

var execCommand = command{
	name:     "exec",
	synopsis: "[DSN] -- COMMAND [ARGUMENT ...]",
	summary:  "Run psql, pg_dump or another libpq program with a token",
	about: `exec sets PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD (the token), PGSSLMODE and
related variables for COMMAND only. With these, libpq verifies TLS as the driver does.
COMMAND does not get a variable whose value is a DSN of this driver, such as
DATABASE_URL: libpq cannot read it, and it may hold a secret. "psql $DATABASE_URL" in a
script still connects, because psql takes all it needs from the PG variables.
COMMAND replaces exec, so signals reach it directly. SIGHUP and SIGINT stay ignored for
COMMAND if exec starts with them ignored, as under nohup. A token usually expires after about an hour. If COMMAND opens connections after that,
restart it.

` + aboutDSN,
	program: true,
	statuses: []string{
		"0-255  the status of COMMAND, if it runs",
		"1      the DSN is invalid, or there is no token",
		"2      the command line is invalid",
		"126    COMMAND cannot be executed",
		"127    COMMAND was not found",
	},
	examples: []string{
		"aadpostgres exec 'host=app.postgres.database.azure.com dbname=app aad_auth=azure-cli' -- psql",
		"aadpostgres exec -- pg_dump --schema-only",
	},
	run: runExec,
}

func runExec(ctx context.Context, inv *invocation) error {
	if len(inv.program) == 0 {
		return usageError("no program is given; name it after --, as in aadpostgres exec -- psql")
	}
	name := inv.program[0]
	path, err := exec.LookPath(name)
	if err != nil {
		return startError{name, err}
	}
	connString, err := inv.dsn()
	if err != nil {
		return err
	}
	config, err := dsn.ParseEnv(connString, dsn.OS)
	if err != nil {
		return &driver.Error{Step: driver.StepDSN, Err: err}
	}
	cred, err := inv.credentials(ctx)
	if err != nil {
		return err
	}
	env, err := programEnv(config, cred)
	if err != nil {
		return err
	}
	err = execProgram(path, inv.program, env)
	if err != nil {
		return startError{name, err}
	}
	return nil
}

// A startError says why a program cannot be run.
type startError struct {
	name string
	err  error
}

func (e startError) Error() string {
	if strings.Contains(e.name, "=") || strings.Contains(e.name, "://") {
		// A DSN in the wrong place may hold a password.
		return "aadpostgres exec: the argument after -- is not a program; put a DSN before --"
	}
	cause := e.err
	var lookup *exec.Error
	if errors.As(cause, &lookup) {
		cause = lookup.Err
	}
	return fmt.Sprintf("aadpostgres exec: %q: %v; %s", e.name, cause, e.hint())
}

func (e startError) hint() string {
	switch {
	case errors.Is(e.err, exec.ErrNotFound):
		return "check its name, and PATH"
	case isNoFormat(e.err):
		return "begin a script with a line such as #!/bin/sh, or name its interpreter after --"
	case isTooLong(e.err):
		return "shorten its arguments or the environment, which holds the token"
	case errors.Is(e.err, fs.ErrNotExist) && e.exists():
		return "check the interpreter in its first line"
	case e.notFound():
		return "check its name"
	}
	return "make it executable, or name another program"
}

// exists reports whether the program is there: what was not found is then its
// interpreter.
func (e startError) exists() bool {
	path, err := exec.LookPath(e.name)
	return err == nil && path != ""
}

func (e startError) Unwrap() error { return e.err }

func (e startError) notFound() bool {
	return errors.Is(e.err, exec.ErrNotFound) || errors.Is(e.err, fs.ErrNotExist)
}

// exitStatus is as POSIX has it for shells.
func (e startError) exitStatus() int {
	if e.notFound() {
		return 127
	}
	return 126
}
