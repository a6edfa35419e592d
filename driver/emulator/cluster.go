package emulator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A cluster is a server's data, and the programs for it.
type cluster struct {
	bin, data string
	keeper    *keeper
}

// dataFolder names a folder for a server's data, which is not there yet: in memory where
// there is room, as some disks take a second for its thousand small files. Who has set
// TMPDIR wants that, if the server's user may enter it: some systems give each user one
// that is closed to all others.
func dataFolder() (string, error) {
	dirs := []string{memory(), os.TempDir(), "/tmp"}
	if os.Getenv("TMPDIR") != "" {
		dirs[0], dirs[1] = dirs[1], dirs[0]
	}
	var closed error
	for _, dir := range dirs {
		dir, err := filepath.Abs(cmp.Or(dir, os.TempDir()))
		if err == nil {
			err = reachable(dir)
		}
		if err == nil {
			return filepath.Join(dir, "aadpostgres-emulator-data-"+rand.Text()), nil
		}
		closed = cmp.Or(closed, err)
	}
	return "", closed
}

// create makes the folder and fills it with a server's data. Its superuser has that password,
// which no other server has: in the seed he has none.
func (c *cluster) create(ctx context.Context, password string) error {
	if err := os.Mkdir(c.data, 0o700); err != nil {
		return err
	}
	s, err := findSeed(c.bin)
	if err == nil {
		defer s.close()
		if s.unpack(c.data) == nil && c.setPassword(ctx, password) == nil {
			return nil
		}
		// There is none, or it is of no use.
	}
	if err := c.initdb(ctx); err != nil {
		return err
	}
	if s != nil {
		s.pack(c.data) // or it is for the next one to do
	}
	err = c.setPassword(ctx, password)
	if s != nil && err != nil {
		s.remove()
	}
	return err
}

// door lets nobody in without a password.
const door = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"

// initdb makes a server whose superuser has no password, so that he cannot sign in.
func (c *cluster) initdb(ctx context.Context) error {
	if err := empty(c.data); err != nil {
		return err
	}
	// Small segments: 1 MB is plenty to begin with.
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "-D", c.data, "-U", "postgres",
		"-A", "reject", "-E", "UTF8", "--locale=C", "--wal-segsize=1", "--no-sync")
	cmd.Env = append(os.Environ(), "TZ=UTC") // as Azure's, whoever makes the seed
	if out, err := c.run(cmd); err != nil {
		return fmt.Errorf("emulator: initdb: %w: %s", err, out)
	}
	root, err := os.OpenRoot(c.data) // another user's by now: no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	return root.WriteFile("pg_hba.conf", []byte(door), 0o600)
}

// setPassword needs no server that listens, and no older password that somebody
// else could know.
func (c *cluster) setPassword(ctx context.Context, password string) error {
	stored, err := verifier(password)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "postgres"), "--single", "-D", c.data, "-c", "fsync=off", "postgres")
	cmd.Stdin = strings.NewReader("ALTER ROLE postgres PASSWORD '" + stored + "'\n")
	if out, err := c.run(cmd); err != nil {
		return fmt.Errorf("emulator: PostgreSQL: %w: %s", err, out)
	}
	return nil
}

// run runs one of the server's programs to its end.
func (c *cluster) run(cmd *exec.Cmd) (out []byte, err error) {
	if err := unprivileged(cmd); err != nil {
		return nil, err
	}
	c.keeper.holds(cmd)
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
