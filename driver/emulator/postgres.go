package emulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgres is the real server: one that was given, or one of its own.
type postgres struct {
	dsn    string  // superuser
	data   string  // its folder
	keeper *keeper // of the folders
	cmd    *exec.Cmd
	alive  io.Closer     // the wrapper's standard input: its end ends the server
	exited chan struct{} // closed when cmd has been reaped
	log    io.Writer     // of WithLog

	pool *pgxpool.Pool // superuser, in the database postgres
	lock *pgxpool.Conn // on a given server, for as long as it is used
}

// start fills in dsn, unless it was given.
func (p *postgres) start(ctx context.Context) (err error) {
	if p.dsn != "" {
		conn, err := pgx.Connect(ctx, p.dsn)
		if err != nil {
			return fmt.Errorf("emulator: the given PostgreSQL: %w", err)
		}
		return conn.Close(ctx)
	}
	if p.data, err = dataFolder(); err != nil {
		return err
	}
	if err := p.keep(p.data); err != nil {
		return err
	}
	bin, err := findBinaries()
	if err != nil {
		if bin, err = download(ctx); err != nil {
			return fmt.Errorf("emulator: no PostgreSQL: install its server (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql; Windows: winget install PostgreSQL.PostgreSQL.17), or set AADPOSTGRES_EMULATOR_POSTGRES to a superuser's DSN; downloading one failed: %w", err)
		}
	}
	c, password := &cluster{bin, p.data, p.keeper}, rand.Text()
	if err := c.create(ctx, password); err != nil {
		return err
	}
	for range 3 { // the free port may be taken in between
		if err = p.run(ctx, bin, password); err == nil || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
	}
	return err
}

// keep leaves a folder to the keeper, best before there is one.
func (p *postgres) keep(dir string) (err error) {
	if p.keeper == nil {
		if p.keeper, err = newKeeper(); err != nil {
			return err
		}
	}
	return p.keeper.keep(dir)
}

func (p *postgres) run(ctx context.Context, bin, password string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256", port, password)
	config, err := pgx.ParseConfig(dsn)
	if err != nil { // by PGSERVICE, say
		return fmt.Errorf("emulator: the environment: %w", err)
	}
	args := []string{filepath.Join(bin, "postgres"), "-D", p.data, "-p", fmt.Sprint(port)}
	for _, set := range []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=500",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off"} {
		args = append(args, "-c", set)
	}
	cmd := supervised(args)
	p.keeper.holds(cmd)
	cmd.WaitDelay = patience // for its log, which others may hold
	var log tail
	cmd.Stdout, cmd.Stderr = p.logged(&log), p.logged(&log)
	alive, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.alive, p.exited = cmd, alive, exited
	go func() { cmd.Wait(); close(exited) }()
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			p.dsn = dsn
			return conn.Close(ctx)
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "28P01" {
			return fmt.Errorf("emulator: PostgreSQL did not take its password: %s", &log)
		}
		select {
		case <-p.exited:
			p.cmd = nil
			return fmt.Errorf("emulator: PostgreSQL ended at once: %s", &log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("emulator: PostgreSQL does not answer: %w: %s", err, &log)
		}
	}
}

// patience is how long the end of a server may take: it kills its own processes
// after half of that.
const patience = 10 * time.Second

// stop ends the server and waits for it. One that was given is left running, as
// it was found.
func (p *postgres) stop() error {
	err := p.leave()
	if p.cmd != nil {
		end(p.cmd, p.alive, p.data)
		select {
		case <-p.exited:
		case <-time.After(patience):
			kill(p.cmd)
			<-p.exited
		}
	}
	if p.keeper != nil {
		p.keeper.end()
	}
	if p.data != "" {
		err = errors.Join(err, os.RemoveAll(p.data))
	}
	return err
}

func (p *postgres) database() string {
	config, err := pgx.ParseConfig(p.dsn)
	if err != nil || config.Database == "" {
		return "postgres"
	}
	return config.Database
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// tail keeps the last words of a server's log.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(0, len(t.buf)-4096):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
