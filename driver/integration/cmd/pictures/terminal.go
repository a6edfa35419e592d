package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/creack/pty"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// columns is how wide the terminal is.
const columns = 112

// A scene is a command as its user types it.
type recording struct {
	name    string // of the picture
	prompt  string // what the picture says was typed
	args    []string
	granted bool // the role was made
	wantFailure   bool
}

var recordings = []recording{
	{name: "demo", prompt: "go run ./driver/emulator/cmd/emulate -demo", args: []string{"emulate", "-demo"}},
	{name: "doctor", prompt: "aadpostgres doctor", args: []string{"aadpostgres", "doctor"}, wantFailure: true},
	{name: "ping", prompt: "aadpostgres ping", args: []string{"aadpostgres", "ping"}, granted: true},
}

// A stage is where scenes play: the workstation of a person who ran az login.
type terminal struct {
	dir string // the commands, and the server's certificate authority
	az  *emulator.Azure
	me  emulator.Identity
	env []string
}

func newTerminal(ctx context.Context) (_ *terminal, err error) {
	s := &terminal{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "aadpostgres-pictures-"); err != nil {
		return nil, err
	}
	const project = "github.com/aadpostgres/aadpostgres/driver/"
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.dir+string(filepath.Separator),
		project+"cmd/aadpostgres", project+"emulator/cmd/emulate").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	if s.az, err = emulator.New(ctx); err != nil {
		return nil, err
	}
	s.me = s.az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	tools, err := s.az.Environ(emulator.Workstation, s.me)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.az.CertFile())
	if err != nil {
		return nil, err
	}
	s.env = append(append(os.Environ(), tools...), "TERM=xterm", "NO_COLOR=",
		fmt.Sprintf("DATABASE_URL=host=127.0.0.1 port=%d dbname=postgres sslrootcert=ca.pem aad_auth=azure-cli", s.az.Port()))
	return s, os.WriteFile(filepath.Join(s.dir, "ca.pem"), ca, 0o600)
}

func (s *terminal) close() (err error) {
	if s.az != nil {
		err = s.az.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// play runs a scene's command in a terminal and returns what was on it.
func (s *terminal) run(ctx context.Context, sc recording) (string, error) {
	if sc.granted {
		if err := s.az.Grant(ctx, s.me); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, sc.args[0]), sc.args[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: columns})
	if err != nil {
		return "", err
	}
	defer screen.Close()
	out, err := io.ReadAll(screen)
	if err != nil && !errors.Is(err, syscall.EIO) { // which on Linux is the end
		return "", err
	}
	if err := cmd.Wait(); (err != nil) != sc.wantFailure {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n"), nil
}
