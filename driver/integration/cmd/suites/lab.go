package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/integration/cmd/suites/through"
)

// A lab has what all suites share: a server, and a folder for their copies.
type lab struct {
	azure *emulator.Azure
	out   io.Writer
	root  string // of this repository
	dir   string
}

// The roles of the two runs. Both are superusers, because the suites were written for one.
const (
	passwordRole = "suites"
	entraRole    = "app"
)

func newLab(ctx context.Context, out io.Writer) (*lab, error) {
	gomod, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", ourModule).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w; run this in the repository", err)
	}
	l := &lab{out: out, root: strings.TrimSpace(string(gomod))}
	if l.dir, err = os.MkdirTemp("", "suites-"); err != nil {
		return nil, err
	}
	if l.azure, err = emulator.New(ctx); err != nil {
		l.removeAll()
		return nil, err
	}
	err = l.exec(ctx, "postgres", "CREATE ROLE "+passwordRole+" SUPERUSER LOGIN PASSWORD '"+passwordRole+"'; ALTER ROLE "+entraRole+" SUPERUSER")
	if err != nil {
		l.removeAll()
		return nil, errors.Join(err, l.azure.Close())
	}
	return l, nil
}

func (l *lab) removeAll() {
	if err := os.RemoveAll(l.dir); err != nil {
		fmt.Fprintln(l.out, "suites:", err)
	}
}

// exec runs statements as superuser.
func (l *lab) exec(ctx context.Context, database string, statements ...string) error {
	config, err := pgx.ParseConfig(l.azure.PostgresDSN())
	if err != nil {
		return err
	}
	config.Database = database
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// newDatabase creates an empty database in place of the one of an earlier run.
func (l *lab) newDatabase(ctx context.Context, s suite) error {
	err := l.exec(ctx, "postgres", "DROP DATABASE IF EXISTS "+s.databaseName()+" WITH (FORCE)", "CREATE DATABASE "+s.databaseName()+" TEMPLATE template0")
	if err != nil || s.setup == "" {
		return err
	}
	return l.exec(ctx, s.databaseName(), s.setup)
}

func (s suite) databaseName() string {
	if s.database != "" {
		return s.database
	}
	return "suites"
}

// dsns returns the URLs of a suite's database: past the gateway for pgx, and for the driver.
func (l *lab) dsns(s suite) (dsns [2]string, err error) {
	config, err := pgx.ParseConfig(l.azure.PostgresDSN())
	if err != nil {
		return dsns, err
	}
	dsns[0] = fmt.Sprintf("postgres://%s:%s@%s:%d/%s?sslmode=disable", passwordRole, passwordRole, config.Host, config.Port, s.databaseName())
	u, err := url.Parse(l.azure.URL("user="+entraRole, "aad_auth=managed-identity"))
	if err != nil {
		return dsns, err
	}
	u.Path = "/" + s.databaseName()
	dsns[1] = u.String()
	return dsns, nil
}

// environ returns the environment of a run: without any variable that names a server or
// an identity, but for those that the suite and the driver read.
func (l *lab) environ(s suite, dsns [2]string, run int) ([]string, error) {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		for _, prefix := range []string{"PG", "AZURE_", "IDENTITY_", "MSI_", "IMDS_", "SYSTEM_", "DATABASE_URL=", "SUITES_"} {
			if strings.HasPrefix(kv, prefix) {
				return true
			}
		}
		return false
	})
	env = append(env, through.DSN+"="+dsns[run], through.AdminDSN+"="+l.azure.PostgresDSN())
	for _, kv := range s.env {
		env = append(env, fill(kv, dsns, run))
	}
	if run == 0 {
		return env, nil
	}
	host, err := l.azure.Environ(emulator.AppService, emulator.Identity{})
	return append(env, host...), err
}

func fill(s string, dsns [2]string, run int) string {
	return strings.NewReplacer("{DSN}", dsns[run], "{PGX}", dsns[0]).Replace(s)
}

// goCommand runs the go command in the module of a suite.
func (l *lab) goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return string(out), nil
}

// log returns the name of the file for a run's output.
func (l *lab) log(s suite, name string) string { return filepath.Join(l.dir, s.name, name+".log") }
