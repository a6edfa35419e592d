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

// A backend is the emulator's PostgreSQL, to be stopped and started.
type backend struct {
	t    testing.TB
	dsn  string
	data string
	ctl  string
	opts string // with which it was started
}

// serverOf finds the emulator's server. What it has started is stopped before the
// emulator ends.
func serverOf(t testing.TB, az *emulator.Azure) *backend {
	s := &backend{t: t, dsn: az.PostgresDSN()}
	conn, err := pgx.Connect(context.Background(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var bin string
	if err := conn.QueryRow(context.Background(), "select current_setting('data_directory'), (select setting from pg_config where name = 'BINDIR')").Scan(&s.data, &bin); err != nil {
		t.Fatal(err)
	}
	s.ctl = filepath.Join(bin, "pg_ctl")
	line, err := os.ReadFile(filepath.Join(s.data, "postmaster.opts"))
	if err != nil {
		t.Fatal(err)
	}
	_, s.opts, _ = strings.Cut(strings.TrimSpace(string(line)), " ")
	t.Cleanup(func() { s.run("stop", "-m", "immediate") })
	return s
}

// run runs pg_ctl. A server is started as it was before.
func (s *backend) run(args ...string) {
	cmd := exec.Command(s.ctl, append(args, "-D", s.data, "-w", "-s", "-o", s.opts, "-l", filepath.Join(s.data, "restarted.log"))...)
	if err := asOwner(cmd, s.data); err != nil {
		s.t.Error(err)
	}
	// No pipe: the server would hold it.
	if err := cmd.Run(); err != nil {
		s.t.Errorf("pg_ctl %v: %v", args, err)
	}
}

// crash ends all sessions in the middle of what they do, and starts again.
func (s *backend) crash() { s.run("restart", "-m", "immediate") }

// restart ends sessions after what they do, and starts again.
func (s *backend) restart() { s.run("restart", "-m", "fast") }

// exec runs SQL past the gateway, as superuser.
func (s *backend) exec(sql string, args ...any) {
	conn, err := pgx.Connect(context.Background(), s.dsn)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		s.t.Error(err)
	}
}

// limit lets no further session of the role in, as a server that is full.
func (s *backend) limit(role string, n int) {
	s.exec(fmt.Sprintf("alter role %s connection limit %d", pgx.Identifier{role}.Sanitize(), n))
}

// terminate ends the role's sessions.
func (s *backend) terminate(role string) {
	s.exec("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", role)
}
