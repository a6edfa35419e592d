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

// A cluster is a data directory and the server binaries for it.
type cluster struct {
	bin, data string
	reaper    *reaper
}

// newDataDir returns the path of a data directory, which does not exist yet. It is in
// memory if there is room, because on some disks a cluster's thousand small files take a
// second. TMPDIR takes precedence, provided that the server's user can enter it: some
// systems give each user a private one.
func newDataDir() (string, error) {
	dirs := []string{memoryDir(), os.TempDir(), "/tmp"}
	if os.Getenv("TMPDIR") != "" {
		dirs = []string{os.TempDir(), memoryDir(), "/tmp"}
	}
	var firstErr error
	for _, dir := range dirs {
		dir, err := filepath.Abs(cmp.Or(dir, os.TempDir()))
		if err == nil {
			err = checkAccess(dir)
		}
		if err == nil {
			return filepath.Join(dir, "aadpostgres-emulator-data-"+rand.Text()), nil
		}
		firstErr = cmp.Or(firstErr, err)
	}
	return "", firstErr
}

// create creates the data directory, from the seed if there is one. The superuser has that
// password.
func (c *cluster) create(ctx context.Context, password string) error {
	if err := os.Mkdir(c.data, 0o700); err != nil {
		return err
	}
	s, err := findSeed(c.bin)
	if err != nil { // there is no safe place for one
		if err := c.initdb(ctx); err != nil {
			return err
		}
		return c.setPassword(ctx, password)
	}
	defer s.close()
	if s.unpack(c.data) == nil && c.setPassword(ctx, password) == nil {
		return nil
	}
	// The seed does not exist or is not usable.
	if err := c.initdb(ctx); err != nil {
		return err
	}
	s.pack(c.data) // if it fails, the next start tries again
	if err := c.setPassword(ctx, password); err != nil {
		s.remove()
		return err
	}
	return nil
}

// hbaConf requires a password for every connection.
const hbaConf = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"

// initdb creates a cluster whose superuser has no password and therefore cannot sign in.
func (c *cluster) initdb(ctx context.Context) error {
	if err := resetDir(c.data); err != nil {
		return err
	}
	// The default segment size, 16 MB, would make the cluster and the seed larger.
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "-D", c.data, "-U", "postgres",
		"-A", "reject", "-E", "UTF8", "--locale=C", "--wal-segsize=1", "--no-sync")
	cmd.Env = serverEnv("TZ=UTC") // as on Azure, and the same in every seed
	if out, err := c.run(cmd); err != nil {
		return fmt.Errorf("emulator: initdb: %w: %s", err, out)
	}
	root, err := os.OpenRoot(c.data) // the server's user could have placed symbolic links in it
	if err != nil {
		return err
	}
	defer root.Close()
	return root.WriteFile("pg_hba.conf", []byte(hbaConf), 0o600)
}

// setPassword sets the superuser's password in single-user mode, which needs neither a
// server that listens nor an earlier password.
func (c *cluster) setPassword(ctx context.Context, password string) error {
	stored, err := scramVerifier(password)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "postgres"), "--single", "-D", c.data, "-c", "fsync=off", "postgres")
	cmd.Env = serverEnv()
	cmd.Stdin = strings.NewReader("ALTER ROLE postgres PASSWORD '" + stored + "'\n")
	if out, err := c.run(cmd); err != nil {
		return fmt.Errorf("emulator: PostgreSQL: %w: %s", err, out)
	}
	return nil
}

// run runs one of the server's programs as the server's user and returns its output.
func (c *cluster) run(cmd *exec.Cmd) (out []byte, err error) {
	if err := dropPrivileges(cmd); err != nil {
		return nil, err
	}
	c.reaper.attach(cmd)
	out, err = cmd.CombinedOutput()
	return bytes.TrimSpace(out), err
}

// resetDir removes the content of a data directory, which an earlier attempt has left, and
// gives the directory to the server's user.
func resetDir(data string) error {
	files, err := os.ReadDir(data)
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(filepath.Join(data, f.Name())))
	}
	return cmp.Or(err, chownToServer(data))
}

// chownToServer makes the server's user the owner of a file.
func chownToServer(file string) error {
	uid, gid, err := serverUser()
	if uid < 0 {
		return err
	}
	return os.Lchown(file, uid, gid)
}
