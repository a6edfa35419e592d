package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A postgres is the emulator's PostgreSQL server, which can be stopped and started.
type postgres struct {
	t    testing.TB
	dsn  string // of the superuser, not through the gateway
	data string
	ctl  string
	opts string // that the server was started with
}

// newPostgres finds the emulator's server. It stops the server at the end of the test,
// before the emulator is closed: a server that pg_ctl restarted is not the emulator's child.
func newPostgres(t testing.TB, az *emulator.Azure) *postgres {
	p := &postgres{t: t, dsn: az.PostgresDSN()}
	conn, err := pgx.Connect(context.Background(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var bin string
	if err := conn.QueryRow(context.Background(), "select current_setting('data_directory'), (select setting from pg_config where name = 'BINDIR')").Scan(&p.data, &bin); err != nil {
		t.Fatal(err)
	}
	p.ctl = filepath.Join(bin, "pg_ctl")
	line, err := os.ReadFile(filepath.Join(p.data, "postmaster.opts"))
	if err != nil {
		t.Fatal(err)
	}
	_, p.opts, _ = strings.Cut(strings.TrimSpace(string(line)), " ")
	t.Cleanup(func() { p.pgCtl("stop", "-m", "immediate") })
	return p
}

// pgCtl runs pg_ctl. It starts a server with the options that it had before.
func (p *postgres) pgCtl(args ...string) {
	cmd := exec.Command(p.ctl, append(args, "-D", p.data, "-w", "-s", "-o", p.opts, "-l", filepath.Join(p.data, "restarted.log"))...)
	if err := runAsOwner(cmd, p.data); err != nil {
		p.t.Error(err)
	}
	// Run and not CombinedOutput: the server would inherit the pipe and keep it open.
	if err := cmd.Run(); err != nil {
		p.t.Errorf("pg_ctl %v: %v", args, err)
	}
}

// crash restarts the server without a shutdown: sessions are cut off.
func (p *postgres) crash() { p.pgCtl("restart", "-m", "immediate") }

// restart restarts the server after an orderly shutdown, which rolls transactions back.
func (p *postgres) restart() { p.pgCtl("restart", "-m", "fast") }

// exec runs SQL as superuser, not through the gateway.
func (p *postgres) exec(sql string, args ...any) {
	conn, err := pgx.Connect(context.Background(), p.dsn)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		p.t.Error(err)
	}
}

// limit sets the role's connection limit; -1 is none.
func (p *postgres) limit(role string, n int) {
	p.exec(fmt.Sprintf("alter role %s connection limit %d", pgx.Identifier{role}.Sanitize(), n))
}

// terminate terminates the role's sessions.
func (p *postgres) terminate(role string) {
	p.exec("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", role)
}
