package emulator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgres is the real server: one that was given, or one of its own.
type postgres struct {
	dsn    string // superuser
	cmd    *exec.Cmd
	alive  io.Closer     // the wrapper's standard input: its end ends the server
	exited chan struct{} // closed when cmd has been reaped

	pool *pgxpool.Pool // superuser, in the database postgres
	lock *pgxpool.Conn // on a given server, for as long as it is used
}

// start fills in dsn, unless it was given.
func (p *postgres) start(ctx context.Context, data string) error {
	if p.dsn != "" {
		conn, err := pgx.Connect(ctx, p.dsn)
		if err != nil {
			return fmt.Errorf("emulator: the given PostgreSQL: %w", err)
		}
		return conn.Close(ctx)
	}
	bin, err := findBinaries()
	if err != nil {
		if bin, err = download(ctx); err != nil {
			return fmt.Errorf("emulator: no PostgreSQL: install its server (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql; Windows: winget install PostgreSQL.PostgreSQL.17), or set AADPOSTGRES_EMULATOR_POSTGRES to a superuser's DSN; downloading one failed: %w", err)
		}
	}
	password := rand.Text()
	if err := initdb(ctx, bin, data, password); err != nil {
		return err
	}
	for range 3 { // the free port may be taken in between
		if err = p.run(ctx, bin, data, password); err == nil || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
	}
	return err
}

func initdb(ctx context.Context, bin, data, password string) error {
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	file := filepath.Join(data+".pw", "password")
	if err := errors.Join(os.Mkdir(data+".pw", 0o700), os.WriteFile(file, []byte(password), 0o600)); err != nil {
		return err
	}
	defer os.RemoveAll(data + ".pw")
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--pwfile", file,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	// PostgreSQL refuses to run as root: its files go to whom it can run as.
	if err := unprivileged(cmd, filepath.Dir(data), data, data+".pw", file); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("emulator: initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (p *postgres) run(ctx context.Context, bin, data, password string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	args := []string{filepath.Join(bin, "postgres"), "-D", data, "-p", fmt.Sprint(port)}
	for _, set := range []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=500",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off"} {
		args = append(args, "-c", set)
	}
	p.cmd = supervised(args)
	var log tail
	p.cmd.Stdout, p.cmd.Stderr = &log, &log
	if p.alive, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := unprivileged(p.cmd); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.exited = exited
	go func(cmd *exec.Cmd) { cmd.Wait(); close(exited) }(p.cmd)

	p.dsn = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password=%s dbname=postgres sslmode=disable require_auth=scram-sha-256", port, password)
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := pgx.Connect(ctx, p.dsn)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			p.dsn, p.cmd = "", nil
			return fmt.Errorf("emulator: PostgreSQL ended at once: %s", &log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("emulator: PostgreSQL does not answer: %w: %s", err, &log)
		}
	}
}

// stop ends the server and waits for it. One that was given is left running, as
// it was found.
func (p *postgres) stop() error {
	err := p.leave()
	if p.cmd != nil {
		p.alive.Close()
		select {
		case <-p.exited:
		case <-time.After(10 * time.Second):
			p.cmd.Process.Kill()
			<-p.exited
		}
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

// findBinaries looks for initdb and postgres where packages put them.
func findBinaries() (string, error) {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin", `C:\Program Files\PostgreSQL\*\bin`} {
		found, _ := filepath.Glob(pattern) // the patterns are good
		slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if complete(dir) {
			return dir, nil
		}
	}
	return "", errors.New("no server binaries on this machine")
}

var number = regexp.MustCompile(`\d+(\.\d+)?`)

// version returns the version in a path; one without leads to the newest.
func version(path string) float64 {
	v, err := strconv.ParseFloat(number.FindString(path), 64)
	if err != nil {
		return math.Inf(1)
	}
	return v
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
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
