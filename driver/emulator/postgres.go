package emulator

import (
	"cmp"
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

// postgres is the real server: that of WithPostgres, or the emulator's own.
type postgres struct {
	dsn    string // a superuser's
	schema string // of what the emulator adds to the server
	data   string // data directory of the emulator's own
	reaper *reaper
	cmd    *exec.Cmd     // the supervisor of the emulator's own, or nil
	stdin  io.Closer     // of cmd; the server ends when it is closed
	exited chan struct{} // closed when cmd has ended
	log    io.Writer     // set by WithLog

	serviceFile string // has the section emptyService

	pool *pgxpool.Pool // of the superuser, in the database postgres
	lock *pgxpool.Conn // holds the advisory lock on the server of WithPostgres
}

// start starts a server and sets dsn, unless dsn is set already.
func (p *postgres) start(ctx context.Context) (err error) {
	if p.dsn != "" {
		config, err := p.config()
		if err != nil {
			return fmt.Errorf("emulator: the given PostgreSQL: %w", err)
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return fmt.Errorf("emulator: the given PostgreSQL: %w", err)
		}
		return cmp.Or(checkVersion(conn.PgConn()), conn.Close(ctx))
	}
	if p.data, err = newDataDir(); err != nil {
		return err
	}
	if err := p.removeLater(p.data); err != nil {
		return err
	}
	bin, err := findBinaries()
	if err != nil {
		if bin, err = download(ctx); err != nil {
			return fmt.Errorf("emulator: no PostgreSQL: install its server (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql; Windows: winget install PostgreSQL.PostgreSQL.17), or set AADPOSTGRES_EMULATOR_POSTGRES to a superuser's DSN; downloading one failed: %w", err)
		}
	}
	c := &cluster{bin, p.data, p.reaper}
	password := rand.Text()
	if err := c.create(ctx, password); err != nil {
		return err
	}
	for range 3 { // another process may take the free port first
		if err = p.launch(ctx, bin, password); err == nil || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
	}
	return err
}

// removeLater registers a directory with the reaper. It should be called before the
// directory is created, so that no crash can leave it.
func (p *postgres) removeLater(dir string) (err error) {
	if p.reaper == nil {
		if p.reaper, err = newReaper(); err != nil {
			return err
		}
	}
	return p.reaper.register(dir)
}

// launch starts the server on a free port, waits until it accepts connections and sets
// dsn.
func (p *postgres) launch(ctx context.Context, bin, password string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	server := &postgres{serviceFile: p.serviceFile}
	server.dsn = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256", port, password)
	config, err := server.config()
	if err != nil {
		return err
	}
	args := []string{filepath.Join(bin, "postgres"), "-D", p.data, "-p", fmt.Sprint(port)}
	for _, setting := range []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=500",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off"} {
		args = append(args, "-c", setting)
	}
	cmd := superviseCommand(args)
	p.reaper.attach(cmd)
	cmd.Env = serverEnv()
	cmd.WaitDelay = shutdownTimeout // other processes may hold the log's pipe
	log := &logTail{}
	cmd.Stdout = p.teeLog(log)
	cmd.Stderr = p.teeLog(log)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := dropPrivileges(cmd); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd = cmd
	p.stdin = stdin
	p.exited = exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	if err := p.waitReady(ctx, config, log); err != nil {
		return err
	}
	p.dsn = server.dsn
	return nil
}

// waitReady waits until the server accepts connections.
func (p *postgres) waitReady(ctx context.Context, config *pgx.ConnConfig, log *logTail) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			return cmp.Or(checkVersion(conn.PgConn()), conn.Close(ctx))
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "28P01" {
			return fmt.Errorf("emulator: PostgreSQL did not accept its password: %s", log)
		}
		select {
		case <-p.exited:
			p.cmd = nil
			return fmt.Errorf("emulator: PostgreSQL ended during its start: %s", log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("emulator: PostgreSQL does not answer: %w: %s", err, log)
		}
	}
}

// shutdownTimeout is how long the server may take to end before it is killed. It is twice
// the 5 seconds after which PostgreSQL kills its own processes.
const shutdownTimeout = 10 * time.Second

// stop reverts provision, then ends the server and waits until it has ended. It leaves the
// server of WithPostgres running.
func (p *postgres) stop() error {
	err := p.deprovision()
	if p.cmd != nil {
		stopServer(p.cmd, p.stdin, p.data)
		select {
		case <-p.exited:
		case <-time.After(shutdownTimeout):
			killServer(p.cmd)
			<-p.exited
		}
	}
	if p.reaper != nil {
		p.reaper.close()
	}
	if p.data != "" {
		err = errors.Join(err, os.RemoveAll(p.data))
	}
	return err
}

// database returns the database that dsn names.
func (p *postgres) database() string {
	config, err := p.config()
	if err != nil || config.Database == "" {
		return "postgres"
	}
	return config.Database
}

// freePort returns a port of 127.0.0.1 that no process listens on now.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// A logTail keeps the end of a server's log.
type logTail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *logTail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(0, len(t.buf)-4096):]
	return len(b), nil
}

func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
