package emulator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// dataFolder makes the folder for a server's data: in memory where there is room,
// as some disks take a second for its thousand small files.
func dataFolder() (string, error) {
	const name = "aadpostgres-emulator-data-"
	var dir string
	var err error
	if m := memory(); m != "" {
		dir, err = os.MkdirTemp(m, name)
	}
	if dir == "" {
		dir, err = os.MkdirTemp("", name)
	}
	return dir, err
}

// create fills the folder with a server's data. Its superuser has that password,
// which no other server has: in the seed he has none.
func create(ctx context.Context, bin, data, password string) error {
	s, err := findSeed(bin)
	if err == nil {
		defer s.close()
		if s.unpack(data) == nil && setPassword(ctx, bin, data, password) == nil {
			return nil
		}
		// There is none, or it is of no use.
	}
	if err := initdb(ctx, bin, data); err != nil {
		return err
	}
	if s != nil {
		s.pack(data) // or it is for the next one to do
	}
	err = setPassword(ctx, bin, data, password)
	if s != nil && err != nil {
		s.remove()
	}
	return err
}

// door lets nobody in without a password.
const door = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"

// initdb makes a server whose superuser has no password, so that he cannot sign in.
func initdb(ctx context.Context, bin, data string) error {
	if err := empty(data); err != nil {
		return err
	}
	// Small segments: 1 MB is plenty to begin with.
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres",
		"-A", "reject", "-E", "UTF8", "--locale=C", "--wal-segsize=1", "--no-sync")
	cmd.Env = append(os.Environ(), "TZ=UTC") // as Azure's, whoever makes the seed
	if out, err := run(cmd); err != nil {
		return fmt.Errorf("emulator: initdb: %w: %s", err, out)
	}
	root, err := os.OpenRoot(data) // another user's by now: no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	return root.WriteFile("pg_hba.conf", []byte(door), 0o600)
}

// setPassword needs no server that listens, and no older password that somebody
// else could know.
func setPassword(ctx context.Context, bin, data, password string) error {
	stored, err := verifier(password)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--single", "-D", data, "-c", "fsync=off", "postgres")
	cmd.Stdin = strings.NewReader("ALTER ROLE postgres PASSWORD '" + stored + "'\n")
	if out, err := run(cmd); err != nil {
		return fmt.Errorf("emulator: PostgreSQL: %w: %s", err, out)
	}
	return nil
}

// run runs one of the server's programs to its end.
func run(cmd *exec.Cmd) (out []byte, err error) {
	if err := unprivileged(cmd); err != nil {
		return nil, err
	}
	out, err = cmd.CombinedOutput()
	return bytes.TrimSpace(out), err
}

// empty removes what an earlier attempt has left, and hands the folder over.
func empty(data string) error {
	files, err := os.ReadDir(data)
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(filepath.Join(data, f.Name())))
	}
	return cmp.Or(err, hand(data))
}

// hand makes a file the server's user's.
func hand(file string) error {
	uid, gid, err := serverUser()
	if uid < 0 {
		return err
	}
	return os.Lchown(file, uid, gid)
}
