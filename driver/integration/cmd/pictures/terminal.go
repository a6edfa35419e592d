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

// columns is the width of the terminal.
const columns = 112

// A recording is a command, as a user types it, and its picture.
type recording struct {
	name    string // of the picture
	prompt  string // what the picture says was typed
	args    []string
	granted bool // the role exists
	fails   bool // the command exits with an error
}

var recordings = []recording{
	{name: "demo", prompt: "go run ./driver/emulator/cmd/emulate -demo", args: []string{"emulate", "-demo"}},
	{name: "doctor", prompt: "aadpostgres doctor", args: []string{"aadpostgres", "doctor"}, fails: true},
	{name: "ping", prompt: "aadpostgres ping", args: []string{"aadpostgres", "ping"}, granted: true},
}

// A terminal runs commands on the workstation of a user who is logged in to az.
type terminal struct {
	dir string // contains the commands and the CA certificate
	az  *emulator.Azure
	me  emulator.Identity
	env []string
}

func newTerminal(ctx context.Context) (_ *terminal, err error) {
	t := &terminal{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	t.dir, err = os.MkdirTemp("", "aadpostgres-pictures-")
	if err != nil {
		return nil, err
	}
	const project = "github.com/aadpostgres/aadpostgres/driver/"
	build := exec.CommandContext(ctx, "go", "build", "-o", t.dir+string(filepath.Separator), project+"cmd/aadpostgres", project+"emulator/cmd/emulate")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	t.az, err = emulator.New(ctx)
	if err != nil {
		return nil, err
	}
	t.me = t.az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	tools, err := t.az.Environ(emulator.Workstation, t.me)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(t.az.CertFile())
	if err != nil {
		return nil, err
	}
	t.env = append(append(os.Environ(), tools...), "TERM=xterm", "NO_COLOR=",
		fmt.Sprintf("DATABASE_URL=host=127.0.0.1 port=%d dbname=postgres sslrootcert=ca.pem aad_auth=azure-cli", t.az.Port()))
	return t, os.WriteFile(filepath.Join(t.dir, "ca.pem"), ca, 0o600)
}

func (t *terminal) close() (err error) {
	if t.az != nil {
		err = t.az.Close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// run runs a recording's command and returns the terminal's content.
func (t *terminal) run(ctx context.Context, r recording) (string, error) {
	if r.granted {
		if err := t.az.Grant(ctx, t.me); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(t.dir, r.args[0]), r.args[1:]...)
	cmd.Dir, cmd.Env = t.dir, t.env
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: columns})
	if err != nil {
		return "", err
	}
	defer screen.Close()
	out, err := io.ReadAll(screen)
	if err != nil && !errors.Is(err, syscall.EIO) { // Linux returns EIO at the end
		return "", err
	}
	err = cmd.Wait()
	if failed := err != nil; failed != r.fails {
		return "", fmt.Errorf("%v fails: %t, want %t: %w: %s", r.args, failed, r.fails, err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n"), nil
}
